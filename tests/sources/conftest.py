"""Archives, sources and documents made on the spot."""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from calibrant.cli.main import main


@pytest.fixture
def make_zip(tmp_path: Path) -> Callable[[str, Mapping[str, bytes | str]], Path]:
    def make(name: str, members: Mapping[str, bytes | str]) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, data in members.items():
                archive.writestr(zipfile.ZipInfo(member), data)
        return path

    return make


@pytest.fixture
def download(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Path, str]]:
    """Run `calibrant download` on a configuration: exit status, output folder, what it said."""

    def run(config: object, *extra: str, output: str = "out") -> tuple[int, Path, str]:
        capsys.readouterr()
        text = config if isinstance(config, str) else json.dumps(config)
        status = main(["download", text, "--output", str(tmp_path / output), *extra])
        return status, tmp_path / output, capsys.readouterr().err

    return run
