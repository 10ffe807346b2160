"""The one door for outputs: no file of the user's is replaced, by any command, at any of the places that it writes."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibrant.artefacts.output_place import Place, check_places
from calibrant.artefacts.parquet import write_table
from calibrant.artefacts.provenance import write_provenance
from calibrant.artefacts.tensor_files import write_tensors
from calibrant.errors import InputError
from calibrant.stages.commands import COMMANDS, stage_of
from calibrant.stages.stage import Output, admit

OUTPUTS = [
    (command, file)
    for command in COMMANDS
    for file in stage_of(command).files
    if isinstance(file, Output) and file.form != "tree"
]
NAMES = [f"{command} --{file.flag or file.name}" for command, file in OUTPUTS]
every_output = pytest.mark.parametrize(("command", "file"), OUTPUTS, ids=NAMES)


def refused(file: Output, path: Path, **given: Any) -> str:
    """The message of the door, before which and after which everything in the folder is the same."""
    before = listing(path.parent)
    with pytest.raises(InputError) as caught:
        admit((file,), **{file.name: path})
    assert listing(path.parent) == before
    return str(caught.value)


def listing(folder: Path) -> dict[str, Any]:
    return {
        str(path.relative_to(folder)): (stat.S_IFMT(path.lstat().st_mode), path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
        if not stat.S_ISFIFO(path.lstat().st_mode)
    }


def test_every_output_says_which_command_writes_it() -> None:
    for command, file in OUTPUTS:
        assert file.command == command


@every_output
def test_a_file_of_the_users_stays(command: str, file: Output, tmp_path: Path) -> None:
    """At the output itself, and wherever else the command writes for it."""
    for place in file.places(tmp_path / f"x{file.suffix}"):
        if place.form == "file":
            place.path.write_text("precious")
            assert str(place.path.name) in refused(file, tmp_path / f"x{file.suffix}")
            place.path.unlink()
    if file.form != "file":
        folder = tmp_path / f"x{file.suffix}"
        folder.mkdir()
        name = "index.html" if file.form == "report" else "thesis.txt"
        (folder / name).write_text("precious")
        assert name in refused(file, folder)
        (folder / "provenance.json").write_text("{}")  # a sidecar that says nothing of us
        refused(file, folder)
        write_provenance(folder, {"stage": command, "files": []})  # and ours, which does not list it
        refused(file, folder)


@every_output
def test_unfinished_work_is_kept_in_no_folder_of_the_users(command: str, file: Output, tmp_path: Path) -> None:
    if not file.partial:
        return
    output = tmp_path / f"x{file.suffix}"
    partial = tmp_path / f"x{file.suffix}.partial"
    partial.write_text("precious")
    refused(file, output)
    partial.unlink()
    partial.symlink_to(tmp_path)
    refused(file, output)
    partial.unlink()
    partial.mkdir()
    (partial / "key.json").write_text('{"key": "0"}')
    admit((file,), **{file.name: output})
    (partial / "mine.txt").write_text("precious")
    refused(file, output)


@every_output
def test_what_is_no_file_stays(command: str, file: Output, tmp_path: Path) -> None:
    output = tmp_path / f"x{file.suffix}"
    os.mkfifo(output)
    assert "is a pipe" in refused(file, output)
    output.unlink()
    output.symlink_to("nowhere")
    refused(file, output)
    output.unlink()
    if os.geteuid() == 0:
        os.mknod(output, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        assert "is a device" in refused(file, output)
        output.unlink()
    output.mkdir() if file.form == "file" else output.write_text("precious")
    assert "is a folder" in refused(file, output) or file.form != "file"


@every_output
def test_an_earlier_output_of_the_same_command_is_replaced(command: str, file: Output, tmp_path: Path) -> None:
    output = tmp_path / f"x{file.suffix}"
    for wrote in (command, "another"):
        make(output, file, wrote)
        if wrote == command:
            admit((file,), **{file.name: output})
        else:
            refused(file, output)


def make(path: Path, file: Output, command: str) -> None:
    """A file or folder as `command` would leave it."""
    import pyarrow as pa
    import torch

    if file.form != "file":
        path.mkdir(exist_ok=True)
        (path / "index.html").write_text("x")
        write_provenance(path, {"stage": command, "files": ["index.html"]})
    elif path.suffix == ".parquet":
        write_table(path, pa.table({"a": [1]}), {"stage": command})
    elif path.suffix == ".safetensors":
        write_tensors(path, {"a": torch.zeros(1)}, {"stage": command})
    else:
        path.write_text("[]")
        write_provenance(path, {"stage": command})


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_output_is_an_input_however_it_is_spelt(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("door")
    (folder / "deep").mkdir()
    (folder / "set.parquet").write_bytes(b"mine")
    os.link(folder / "set.parquet", folder / "hard.parquet")
    (folder / "soft.parquet").symlink_to("set.parquet")
    (folder / "deep/up").symlink_to(folder)
    one = st.sampled_from(["set.parquet", "hard.parquet", "soft.parquet"])
    way = st.sampled_from(["", ".", "deep/..", "deep/up", "deep/up/deep/up"])
    read, written = (folder / data.draw(way) / data.draw(one) for _ in range(2))
    with pytest.raises(InputError, match="which this command reads"):
        check_places([Place(written, "sample")], [read])
    assert (folder / "set.parquet").read_bytes() == b"mine"


def test_an_output_lies_in_no_folder_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "weights").write_text("x")
    (tmp_path / "model/model.safetensors").symlink_to(tmp_path / "weights")
    for path in ("model/masks.safetensors", "model/deep/masks.safetensors", "weights"):
        with pytest.raises(InputError, match="which this command reads"):
            check_places([Place(tmp_path / path, "prune")], [tmp_path / "model"])
    for path in (".", "model"):
        with pytest.raises(InputError, match="which this command reads"):
            check_places([Place(tmp_path / path, "apply", "folder")], [tmp_path / "model"])


@given(st.lists(st.sampled_from(["a.json", "./a.json", "b/../a.json", "b/a.json", "c.json", "a.txt"]), max_size=4))
@settings(max_examples=40)
def test_two_outputs_never_meet(paths: list[str]) -> None:
    file = Output("output", "", command="evaluate", beside=(".provenance.json",))
    meets = len({os.path.normpath(Path(path).with_suffix("")) for path in paths}) < len(paths)
    places = [place for path in paths for place in file.places(path)]
    if meets:
        with pytest.raises(InputError, match="named twice"):
            check_places(places, [])
    else:
        check_places(places, [])


@pytest.mark.parametrize(
    "name", ["n" * 250 + ".parquet", "a\0b.parquet", "", "..", "none/../x/" + "n" * 300 + "/o.parquet"]
)
def test_names_that_no_file_can_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        admit((Output("output", "", command="sample"),), output=f"{tmp_path}/{name}" if name else name)


def test_a_record_of_the_evaluation_names_its_command(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[]")
    place = Place(path, "evaluate")
    for record in ({}, [], None, {"stage": "inspect"}, {"stage": 5}):
        (tmp_path / "x.provenance.json").write_text(json.dumps(record))
        with pytest.raises(InputError, match="remove it or give another name"):
            check_places([place], [])
    (tmp_path / "x.provenance.json").write_text('{"model_sha256": "0", "masks_sha256": null}')  # of earlier versions
    check_places([place], [])


@every_output
def test_no_output_has_the_name_of_a_file_beside_another(command: str, file: Output, tmp_path: Path) -> None:
    for own in file.beside:
        if own.endswith(file.suffix):
            assert "names that end in" in refused(file, tmp_path / f"x{own}")


@every_output
def test_a_folder_behind_a_link_stays(command: str, file: Output, tmp_path: Path) -> None:
    if file.form == "folder":
        (tmp_path / "real").mkdir()
        (tmp_path / "x").symlink_to("real")
        assert "is a link" in refused(file, tmp_path / "x")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("value", [5, b"x", None, ["x"], {"x": 1}], ids=str)
def test_what_is_no_name_of_a_file_is_refused(command: str, value: Any) -> None:
    for file in stage_of(command).files:
        if value is None and not file.required:
            continue
        with pytest.raises(InputError, match=file.shown):
            admit((file,), **{file.name: [value] if file.many and value is not None else value})
