"""Where a study's files lie: the one place that the workflow and the report agree on."""

from dataclasses import dataclass
from typing import Any

from calibrant.study.grid import Run, SetKey

# What is no study's in data/ and reports/: the preset tiny's material, kept results, those of `make bench`, and files
# (README.md, where a file system does not tell capitals from small letters).
RESERVED = ("tiny-material", "kept", "benchmarks", "readme.md", "slurm-jobs.md")
COMPARISON = "comparison"  # folder of the report of a study that has an answer, too


def reads(config: dict[str, Any], what: str) -> bool:
    """Whether the report draws from `scores`, `similarity` or `contamination`: a layout as it says.

    The general report draws from scores and contamination, and from similarity where the study says what the model was
    trained on.
    """
    if "layout" in config:
        return what in config["layout"]["reads"]
    return bool(config["trained_on"]) if what == "similarity" else what in ("scores", "contamination")


@dataclass(frozen=True)
class StudyPaths:
    """Paths of a study, relative to the folder in which the workflow runs."""

    study: str

    @property
    def data(self) -> str:
        """Folder of downloads and stage outputs."""
        return f"data/{self.study}"

    @property
    def report(self) -> str:
        """Folder of tables, figures and the report."""
        return f"reports/{self.study}"

    def number_format(self) -> str:
        """What `compute.dtype: auto` was resolved to, once for the study."""
        return f"{self.data}/number-format.json"

    def index(self, target: str = "") -> str:
        """The list of runs that a report is made of: the study's own, or a target's."""
        return f"{self.data}/index/{target}.json" if target else f"{self.data}/index.json"

    def target_report(self, target: str) -> str:
        """The page of a target; its tables and figures lie beside it."""
        return f"{self.report}/{target}/index.html"

    def own_report(self, config: dict[str, Any]) -> str:
        """Folder of the study's own report: beside the answer, where the study has a race."""
        return f"{self.report}/{COMPARISON}" if "choose" in config else self.report

    @property
    def choice(self) -> str:
        """Folder of what a race is made of."""
        return f"{self.data}/choice"

    def part(self, text: str, part: str) -> str:
        """The `selection`, `test` or `own` part of a judging text."""
        return f"{self.choice}/parts/{text}/{part}.parquet"

    def pool(self, source: str) -> str:
        """The documents of a source that may be calibrated on; its record lies beside it."""
        return f"{self.choice}/pools/{source}.parquet"

    def round(self, number: int | str) -> str:
        """Where a race stands after so many rounds, and what it needs next."""
        return f"{self.choice}/rounds/{number}.json"

    def value(self, run: Run) -> str:
        """The results of a run on the test halves and the guards."""
        return f"{self.choice}/values/{run.name}.json"

    def similarity(self, reference: str) -> str:
        """Similarities of all other sources to this one."""
        return f"{self.data}/similarity/{reference}.parquet"

    def similarities(self, config: dict[str, Any]) -> list[str]:
        """Those that the report of a configuration draws, none where there is no second source to compare.

        A layout's have each source as reference, the general report's each that the model was trained on.
        """
        if not reads(config, "similarity") or len(config["sources"]) < 2:
            return []
        references = config["sources"] if "layout" in config else config["trained_on"]
        return [self.similarity(source) for source in config["sources"] if source in references]

    def contamination(self) -> str:
        """Evaluation items that occur in the sources."""
        return f"{self.data}/contamination.parquet"

    def contaminations(self, config: dict[str, Any]) -> list[str]:
        """That table, where the report of a configuration shows it and there is something to evaluate on."""
        wanted = reads(config, "contamination") and (config["tasks"] or config["texts"])
        return [self.contamination()] if wanted else []

    def calibration_set(self, key: SetKey) -> str:
        """The Parquet file of a calibration set."""
        return f"{self.data}/sets/{key.name}.parquet"

    def generated(self, key: SetKey) -> str:
        """All samples that the model generated from a source, before filtering."""
        return f"{self.data}/generated/{key.pool}.parquet"

    def samples(self, key: SetKey) -> str:
        """What was scored: a real set, or all samples that the model generated."""
        return self.calibration_set(key) if key.origin == "real" else self.generated(key)

    def scores(self, key: SetKey) -> str:
        """Scores of a real set, or of the generated samples that a synthetic set is drawn from."""
        name = f"sets/{key.name}" if key.origin == "real" else f"generated/{key.pool}"
        return f"{self.data}/scores/{name}.parquet"

    def masks(self, run: Run) -> str:
        """The masks of a run."""
        return f"{self.data}/masks/{run.name}.safetensors"

    def inspection(self, run: Run) -> str:
        """What `inspect` found in the masks of a run."""
        return f"{self.data}/inspections/{run.name}.json"

    def overlap(self) -> str:
        """Positions that the inspected masks have in common."""
        return f"{self.data}/inspections/overlap.parquet"

    def evaluation(self, run: Run) -> str:
        """The results of a run."""
        return f"{self.data}/evaluations/{run.name}.json"

    def provenance(self, section: str, name: str) -> str:
        """The sidecar of a source, a text (section `sources`, `texts`) or the model."""
        return (
            f"{self.data}/model/provenance.json"
            if section == "model"
            else f"{self.data}/{section}/{name}/provenance.json"
        )

    def fetched(self, section: str, name: str) -> list[str]:
        """What a download makes of the model, a source or a text: there, only when it came to its end."""
        if section == "model":
            return [self.provenance(section, name)]
        tables = ("documents", "heldout") if section == "sources" else ("documents",)
        return [*(f"{self.data}/{section}/{name}/{each}.parquet" for each in tables), self.provenance(section, name)]

    def task_files(self, name: str, spec: dict[str, Any]) -> list[str]:
        """The row files of a task, or the record that lm-eval fetched them; none where evaluation fetches them."""
        if spec.get("hub"):
            return [f"{self.data}/tasks/{name}.provenance.json"]
        if spec.get("kind"):
            return [f"{self.data}/tasks/{name}_test.jsonl"]
        return [
            f"{self.data}/tasks/{name}_{split}.jsonl{'.gz' if file.endswith('.gz') else ''}"
            for split, file in spec.get("files", {}).items()
        ]
