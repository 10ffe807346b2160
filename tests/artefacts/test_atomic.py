import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from safetensors.torch import save_file

from calibrant.artefacts.atomic import (
    atomic_directory,
    atomic_path,
    prepare_parent,
    read_json,
    write_json,
    write_text,
)
from calibrant.artefacts.parquet import write_table
from calibrant.artefacts.provenance import write_provenance
from calibrant.artefacts.tensor_files import write_tensors
from calibrant.errors import InputError, MachineError
from calibrant.pruning.run.activations import Activations


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask() -> Iterator[Callable[[int], None]]:
    before = os.umask(0o022)
    yield lambda value: (os.umask(value), None)[1]
    os.umask(before)


def test_nothing_under_the_final_name_until_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "table.parquet.gz"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.name.endswith(".parquet.gz")
        temporary.write_bytes(b"half")
        assert not target.exists()
        temporary.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
    assert names(target.parent) == ["table.parquet.gz"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_in_the_middle_leaves_the_old_content(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.json"
    write_text(target, "old")

    def write() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("new, but not fin")
            raise error

    with pytest.raises(error):
        write()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_a_killed_writer_leaves_the_old_content(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    code = (
        "import os, signal, sys\n"
        "from calibrant.artefacts.atomic import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(target)], check=False).returncode == -9
    assert target.read_text() == "old"
    write_text(target, "new")
    assert target.read_text() == "new"


def test_a_writer_that_forgets_to_write_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a") as temporary:
        temporary.unlink()
    assert names(tmp_path) == []


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permission_bits_are_the_users(tmp_path: Path, umask: Callable[[int], None], mask: int, expected: int) -> None:
    umask(mask)
    write_text(tmp_path / "a.txt", "text")
    with atomic_path(tmp_path / "a.safetensors") as temporary:
        save_file({"x": torch.zeros(2)}, temporary)  # which makes a file of its own, readable by its owner only
    with atomic_directory(tmp_path / "model") as folder:
        save_file({"x": torch.zeros(2)}, folder / "model.safetensors")
        write_provenance(folder, {})
    for file in ("a.txt", "a.safetensors", "model/model.safetensors", "model/provenance.json"):
        assert mode(tmp_path / file) == expected, file
    assert mode(tmp_path / "model") == 0o777 & ~mask


def test_output_below_a_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "file" / "out.json", tmp_path / "file" / "deep" / "out.json"):
        message = refusal(lambda target=target: write_json(target, {}))
        assert f"output {target}" in message
        assert f"because {tmp_path / 'file'} is not a folder" in message
    assert "choose an output path below a folder" in refusal(lambda: prepare_parent(tmp_path / "file" / "x"))


def test_a_folder_is_no_output_file(tmp_path: Path) -> None:
    assert "is a folder; give the name of a file" in refusal(lambda: write_text(tmp_path, "x"))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    long = "n" * 300  # too long a name: also root cannot write it
    assert "cannot create its folder" in refusal(lambda: write_text(tmp_path / long / "a", "x"))
    locked = tmp_path / "locked"
    locked.mkdir(0o555)
    if not os.access(locked, os.W_OK):  # root may write anywhere
        assert "its folder cannot be written" in refusal(lambda: write_text(locked / "a", "x"))


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "kept").read_text() == "kept"
    assert not (tmp_path / "link").is_symlink()


def fill(folder: Path, text: str) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "a.txt").write_text(text)
    write_provenance(folder, {"text": text})


def test_a_folder_appears_whole_and_replaces_an_earlier_result(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "model"
    with atomic_directory(target) as folder:
        fill(folder, "first")
        (folder / "extra").write_text("x")
        assert not target.exists()
    with atomic_directory(target) as folder:
        fill(folder, "second")
        assert (target / "sub" / "a.txt").read_text() == "first"
    assert (target / "sub" / "a.txt").read_text() == "second"
    assert names(target) == ["provenance.json", "sub"]
    assert names(target.parent) == ["model"]


def test_an_exception_leaves_the_old_folder(tmp_path: Path) -> None:
    with atomic_directory(tmp_path / "model") as folder:
        fill(folder, "old")

    def write() -> None:
        with atomic_directory(tmp_path / "model") as folder:
            (folder / "half").write_text("x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert (tmp_path / "model" / "sub" / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["model"]


def test_a_folder_of_the_users_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")

    def write() -> None:
        with atomic_directory(tmp_path / "home") as folder:
            fill(folder, "new")

    assert f"output {tmp_path / 'home'}: is a folder with other files in it" in refusal(write)
    assert names(tmp_path / "home") == ["thesis.tex"]
    (tmp_path / "home" / "thesis.tex").unlink()
    write()  # an empty one will do
    assert names(tmp_path / "home") == ["provenance.json", "sub"]


def test_a_folder_without_sidecar_is_a_mistake_of_the_writer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="was written without provenance"), atomic_directory(tmp_path / "m") as folder:
        (folder / "a").write_text("x")
    assert names(tmp_path) == []


def test_linked_files_keep_their_own_permission_bits(tmp_path: Path, umask: Callable[[int], None]) -> None:
    umask(0o022)
    original = tmp_path / "original"
    original.write_text("x")
    original.chmod(0o600)
    with atomic_directory(tmp_path / "model") as folder:
        (folder / "soft").symlink_to(original)
        (folder / "hard").hardlink_to(original)
        write_provenance(folder, {})
    assert mode(original) == 0o600
    assert (tmp_path / "model" / "soft").read_text() == "x"


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    def write() -> None:
        with atomic_directory(tmp_path / "file"):
            pass

    assert "is a file; give the name of a folder" in refusal(write)


def test_json_has_one_form(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": "Bücher"})
    write_json(tmp_path / "b.json", {"a": "Bücher", "b": [1, 2.5]})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.json").read_text(encoding="utf-8").endswith("}\n")
    assert read_json(tmp_path / "a.json") == {"a": "Bücher", "b": [1, 2.5]}


def test_json_refuses_nan_and_keeps_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}


def test_unreadable_json_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'a.json'}: no such file" in refusal(lambda: read_json(tmp_path / "a.json"))
    (tmp_path / "a.json").write_text('{"a": ')
    assert "cannot be read as JSON" in refusal(lambda: read_json(tmp_path / "a.json"))
    (tmp_path / "a.json").write_bytes(b"\xff\xfe")
    assert "cannot be read as JSON" in refusal(lambda: read_json(tmp_path / "a.json"))
    assert "cannot be read as JSON" in refusal(lambda: read_json(tmp_path))


def test_the_next_writer_of_a_file_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from calibrant.artefacts.atomic import atomic_directory, atomic_path\n"
        "with atomic_path(sys.argv[1] + '/a.txt') as file, atomic_directory(sys.argv[1] + '/m') as folder:\n"
        "    file.write_text('half')\n"
        "    (folder / 'half').write_text('x')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (tmp_path / ".tmp-mine").write_text("of somebody else")
    assert len(names(tmp_path)) == 3
    with atomic_path(tmp_path / "a.txt") as living:  # another writer of the same file, which is not dead
        write_text(tmp_path / "b.txt", "x")
        write_text(tmp_path / "a.txt", "new")
        assert living.exists()
        living.write_text("newer")
    with atomic_directory(tmp_path / "m") as folder:
        fill(folder, "new")
    assert names(tmp_path) == [".tmp-mine", "a.txt", "b.txt", "m"]
    assert (tmp_path / "a.txt").read_text() == "newer"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, which root may")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no mount here")
    try:
        write_text(small / "kept.txt", "kept")
        big = {"x": torch.arange(100_000)}
        calls: list[Callable[[], object]] = [
            lambda: write_text(small / "a.txt", "x" * 1_000_000),
            lambda: write_tensors(small / "a.safetensors", big, {}),
            lambda: write_table(small / "a.parquet", pa.table({"x": big["x"].numpy()}), {}),
            lambda: Activations(small / "x.partial", "disk").empty((1000, 1000), torch.float32),
            lambda: filled(small / "folder"),
        ]
        for call in calls:
            with pytest.raises(MachineError, match="No space left on device"):
                call()
        assert [name for name in names(small) if name != "x.partial"] == ["kept.txt"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def filled(folder: Path) -> None:
    with atomic_directory(folder) as temporary:
        save_file({"x": torch.arange(100_000)}, temporary / "a.safetensors")
        write_provenance(temporary, {})
