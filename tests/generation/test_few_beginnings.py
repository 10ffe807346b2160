"""Rows that all begin alike, since a plain text file is one document, are told."""

from pathlib import Path

import pytest

from calibrant.cli.main import main


def test_rows_with_the_same_beginning_are_told(
    tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = tmp_path / "book.md"
    book.write_text("\n\n".join(f"Chapter {n}. There was once number {n}." for n in "abcdef"))
    command = ["generate", "--documents", str(book), "--model", str(tiny_model_dir), "--samples", "4", "--length", "9"]
    for more, told in (([], True), (["--paragraphs", "--prefix-length", "7"], False)):
        assert main([*command, *more, "--output", str(tmp_path / "rows.parquet")]) == 0
        assert ("note: 4 rows have only 1 different beginning;" in capsys.readouterr().err) is told
