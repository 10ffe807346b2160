"""The index of a study: which runs there were and where their files lie. Read, checked, nothing computed."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import read_json
from calibrant.errors import InputError
from calibrant.reporting.results.readable import default_label, own_label, readable, readable_pairs
from calibrant.settings.method_targets import WITHOUT_DATA
from calibrant.settings.target import parse_target
from calibrant.study.validation import validate
from calibrant.study.yaml_mappings import read_yaml

SCHEMA = Path(__file__).with_name("index.schema.yaml")
DENSE_TARGET = "0"  # what stands for a target where nothing is compressed


@dataclass(frozen=True)
class Run:
    """One evaluated model. `source` and `origin` are None for methods that use no data."""

    evaluation: str
    model: str
    method: str
    target: str
    source: str | None = None
    origin: str | None = None
    seed: int | None = None
    samples: int | None = None
    prefix_length: int | None = None
    drop: float | None = None
    calibration: str | None = None
    masks: str | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What distinguishes one run from another."""
        settings = (self.samples, self.prefix_length, self.drop)
        return (self.model, self.source, self.origin, self.method, self.target, self.seed, *settings)

    @property
    def label(self) -> str:
        """The run in words, for messages and metadata: `wanda 0.6 web synthetic seed 1`."""
        words = [part for part in (self.method, self.target, self.source, self.origin) if part is not None]
        extra = [(name, getattr(self, name)) for name in ("seed", "samples", "prefix_length", "drop")]
        return " ".join([*words, *(f"{name} {value}" for name, value in extra if value is not None)])


@dataclass(frozen=True)
class TableFile:
    """A Parquet file of samples or scores, and which text it is about."""

    source: str
    origin: str
    path: str
    seed: int | None = None


@dataclass(frozen=True)
class ProvenanceFile:
    """A sidecar and what it is about."""

    kind: str
    name: str
    path: str


@dataclass(frozen=True)
class Task:
    """How the study wants a task shown; None leaves the choice to `measures`."""

    name: str
    label: str | None = None
    metric: str | None = None
    chance: float | None = None
    definition: str | None = None


@dataclass(frozen=True)
class Study:
    """What the report says of the study as a whole."""

    name: str
    model_id: str
    model_note: str = ""
    model_licence: str = ""
    title: str = ""
    question: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    sources: tuple[tuple[str, str], ...] = ()  # (name, label)
    tasks: tuple[Task, ...] = ()
    trained_on: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    limitations: tuple[str, ...] = ()
    machine: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LayoutChoice:
    """Which table or figure is drawn, and what it takes besides."""

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TargetReport:
    """A report that the page of all targets shows: its index, and its own page relative to that one."""

    name: str
    index: str
    page: str


@dataclass(frozen=True)
class MaskText:
    """The calibration text of masks: a set by source, origin and seed; `name` of the masks in a table of overlaps."""

    source: str
    origin: str
    seed: int | None = None
    name: str = ""


@dataclass(frozen=True)
class LayerFile:
    """Figures of `inspect` for masks of one text, and what was held out from them."""

    source: str
    origin: str
    path: str
    seed: int | None = None
    heldout: MaskText | None = None


@dataclass(frozen=True)
class Inspections:
    """Masks of one method and target that were looked into, and a table of what they have in common."""

    method: str
    target: str
    layers: tuple[LayerFile, ...] = ()
    overlap: str | None = None
    masks: tuple[MaskText, ...] = ()  # those that the table compares


@dataclass(frozen=True)
class Index:
    """A study, its runs and files; `layout` is None for the general report, `targets` are of a page of several."""

    study: Study
    runs: tuple[Run, ...]
    scores: tuple[TableFile, ...] = ()
    samples: tuple[TableFile, ...] = ()
    provenance: tuple[ProvenanceFile, ...] = ()
    similarity: tuple[str, ...] = ()
    contamination: str | None = None
    layout: LayoutChoice | None = None
    inspections: Inspections | None = None
    targets: tuple[TargetReport, ...] = ()


def read_index(path: str | Path) -> Index:
    """Read and check an index (`index.schema.yaml` describes every key).

    Raises:
        InputError: not JSON, an unknown key, a value that is not allowed, a run named twice, or a run whose
            source and origin do not fit its method.
    """
    raw = read_json(path)
    if not isinstance(raw, dict):
        raise InputError(f"{path}: holds {type(raw).__name__}; an index is an object with the keys study and runs")
    return parse_index(raw, str(path))


def parse_index(raw: dict[str, Any], name: str = "index") -> Index:
    """As `read_index`, from the parsed JSON."""
    validate(raw, read_yaml(SCHEMA), name)
    runs = tuple(_run(entry, f"{name}: runs.{number}.sparsity") for number, entry in enumerate(raw["runs"]))
    _check_runs(runs, name)
    if not runs and "layout" not in raw:
        raise InputError(f"{name}: runs is empty; only an index with a layout may have none")
    return Index(
        study=_study(raw["study"]),
        runs=runs,
        scores=tuple(TableFile(**entry) for entry in raw.get("scores", ())),
        samples=tuple(TableFile(**entry) for entry in raw.get("samples", ())),
        provenance=tuple(ProvenanceFile(**entry) for entry in raw.get("provenance", ())),
        similarity=tuple(raw.get("similarity", ())),
        contamination=raw.get("contamination"),
        layout=LayoutChoice(**raw["layout"]) if "layout" in raw else None,
        inspections=_inspections(raw["inspections"], runs, name) if "inspections" in raw else None,
        targets=tuple(TargetReport(**entry) for entry in raw.get("targets", ())),
    )


def _inspections(raw: dict[str, Any], runs: tuple[Run, ...], name: str) -> Inspections:
    layers = tuple(
        LayerFile(**{**entry, "heldout": MaskText(**entry["heldout"]) if entry.get("heldout") else None})
        for entry in raw.get("layers", ())
    )
    masks = tuple(MaskText(**entry) for entry in raw.get("overlap", {}).get("masks", ()))
    texts = {(run.source, run.origin) for run in runs}
    for source, origin in [*((x.source, x.origin) for x in layers), *((x.source, x.origin) for x in masks)]:
        if (source, origin) not in texts:
            raise InputError(f"{name}: inspections: no run is calibrated on {origin} text of {source}")
    target = _target(raw["sparsity"], f"{name}: inspections.sparsity")
    return Inspections(raw["method"], target, layers, raw.get("overlap", {}).get("path"), masks)


def _run(entry: dict[str, Any], where: str) -> Run:
    """A run; its key `sparsity` is a target, which had that name when there were no widths."""
    named = {key: value for key, value in entry.items() if key != "sparsity"}
    return Run(**named, target=_target(entry["sparsity"], where))


def _target(given: str, where: str) -> str:
    if given == DENSE_TARGET:
        return given
    try:
        return str(parse_target(given))
    except InputError as error:
        raise InputError(f"{where}: {str(error).removeprefix('sparsity ')}") from None


def _study(raw: dict[str, Any]) -> Study:
    model = raw["model"]
    return Study(
        name=readable(raw["name"]),
        model_id=readable(model["id"]),
        model_note=readable(model.get("note", "")),
        model_licence=readable(model.get("licence", "")),
        title=readable(raw.get("title", "")),
        question=readable(raw.get("question", "")),
        settings=readable_pairs(raw.get("settings", ())),
        sources=tuple((s["name"], own_label(s) or default_label(s["name"])) for s in raw.get("sources", ())),
        tasks=tuple(Task(**{**task, "label": own_label(task)}) for task in raw.get("tasks", ())),
        trained_on=tuple(raw.get("trained_on", ())),
        notes=tuple(map(readable, raw.get("notes", ()))),
        limitations=tuple(map(readable, raw.get("limitations", ()))),
        machine=readable_pairs(raw.get("machine", ())),
    )


def _check_runs(runs: tuple[Run, ...], name: str) -> None:
    seen: dict[tuple[Any, ...], int] = {}
    for number, run in enumerate(runs):
        where = f"{name}: runs.{number} ({run.label})"
        if run.key in seen:
            raise InputError(f"{where} is the same run as runs.{seen[run.key]}; each run may be named once")
        seen[run.key] = number
        if run.model != runs[0].model:
            raise InputError(
                f"{where} is of model {run.model!r} and runs.0 of {runs[0].model!r}; a report is about one model"
            )
        if (run.method == "dense") != (run.target == DENSE_TARGET):
            raise InputError(f"{where}: method dense goes with sparsity 0, and every other method with another one")
        needs_text = run.method not in ("dense", *WITHOUT_DATA)
        if (run.source is not None) + (run.origin is not None) != 2 * needs_text:
            rule = "needs both a source and an origin" if needs_text else "has neither source nor origin"
            raise InputError(f"{where}: source is {run.source!r} and origin {run.origin!r}; {run.method} {rule}")
