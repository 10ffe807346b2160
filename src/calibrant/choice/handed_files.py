"""What a race hands over: the set in every form, its masks, and on request the pruned checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.parquet import read_metadata
from calibrant.artefacts.provenance import read_provenance
from calibrant.calibration.dataset_card import dataset_card
from calibrant.calibration.sample_set import read_samples
from calibrant.calibration.set_bundle import write_bundle
from calibrant.calibration.set_facts import SetFacts, set_facts
from calibrant.models.checkpoint.checkpoint import open_checkpoint
from calibrant.models.checkpoint.checkpoint_config import load_config
from calibrant.models.checkpoint.language_part import auto_class
from calibrant.models.checkpoint.loading import load_tokenizer
from calibrant.pruning.masks.mask_copy import copy_masks
from calibrant.pruning.masks.mask_file import read_masks
from calibrant.pruning.masks.model_card import Measured, model_card, stated_licence
from calibrant.pruning.masks.pruned_checkpoint import write_pruned_checkpoint
from calibrant.study.choose_section import generation_of
from calibrant.study.grid import Run
from calibrant.study.paths import StudyPaths

CHECKPOINT = "model"


def write_handed(folder: Path, config: Mapping[str, Any], run: Run, facts: Mapping[str, Any], model: Path) -> int:
    """Write a set, its masks and, where it was asked for, the pruned checkpoint; returns the set's tokens.

    Args:
        folder: where to.
        config: of the study, resolved.
        run: whose set is handed over.
        facts: of the race, at its end.
        model: the dense model.

    Raises:
        InputError: a file cannot be used.
    """
    paths = StudyPaths(config["study"])
    assert run.calibration is not None  # what is handed over was made on a set
    calibration, masks = Path(paths.calibration_set(run.calibration)), Path(paths.masks(run))
    about = _set_facts(config, run, facts, calibration, model)
    write_bundle(folder, calibration, dataset_card(about))
    copy_masks(folder, masks)
    chosen = facts["chosen"]
    if config["choose"]["apply"]:
        card = model_card(
            read_masks(masks).metadata,
            calibration=f"the set beside this folder, {about.name}",
            recipe=about.recipe,
            measured=_measured(facts),
            said=" ".join(facts["sentences"][:1]),
            licence=stated_licence(model),
            options=chosen["options"],
            loader=auto_class(load_config(model)).__name__,
        )
        write_pruned_checkpoint(model, masks, folder / CHECKPOINT, card)
    return about.tokens


def _set_facts(
    config: Mapping[str, Any], run: Run, facts: Mapping[str, Any], calibration: Path, model: Path
) -> SetFacts:
    paths, key = StudyPaths(config["study"]), run.calibration
    assert key is not None
    earlier: list[Mapping[str, Any]] = []
    if key.origin == "synthetic":
        name, _ = generation_of(config, key.pool, key.seed)
        earlier = [read_metadata(f"{paths.data}/generated/{name}.parquet")]
    sources = {name: read_provenance(Path(paths.data) / "sources" / name) for name in config["sources"]}
    chosen = facts["chosen"]
    return set_facts(
        read_samples(calibration),
        f"{chosen['candidate']}, set {chosen['number']}",
        sha256=sha256_file(calibration),
        tokenizer=load_tokenizer(open_checkpoint(model)),
        earlier=earlier,
        documents=Path(paths.pool(key.source)).name,
        licences={name: str(record.get("licence") or "") for name, record in sources.items()},
        notes={name: str(record.get("note") or "") for name, record in sources.items()},
        purpose=f"to compress {facts['model']} to {facts['target']} by {facts['method']} for {_listed(config)}",
        decided=" ".join(facts["sentences"][:1]),
        kept_out=[
            f"{each['documents']} of {each['of']} documents of {each['source']} share text with {each['judging']}"
            for each in facts["kept_out"]
        ],
    )


def _listed(config: Mapping[str, Any]) -> str:
    return ", ".join(config["choose"]["for"])


def _measured(facts: Mapping[str, Any]) -> Sequence[Measured]:
    """The worth of the set on what took no part, and on the guards."""
    found = []
    if facts["test"]["value"] is not None:
        names = ", ".join(each["name"] for each in facts["purposes"])
        found.append(
            Measured(f"{facts['measure']} on the part of {names} that took no part", None, facts["test"]["value"])
        )
    found += [
        Measured(f"{each['measure']} of {each['name']}", each["dense"], each["chosen"]) for each in facts["guards"]
    ]
    return found
