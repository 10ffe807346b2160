"""Steps that the workflow alone runs, most of a race: commands for its rules, which no user types."""

import argparse
import importlib
import json
from collections.abc import Sequence
from pathlib import Path

SOURCE, NUMBER_FORMAT = "race-source", "number-format"
STEPS = (NUMBER_FORMAT, SOURCE, "judging-parts", "pool", "race-round", "race-answer")
RACE = "calibrant.stages.race"  # imported when a step is run


def step(words: Sequence[str]) -> Sequence[str]:
    """Run a step: its name, then its flags; it says what it has to say itself."""
    name = words[0]
    if name in (SOURCE, NUMBER_FORMAT):
        (_race_source if name == SOURCE else _number_format)(words[1:])
        return ()
    parser = argparse.ArgumentParser(prog=f"calibrant {name}", allow_abbrev=False)
    parser.add_argument("--config", required=True, help="what of the study it needs, as JSON")
    parser.add_argument("--output", type=Path, required=True)
    run = {"judging-parts": _judging_parts, "pool": _pool, "race-round": _race_round, "race-answer": _race_answer}
    run[name](parser, words[1:])
    return ()


def _number_format(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog=f"calibrant {NUMBER_FORMAT}", allow_abbrev=False)
    parser.add_argument("--model", required=True, help="model folder")
    parser.add_argument("--device", required=True, help="the study's compute.device")
    parser.add_argument("--output", required=True, help="JSON file to write")
    given = parser.parse_args(words)
    module = importlib.import_module("calibrant.models.checkpoint.resolution")
    module.write_resolved(given.output, given.model, given.device).say()


def _race_source(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="calibrant race-source", allow_abbrev=False)
    parser.add_argument("config", help="as `calibrant download` takes it")
    parser.add_argument("--output", type=Path, required=True, help="the study's folder")
    parser.add_argument("--only", required=True, help="source:NAME")
    given = parser.parse_args(words)
    importlib.import_module(RACE).race_source(given.config, given.only.partition(":")[2], given.output)


def _judging_parts(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    parser.add_argument("--text", required=True, help="name of the text")
    parser.add_argument("--documents", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="whose tokenizer counts")
    given = parser.parse_args(words)
    module = importlib.import_module("calibrant.choice.judging_files")
    module.write_parts(given.documents, given.model, given.text, json.loads(given.config), given.output.parent)


def _pool(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    parser.add_argument("--source", required=True, help="name of the source")
    parser.add_argument("--documents", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="whose tokenizer counts")
    parser.add_argument("--judging", type=Path, nargs="*", default=[], help="parts of judging texts")
    parser.add_argument("--data", type=Path, help="folder of tasks' rows")
    given = parser.parse_args(words)
    module = importlib.import_module("calibrant.choice.pools")
    how = (given.documents, given.source, given.model, given.judging, given.output, json.loads(given.config))
    module.write_pool(*how, data=given.data)


def _race_round(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    parser.add_argument("--round", type=int, help="its number; without it, what real text alone says before the first")
    parser.add_argument("--answer", type=Path, required=True, help="folder of the answer")
    parser.add_argument("--cores", type=int, required=True, help="jobs at a time, by which the time left is told")
    given = parser.parse_args(words)
    config, module = json.loads(given.config), importlib.import_module(RACE)
    if given.round is None:
        module.first_answer(config, given.output, given.answer)
    else:
        module.race_round(config, given.round, given.output, given.answer, cores=given.cores)


def _race_answer(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    parser.add_argument("--round", type=Path, required=True, help="file of the last round")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--cores", type=int, required=True, help="jobs at a time")
    given = parser.parse_args(words)
    module = importlib.import_module(RACE)
    module.write_answer(json.loads(given.config), given.round, given.model, given.output, cores=given.cores)
