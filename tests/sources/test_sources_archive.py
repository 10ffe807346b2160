"""Package archives: checksum, nested members, names that try to leave the archive, the cache of wheels."""

import io
import stat
import zipfile
from pathlib import Path

import pytest
from sources_helpers import jsonl, prose, sha256

from calibrant.errors import InputError
from calibrant.sources.archives import fetch_archive, open_member
from calibrant.sources.asset_specs import Archive


def archive(path, member, **more):
    return Archive(file=str(path), sha256=more.pop("sha256", sha256(path)), member=member, **more)


def read(spec):
    with open_member(fetch_archive(spec, Path("unused")), spec) as stream:
        return stream.read()


def test_member_and_nested_member(make_zip):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as nested:
        nested.writestr("deep/text.csv", "text\nhello\n")
    path = make_zip("a.whl", {"pkg/a.jsonl": "{}\n", "pkg/in.zip": inner.getvalue()})
    assert read(archive(path, "pkg/a.jsonl")) == b"{}\n"
    assert read(archive(path, "pkg/in.zip", inner="deep/text.csv")) == b"text\nhello\n"


def test_wrong_checksum_says_expected_and_found(make_zip):
    path = make_zip("a.whl", {"a": "x"})
    with pytest.raises(InputError, match=f"expected sha256 {'0' * 64}, found {sha256(path)}"):
        read(archive(path, "a", sha256="0" * 64))


def test_wrong_member_checksum(make_zip):
    path = make_zip("a.whl", {"a": "x"})
    good = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # of "x"
    assert read(archive(path, "a", member_sha256=good)) == b"x"
    with pytest.raises(InputError, match=f"member a: expected sha256 {'1' * 64}, found {good}"):
        read(archive(path, "a", member_sha256="1" * 64))


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/passwd", "..\\evil", "C:\\evil"])
def test_names_that_leave_the_archive_are_refused(make_zip, name):
    path = make_zip("a.whl", {name: "x"})
    with pytest.raises(InputError, match="leaves the archive"):
        read(archive(path, name))


def test_inner_names_are_checked_too(make_zip):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as nested:
        nested.writestr("../evil", "x")
    path = make_zip("a.whl", {"in.zip": inner.getvalue()})
    with pytest.raises(InputError, match="leaves the archive"):
        read(archive(path, "in.zip", inner="../evil"))


def test_links_and_folders_are_refused(tmp_path):
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w") as file:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
        file.mkdir("folder")
    for name in ("link", "folder/"):
        with pytest.raises(InputError, match="folder or a link"):
            read(archive(path, name))


def test_missing_member_lists_those_of_its_kind(make_zip):
    path = make_zip("a.whl", {"x/right.jsonl": "{}", "x/other.txt": ""})
    with pytest.raises(InputError, match=r"has no member 'x/wrong.jsonl'; members of that kind: x/right.jsonl$"):
        read(archive(path, "x/wrong.jsonl"))


def test_not_an_archive(tmp_path):
    (tmp_path / "a.whl").write_text("plain")
    with pytest.raises(InputError, match="not a zip archive"):
        read(archive(tmp_path / "a.whl", "a"))


def test_damaged_member_is_one_line_of_input_error(download, make_zip):
    path = make_zip("a.whl", {"a.jsonl": jsonl([prose(i) for i in range(50)])})
    data = bytearray(path.read_bytes())
    data[200:220] = bytes(20)
    path.write_bytes(data)
    spec = {"file": str(path), "sha256": sha256(path), "member": "a.jsonl"}
    status, out, said = download({"sources": {"s": {"archive": spec}}})
    assert status == 2
    assert "a.jsonl" in said
    assert said.count("\n") == 1
    assert not list(out.rglob("*.parquet"))


@pytest.fixture
def local_registry(tmp_path, make_zip, monkeypatch):
    """A folder that pip takes packages from, with one tiny wheel."""
    info = "tiny_texts-1.0.dist-info"
    wheel = make_zip(
        "tiny_texts-1.0-py3-none-any.whl",
        {
            "tiny_texts/a.jsonl": jsonl([prose(1)]),
            f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny-texts\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": "",
        },
    )
    folder = tmp_path / "links"
    folder.mkdir()
    wheel = wheel.rename(folder / wheel.name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return wheel


def test_package_is_fetched_once_and_again_when_damaged(local_registry, tmp_path):
    digest = sha256(local_registry)
    spec = Archive(package="tiny-texts==1.0", sha256=digest, member="tiny_texts/a.jsonl")
    path = fetch_archive(spec, tmp_path / "archives")
    assert sha256(path) == digest
    stamp = path.stat().st_mtime_ns
    assert fetch_archive(spec, tmp_path / "archives") == path
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(b"damaged")
    assert sha256(fetch_archive(spec, tmp_path / "archives")) == digest
    with open_member(path, spec) as stream:
        assert b"number 1" in stream.read()


def test_package_with_another_checksum_is_not_kept(local_registry, tmp_path):
    spec = Archive(package="tiny-texts==1.0", sha256="a" * 64, member="x")
    with pytest.raises(
        InputError, match=f"tiny-texts==1.0.*expected sha256 {'a' * 64}, found {sha256(local_registry)}"
    ):
        fetch_archive(spec, tmp_path / "archives")
    assert not list((tmp_path / "archives").rglob("*.whl"))


def test_unknown_package(local_registry, tmp_path):
    spec = Archive(package="no-such-package==1.0", sha256="a" * 64, member="x")
    with pytest.raises(InputError, match=r"no-such-package==1\.0: cannot be fetched"):
        fetch_archive(spec, tmp_path / "archives")
