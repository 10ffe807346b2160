"""A report's parts in a folder that holds more."""

from pathlib import Path

from calibrant.artefacts.atomic import SIDECAR, foreign_files
from calibrant.artefacts.provenance import write_provenance
from calibrant.artefacts.report_folder import report_folder


def write(folder: Path, *parts: str) -> None:
    with report_folder(folder, (*parts, SIDECAR)) as new:
        for part in parts:
            (new / part).write_text(f"{part} of {len(parts)} parts")
        write_provenance(new, {"stage": "choose"})


def test_some_parts_are_written_anew_and_the_others_stay_listed(tmp_path: Path) -> None:
    """The page of a race that goes on lies beside the set that it handed over before."""
    folder = tmp_path / "answer"
    write(folder, "index.html", "summary.md", "set.txt")
    (folder / "mine.txt").write_text("precious")
    write(folder, "index.html", "summary.md")
    assert foreign_files(folder) == ["mine.txt"]
    assert (folder / "index.html").read_text() == "index.html of 2 parts"
    assert (folder / "set.txt").read_text() == "set.txt of 3 parts"
    write(folder, "index.html", "summary.md", "set.txt")
    assert (folder / "set.txt").read_text() == "set.txt of 3 parts"
    assert foreign_files(folder) == ["mine.txt"]
