"""The digest that decides what a code edit reruns."""

from pathlib import Path

import pytest

from calibrant.artefacts.code import CodeDigests, data_digest

FILES = {
    "pkg/__init__.py": "",
    "pkg/a.py": "from pkg import b\n\ndef f():\n    from .lazy import g\n    return g, b\n",
    "pkg/b.py": "import os\nX = 1\n",
    "pkg/lazy.py": "def g():\n    return 2\n",
    "pkg/other.py": "Y = 3\n",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "pkg").mkdir()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def digest_after(source: Path, name: str, text: str) -> str:
    (source / name).write_text(text)
    return CodeDigests(source).digest("pkg.a")


def test_closure_follows_lazy_and_relative_imports(source: Path) -> None:
    assert CodeDigests(source).closure("pkg.a") == {"pkg", "pkg.a", "pkg.b", "pkg.lazy"}


def test_only_meaning_counts(source: Path) -> None:
    before = CodeDigests(source).digest("pkg.a")
    assert digest_after(source, "pkg/b.py", "# a comment\nimport os\n\n\nX = 1  # same\n") == before
    assert digest_after(source, "pkg/other.py", "Y = 4\n") == before
    assert digest_after(source, "pkg/b.py", "import os\nX = 2\n") != before


def test_stages_do_not_depend_on_each_other_more_than_they_import() -> None:
    sampling = CodeDigests().closure("calibrant.stages.sampling")
    assert "calibrant.calibration.windows" in sampling
    assert not [name for name in sampling if name.startswith(("calibrant.pruning", "calibrant.cli", "calibrant.study"))]
    assert (
        "calibrant.settings.stage_settings" not in sampling
    )  # other stages' settings, which only the package itself lists


def test_what_only_a_type_checker_imports_does_not_count(source: Path) -> None:
    text = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg import other\nelse:\n    from pkg import b\n"
    )
    (source / "pkg" / "a.py").write_text(text)
    assert CodeDigests(source).closure("pkg.a") == {"pkg", "pkg.a", "pkg.b"}


def test_package_data_counts_by_its_bytes(source: Path) -> None:
    template = source / "pkg" / "page.html"
    template.write_text("<p>")
    before = data_digest("pkg", source)
    (source / "pkg/other.py").write_text("Y = 5\n")
    assert data_digest("pkg", source) == before
    template.write_text("<b>")
    assert data_digest("pkg", source) != before


def test_what_was_learnt_of_files_is_remembered_by_their_bytes(source: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory" / "code.json"
    first = CodeDigests(source, memory)
    before = first.digest("pkg.a")
    assert before == CodeDigests(source).digest("pkg.a")
    first.save()
    content = memory.read_bytes()
    again = CodeDigests(source, memory)
    assert again.digest("pkg.a") == before
    again.save()
    assert memory.read_bytes() == content
    (source / "pkg/b.py").write_text("from pkg import other\nX = 1\n")
    edited = CodeDigests(source, memory)
    assert edited.digest("pkg.a") == CodeDigests(source).digest("pkg.a") != before
    assert "pkg.other" in edited.closure("pkg.a")
    (source / "pkg/b.py").write_text(FILES["pkg/b.py"])
    assert CodeDigests(source, memory).digest("pkg.a") == before


def test_a_broken_memory_is_ignored_and_replaced(source: Path, tmp_path: Path) -> None:
    memory = tmp_path / "code.json"
    for text in ("{", "[1]", '"x"'):
        memory.write_text(text)
        digests = CodeDigests(source, memory)
        assert digests.digest("pkg.a") == CodeDigests(source).digest("pkg.a")
        digests.save()
        assert memory.read_text() != text


def test_a_memory_that_cannot_be_written_only_costs_time(source: Path) -> None:
    digests = CodeDigests(source, source / "pkg/a.py/memory.json")
    assert digests.digest("pkg.a") == CodeDigests(source).digest("pkg.a")
    digests.save()
