import subprocess
import sys
from pathlib import Path

import pytest

from calibrant.cli.main import main
from calibrant.stages.commands import COMMANDS
from calibrant.version import __version__


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = main(list(arguments))
    output = capsys.readouterr()
    return status, output.out, output.err


def one_line(text: str) -> bool:
    return text.endswith("\n") and text.count("\n") == 1


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"calibrant {__version__}\n", "")


def test_help_lists_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "--help")
    assert (status, err) == (0, "")
    for stage in COMMANDS:
        assert f"\n    {stage}" in out
    assert "Min-K%++" in out


@pytest.mark.parametrize("stage", COMMANDS)
def test_help_of_every_stage(capsys: pytest.CaptureFixture[str], stage: str) -> None:
    status, out, err = run(capsys, stage, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: calibrant {stage} ")
    assert "--debug" in out


def test_unknown_stage_lists_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "prunne")
    assert (status, out) == (2, "")
    assert one_line(err)
    assert "'prunne'" in err
    for stage in COMMANDS:
        assert f"'{stage}'" in err


def test_no_stage(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys)
    assert status == 2
    assert one_line(err)
    assert "STAGE" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sample"], "required: --documents, --model, --output"),
        (["sample", "--samples", "many"], "argument --samples: must be a whole number, not 'many'"),
        (["sample", "--documents", "a", "--model", "b", "--output", "c.parquet", "--sead", "1"], "--sead 1"),
        # an abbreviation would change its meaning with the next option that shares it
        (["sample", "--documents", "a", "--model", "b", "--out", "c.parquet"], "required: --output"),
        (["sample", "--documents", "a", "--model", "b", "--output", "c.parquet", "--sam", "3"], "--sam 3"),
        (["--ver"], "STAGE"),
        (["samp"], "invalid choice: 'samp'"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert one_line(err)
    assert words in err
    assert "--help)" in err


def sample(capsys: pytest.CaptureFixture[str], documents: Path, model: Path, output: Path) -> tuple[int, str]:
    status, _, err = run(
        capsys,
        *("sample", "--documents", str(documents), "--model", str(model), "--output", str(output)),
        *("--samples", "2", "--length", "16"),
    )
    return status, err


def test_a_stage_that_succeeds(capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_model_dir: Path) -> None:
    (tmp_path / "a.txt").write_text("The river carried small boats over grey water. " * 40)
    status, err = sample(capsys, tmp_path / "a.txt", tiny_model_dir, tmp_path / "set.parquet")
    assert status == 0
    assert err.startswith("sample: 2 windows of 16 tokens of a in ")
    assert one_line(err)
    assert (tmp_path / "set.parquet").exists()


def test_bad_input_is_one_line_that_names_the_stage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny_model_dir: Path
) -> None:
    status, err = sample(capsys, tmp_path / "a\nb.txt", tiny_model_dir, tmp_path / "set.parquet")
    assert status == 2
    assert one_line(err)  # whatever the file is called
    assert err.startswith("calibrant sample: ")
    (tmp_path / "a.txt").write_text("The river carried small boats over grey water. " * 40)
    status, err = sample(capsys, tmp_path / "a.txt", tiny_model_dir, tmp_path / "a.txt" / "set.parquet")
    assert status == 2
    assert one_line(err)
    assert "choose an output path below a folder" in err


def test_as_a_program(tmp_path: Path) -> None:
    """Statuses reach the shell; bad usage is told before anything heavy is imported."""
    code = (
        "import sys; from calibrant.cli.main import main\n"
        "status = main(['sample', '--documents', 'x'])\n"
        "assert not {'torch', 'transformers', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2, done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "calibrant", "--version"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"calibrant {__version__}\n")


def test_an_unexpected_error_is_status_1_with_its_traceback(tmp_path: Path) -> None:
    code = (
        "import sys; from calibrant.cli import main; from calibrant.stages import plan\n"
        "plan.STAGE = main.Stage(lambda: 1 / 0, ())\n"
        "sys.exit(main.main(['plan']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_a_reader_who_has_seen_enough_gets_no_traceback() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "calibrant", "plan", "workflow/presets/tiny.yaml", "--counts"]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == "calibrant plan: stopped, nobody reads its output any more\n"
    assert process.returncode == 1


def test_unknown_arguments_are_said_by_the_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply", "--model", "m", "--masks", "x", "--output", "o", "--threads", "1"]) == 2
    said = capsys.readouterr().err
    assert said == "calibrant apply: unrecognized arguments: --threads 1 (see calibrant apply --help)\n"


def test_masks_have_the_name_of_their_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "--model", "m", "--method", "magnitude", "--sparsity", "0.5", "--output", "z.npz"]) == 2
    assert "must end in .safetensors" in capsys.readouterr().err
