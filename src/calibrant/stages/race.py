"""The steps of a race that the workflow runs: a round, what is said meanwhile, and the answer."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibrant.artefacts.atomic import SIDECAR, foreign_files, read_json, write_json
from calibrant.artefacts.provenance import write_provenance
from calibrant.artefacts.report_folder import report_folder
from calibrant.errors import InputError
from calibrant.study.paths import StudyPaths

STAGE = "choose"
PAGE, SUMMARY = "index.html", "summary.md"
SET = ("set.parquet", "set.jsonl", "set.txt", "set.provenance.json", "dataset")
MASKS = ("masks.safetensors", "masks.weights.safetensors", "masks.provenance.json")
PARTS = (*SET, *MASKS, "model", "timing.json", SUMMARY, PAGE, "answer.json")  # the last says that all is there


def race_source(config: str, name: str, output: Path) -> None:
    """Download a source of files; where its text is refused it gets none, and its candidates are out for that reason.

    Args:
        config: what is to be downloaded, as JSON.
        name: of the source.
        output: the study's folder.
    """
    from calibrant.calibration.documents import Documents
    from calibrant.choice.judging_files import write_documents
    from calibrant.settings.stage_settings import DownloadSettings
    from calibrant.stages.download import download

    try:
        download(config, output, DownloadSettings(only=(f"source:{name}",)))
    except InputError as error:
        print(f"race: {name} is out: {error}", file=sys.stderr)
        record = {"name": name, "origin": {"kind": "files"}, "settings": {}, "refused": str(error)}
        for part in ("documents", "heldout"):
            write_documents(output / "sources" / name / f"{part}.parquet", Documents([], [], name, ""), record)
        write_provenance(output / "sources" / name, record)


def race_round(config: Mapping[str, Any], number: int, output: Path, answer: Path, *, cores: int) -> dict[str, Any]:
    """Find where the race stands after a round, and write it; the page in the answer's folder is rewritten.

    Args:
        config: of the study, resolved.
        number: of the round; 0 says what the first takes.
        output: the round's file.
        answer: folder of the answer.
        cores: jobs at a time.

    Raises:
        InputError: too few candidates, or measurements that do not belong together.
    """
    from calibrant.choice.facts import chosen_facts, handed_over, handed_run, race_facts, valued
    from calibrant.choice.race_round import race_state
    from calibrant.choice.round_file import read_round
    from calibrant.choice.timing import spent

    root, paths = Path(), StudyPaths(config["study"])
    counts = read_round(paths.round(number - 1))["needed"] if number else {}
    state = race_state(config, root, counts)
    facts = race_facts(config, state, rounds=number)
    needed = state.needed
    looked = bool(state.course.looks)
    if looked:
        handed = handed_over(state)
        run = handed_run(config, state, handed)
        assert run.calibration is not None
        facts |= chosen_facts(config, state, handed, root / paths.calibration_set(run.calibration))
    last = looked and needed is None
    record = {
        "round": number,
        "measured": dict(state.counts),
        "needed": needed,
        "valued": valued(state) if last else [],
        "facts": facts,
    }
    timing = spent(Path(paths.data), cores)
    if needed is not None:  # an earlier answer, of a smaller budget, must not be taken for this race's
        _check_folder(answer)
        (answer / PARTS[-1]).unlink(missing_ok=True)
    if number:
        write_page(_timed(facts, timing), answer)
    print(_progress(facts, needed, timing), file=sys.stderr, flush=True)
    write_json(output, record)
    return record


def first_answer(config: Mapping[str, Any], output: Path, answer: Path) -> None:
    """Say which real text did best so far; how sure that is, is said once all candidates of the first round are in."""
    from calibrant.choice.entries import entries
    from calibrant.choice.facts import race_facts
    from calibrant.choice.race_round import race_state
    from calibrant.choice.round_file import read_round

    needed, named = read_round(StudyPaths(config["study"]).round(0))["needed"], entries(config)
    state = race_state(config, Path(), {n: count for n, count in needed.items() if named[n].origin == "real"})
    facts = race_facts(config, state, rounds=0)
    write_page(facts, answer)
    best = next((each["name"] for each in facts["candidates"] if each["mean"] is not None), None)
    if best is not None:
        print(
            f"race: of the real texts {best} did best so far; the texts that the model writes follow", file=sys.stderr
        )
    write_json(output, {"best": best})


def write_page(facts: Mapping[str, Any], answer: Path) -> None:
    """The page and its summary, while the race runs; what an earlier answer handed over stays."""
    _check_folder(answer)
    with report_folder(answer, (SUMMARY, PAGE, SIDECAR)) as folder:
        _write_page(folder, facts)
        write_provenance(folder, {"stage": STAGE, "study": facts["study"], "complete": False})


def _write_page(folder: Path, facts: Mapping[str, Any]) -> None:
    from calibrant.reporting.pages.answer_page import answer_page, answer_summary

    (folder / SUMMARY).write_text(answer_summary(facts), encoding="utf-8")
    (folder / PAGE).write_text(answer_page(facts), encoding="utf-8")


def write_answer(config: Mapping[str, Any], last: Path, model: Path, output: Path, *, cores: int) -> dict[str, Any]:
    """Write everything that a race hands over; returns what `answer.json` says.

    Args:
        config: of the study, resolved.
        last: the file of the last round.
        model: the dense model.
        output: folder of the answer.
        cores: jobs at a time.

    Raises:
        InputError: a file is missing or damaged, or something that is not ours lies in the folder.
    """
    from calibrant.artefacts.digest import sha256_file
    from calibrant.choice.answer import answer_facts, answer_record
    from calibrant.choice.handed_files import write_handed
    from calibrant.choice.timing import spent

    root, paths = Path(), StudyPaths(config["study"])
    _check_folder(output)
    run, facts = answer_facts(config, root, last)
    timing = spent(Path(paths.data), cores)
    facts = _timed(facts, timing)
    with report_folder(output, (*PARTS, SIDECAR)) as folder:
        tokens = write_handed(folder, config, run, facts, model)
        record = answer_record(facts, tokens)
        _write_page(folder, facts)
        write_json(folder / "timing.json", timing)
        write_json(folder / "answer.json", record)
        inputs = {"round": sha256_file(last), "masks": sha256_file(paths.masks(run))}
        write_provenance(folder, {"stage": STAGE, "study": config["study"], "complete": True, "inputs": inputs})
    print(f"race: {facts['sentences'][0]}", file=sys.stderr, flush=True)
    return record


def _timed(facts: Mapping[str, Any], timing: Mapping[str, Any]) -> dict[str, Any]:
    """Facts with the times of this machine, which only the page shows: no result depends on them."""
    ahead, each = facts["forecast"], timing["seconds_a_set"]
    if ahead is not None and each:
        ahead = {**ahead, "hours": ahead["sets"] * each / timing["cores"] / 3600}
    return {**facts, "timing": timing, "forecast": ahead}


def _check_folder(folder: Path) -> None:
    """Refuse to replace what no race wrote."""
    found = foreign_parts(folder)
    if found:
        raise InputError(f"{folder / found[0]}: no race wrote it; move it away, or choose another folder")


def foreign_parts(folder: Path) -> list[str]:
    """What lies at the places of an answer and was not written as one."""
    if not folder.is_dir():
        return []
    own = folder / SIDECAR
    if own.exists() and (not isinstance(record := read_json(own), dict) or record.get("stage") != STAGE):
        return [SIDECAR]
    return [name for name in foreign_files(folder) if name.split("/")[0] in PARTS]


def _progress(facts: Mapping[str, Any], needed: Mapping[str, int] | None, timing: Mapping[str, Any]) -> str:
    """A line for the terminal: round, candidates in, leader, bound, time left."""
    racing = [each for each in facts["candidates"] if each["state"] not in ("refused", "out", "worse")]
    of = f"{facts['sets']} of at most {facts['budget'][-1]} sets"
    if not facts["looks"]:
        names = ", ".join(each["name"] for each in racing)
        return f"race: round {facts['rounds']}: {len(racing)} candidates ({names}), {of}"
    from calibrant.race.spoken import better

    last = facts["looks"][-1]
    inside = f"{len(racing)} candidate{'' if len(racing) == 1 else 's'} in"
    parts = [f"race: round {facts['rounds']}: {of}", inside, f"leader {last['leader']}"]
    known = last["bound"] is not None
    parts.append(f"nothing is more than r = {better(last['bound'], up=True)} better" if known else "r not known yet")
    if needed is not None and (left := _left(facts, timing)):
        parts.append(left)
    return ", ".join(parts)


def _left(facts: Mapping[str, Any], timing: Mapping[str, Any]) -> str:
    seconds = timing["seconds_a_set"]
    if not seconds:
        return ""
    minutes = (facts["budget"][-1] - facts["sets"]) * seconds / timing["cores"] / 60
    return f"at most {minutes:.0f} minutes left" if minutes >= 1 else "less than a minute left"
