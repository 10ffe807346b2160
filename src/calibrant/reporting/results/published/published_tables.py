"""The published tables and numbers as polars frames.

Source: "Beware of Calibration Data for Pruning Large Language Models", Tables 1, 2, 5, 6, 7 and the running text.
Tables 3 and 4 and the figures are images in the text of the paper; `numbers` holds what the prose says of them.
"""

from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from calibrant.study.yaml_mappings import read_yaml

FOLDER = Path(__file__).parent
TABLES = ("1", "2", "5", "6", "7")
SCHEMA: dict[str, Any] = {
    "model": pl.String,  # hub id
    "table": pl.String,
    "method": pl.String,  # null: the paper does not say
    "sparsity": pl.String,
    "source": pl.String,  # null: the paper does not say which text the generated one continues
    "origin": pl.String,  # real | synthetic
    "task": pl.String,  # as in results; average: over the seven tasks; change: the published Δ of that average
    "metric": pl.String,  # perplexity | mean; null for an accuracy: the paper does not say which
    "mean": pl.Float64,  # over the seeds; accuracies in %
    "sd": pl.Float64,  # over the seeds, in Table 1 only
    "n": pl.Int64,  # seeds
}
NUMBERS: dict[str, Any] = {
    "id": pl.String,
    "model": pl.String,
    "section": pl.String,
    "methods": pl.List(pl.String),
    "sparsity": pl.String,
    "quantity": pl.String,
    "unit": pl.String,
    "low": pl.Float64,
    "high": pl.Float64,
}
KEYS = ("method", "source", "origin")
METRICS = {"alpaca": "perplexity", "average": "mean", "change": "mean"}

# Further names under which the hub has, or had, the same weights.
_ALIASES = {
    "meta-llama/Llama-2-7b": "meta-llama/Llama-2-7b-hf",
    "meta-llama/Llama-2-13b": "meta-llama/Llama-2-13b-hf",
    "meta-llama/Llama-3-8B": "meta-llama/Meta-Llama-3-8B",
}


@cache
def tables() -> pl.DataFrame:
    """Every published cell, one a row with the columns of `SCHEMA`, in the order of the paper.

    The paper does not say which of lm-eval's metrics an accuracy is; its HellaSwag fits acc_norm only. Each mean is
    over the 20 seeds of section 3.1.
    """
    rows = [row for name in TABLES for row in _rows(read_yaml(FOLDER / f"table{name}.yaml"))]
    return pl.DataFrame(rows, schema=SCHEMA)


def _rows(content: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for values in content["rows"]:
        cells = dict(zip(content["columns"], values, strict=True))
        fixed = {name: content[name] for name in ("model", "table", "sparsity")} | {name: cells[name] for name in KEYS}
        for column, value in cells.items():
            if column in KEYS or column.endswith("_sd") or (column == "change" and value is None):
                continue  # a row of real text has no change
            numbers = {"mean": value, "sd": cells.get(f"{column}_sd"), "n": settings()["seeds"]}
            found.append({**fixed, "task": column, "metric": METRICS.get(column), **numbers})
    return found


@cache
def numbers() -> pl.DataFrame:
    """Every number of the running text, one a row with the columns of `NUMBERS`; points of mean accuracy by default."""
    rows = read_yaml(FOLDER / "text.yaml")["numbers"]
    return pl.DataFrame([{"unit": "points", **row} for row in rows], schema=NUMBERS)


@cache
def settings() -> dict[str, Any]:
    """The settings that the paper states (sections 3.1, 3.3, 5.1)."""
    found: dict[str, Any] = read_yaml(FOLDER / "text.yaml")["settings"]
    return found


def damaged() -> list[tuple[str, str, str]]:
    """Table, cell and reason of what the text of the paper does not give; such cells are empty in `tables`."""
    found = []
    for name in TABLES:
        content = read_yaml(FOLDER / f"table{name}.yaml")
        found += [(name, entry["cell"], entry["why"]) for entry in content.get("damaged", ())]
    return found


def published_for(model_id: str) -> pl.DataFrame:
    """The published cells of one model, by its hub id; no rows for a model that the paper does not prune.

    Published numbers stand beside this model and no other: a folder, a smaller relative or a quantised copy gets none.
    """
    return tables().filter(pl.col("model") == canonical(model_id))


def canonical(model_id: str) -> str:
    """The hub id under which the published numbers are kept; another model's id comes back as it is."""
    return _known().get(model_id.lower(), model_id)


def has_published(model_id: str) -> bool:
    """Whether the paper prunes this model."""
    return canonical(model_id) in _known().values()


def published_similarity(model_id: str) -> dict[tuple[str, str], float]:
    """The paper's similarities to the training data of DCLM-7B (section 3.4), for that model alone."""
    found = numbers().filter(pl.col("unit") == "Jaccard", pl.col("model") == canonical(model_id))
    return {("dclm", name.removeprefix("jaccard_")): low for name, low in found.select("id", "low").iter_rows()}


@cache
def _known() -> dict[str, str]:
    found: dict[str, str] = {name.lower(): name for name in tables()["model"].unique()}
    return found | {alias.lower(): name for alias, name in _ALIASES.items()}
