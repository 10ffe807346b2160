"""What is typed: numbers in ASCII digits, one value a flag, nothing that a terminal would obey in a message."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT

from calibrant.cli.main import main
from calibrant.errors import UNPRINTABLE, one_line, printable, shown
from calibrant.settings.number_texts import LARGEST, real_number, whole_number
from calibrant.settings.setting import described
from calibrant.stages.commands import COMMANDS, stage_of

ONE_VALUE = [
    (command, f"--{file.flag or file.name.replace('_', '-')}")
    for command in COMMANDS
    for file in stage_of(command).files
    if file.flag != "" and not file.many
] + [
    (command, each.flag)
    for command in COMMANDS
    if (chosen := stage_of(command).settings) is not None
    for each in described(chosen)
    if each.kind in (int, float, str)
]


@pytest.mark.parametrize(("command", "flag"), ONE_VALUE, ids=" ".join)
def test_a_second_value_is_refused(capsys: pytest.CaptureFixture[str], command: str, flag: str) -> None:
    assert main([command, flag, "1", flag, "2"]) == 2
    assert f"argument {flag}: given twice; it takes one value" in capsys.readouterr().err


@given(st.integers(-LARGEST, LARGEST))
def test_whole_numbers_are_read(number: int) -> None:
    assert whole_number(str(number)) == number
    assert whole_number(f"{number:+}") == number


@given(st.floats(allow_nan=False))
def test_numbers_are_read(number: float) -> None:
    assert real_number(repr(number)) == number


@given(st.text(st.characters(categories=["Nd"]), min_size=1, max_size=4).filter(lambda text: not text.isascii()))
def test_digits_of_other_scripts_are_none(text: str) -> None:
    int(text)  # Python reads them
    for read in (whole_number, real_number):
        with pytest.raises(ValueError, match="not a"):
            read(text)


@pytest.mark.parametrize("text", ["", " 1", "1_0", "0x1", "1e3", "9" * 19, "9" * 5000, "--1"])
def test_other_texts_are_no_whole_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        whole_number(text)


@pytest.mark.parametrize("text", ["", " 1", "1_0.5", "0,5", "1e", ".", "nan1"])
def test_other_texts_are_no_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        real_number(text)


@given(st.text(st.characters()))
def test_messages_hold_nothing_that_a_terminal_obeys(text: str) -> None:
    for made in (printable(text), shown(text), one_line(text)):
        assert not UNPRINTABLE.search(made)
        made.encode()
    assert len(shown(text, 20)) <= 10 * 12 + 5 * 12 + 30


@given(name=st.text(st.characters(exclude_characters="\0/"), min_size=1, max_size=12).filter(str.strip))
def test_a_message_names_any_file_in_one_printable_line(name: str) -> None:
    import contextlib
    import io

    with contextlib.redirect_stderr(io.StringIO()) as written:
        assert main(["sample", f"--documents=none/{name}", "--model=m", "--output=o.parquet"]) == 2
    line = written.getvalue()
    assert line.count("\n") == 1
    assert not UNPRINTABLE.search(line.rstrip("\n"))
    line.encode()


def test_an_unknown_flag_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["sample", "--documents", "a", "--model", "m", "--output", "o.parquet"]
    assert main([*arguments, "--lenght", "3"]) == 2
    assert "unrecognized arguments: --lenght 3; did you mean --length? (see" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_default_is_in_the_help(capsys: pytest.CaptureFixture[str], command: str) -> None:
    main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    chosen = stage_of(command).settings
    for each in described(chosen) if chosen is not None else ():
        if not each.required:
            part = text[text.index(f" {each.flag} ", text.index("options:")) :]
            assert re.search("default", part.split(" --")[1] if each.kind is bool else part), each.flag


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_traceback_and_nothing_is_written_into_files(tmp_path: Path, closed: str) -> None:
    (tmp_path / "a.txt").write_text("text")
    command = (
        f"{sys.executable} -m calibrant plan tiny --counts {closed}; {sys.executable} -m calibrant sample --model m"
    )
    command += f" --documents {tmp_path}/a.txt --output {tmp_path}/o.parquet {closed}; echo $? >{tmp_path}/status"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert (tmp_path / "status").read_text() == "2\n"
    assert (tmp_path / "a.txt").read_text() == "text"


def test_a_folder_that_was_removed_is_said(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = f"rmdir {tmp_path}/gone; {sys.executable} -m calibrant plan tiny"
    source = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path / "gone", capture_output=True, text=True, check=False, env=source
    )
    assert (done.returncode, done.stderr) == (
        2,
        "calibrant: the working folder is no longer there; change to one that is\n",
    )
