"""The folder of an unfinished run: taken up by the same run, thrown away by any other, whatever a kill left of it."""

import shutil
from pathlib import Path

import pytest

from calibrant.artefacts.unfinished import KEY, Unfinished
from calibrant.errors import InputError, MachineError
from calibrant.generation.generated_rows import Generated
from calibrant.generation.partial_rows import PartialRows
from calibrant.pruning.run.partial import Partial


def begun(output: Path, seed: int = 0) -> Unfinished:
    """A run that has left a file."""
    run = Unfinished(output, {"seed": seed})
    run.file("wave-000000.json").write_text(str(seed))
    return run


def test_the_same_run_takes_its_work_up_and_another_throws_it_away(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "x.parquet"
    begun(output)
    assert Unfinished(str(output), {"seed": 0}).file("wave-000000.json").read_text() == "0"
    other = Unfinished(output, {"seed": 1})
    assert [path.name for path in other.folder.iterdir()] == [KEY]
    other.remove()
    assert list(output.parent.iterdir()) == []
    other.remove()  # gone already


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"key": "0"}'])
def test_work_without_its_key_is_nobodys(tmp_path: Path, text: str | None) -> None:
    run = begun(tmp_path / "x")
    run.file(KEY).unlink()
    if text is not None:
        run.file(KEY).write_text(text)
    assert not Unfinished(tmp_path / "x", {"seed": 0}).file("wave-000000.json").exists()


@pytest.mark.parametrize("begin_anew", [True, False])
def test_a_kill_while_the_folder_is_removed_leaves_nothing_to_go_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin_anew: bool
) -> None:
    """Else a run might go on from activations whose layers are gone."""
    run = begun(tmp_path / "x")

    def killed(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            Unfinished(tmp_path / "x", {"seed": 1}) if begin_anew else run.remove()
    assert not Unfinished(tmp_path / "x", {"seed": 0}).file("wave-000000.json").exists()


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.partial").write_text("mine")
    with pytest.raises(InputError, match="is no folder"):
        Unfinished(tmp_path / "x", {})
    assert (tmp_path / "x.partial").read_text() == "mine"


def test_pruning_and_generation_have_one_layout(tmp_path: Path) -> None:
    rows, layers = PartialRows(tmp_path / "rows", {"seed": 0}), Partial(tmp_path / "masks", {"seed": 0})
    rows.save(3, [Generated(0, (1, 2), "length", None)])
    layers.layer_file(2).touch()
    found = {path.name: sorted(file.name for file in path.iterdir()) for path in tmp_path.iterdir()}
    assert found == {
        "rows.partial": [KEY, "wave-000003.json"],
        "masks.partial": [KEY, "layer-0002.safetensors"],
    }
    assert rows.file(KEY).read_bytes() == layers.file(KEY).read_bytes()


def test_a_living_run_keeps_its_work(tmp_path: Path) -> None:
    """Whatever another run of that output would do with it: take it up, or throw it away."""
    with begun(tmp_path / "x"):
        for seed in (0, 1):
            with pytest.raises(MachineError, match="another run is writing it"):
                Unfinished(tmp_path / "x", {"seed": seed})
    with pytest.raises(KeyError), Unfinished(tmp_path / "x", {"seed": 0}):
        raise KeyError
    with Unfinished(tmp_path / "x", {"seed": 0}) as taken_up:
        assert taken_up.file("wave-000000.json").exists()


def test_a_refused_run_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError), begun(tmp_path / "x"):
        raise InputError("no")
    assert list(tmp_path.iterdir()) == []
