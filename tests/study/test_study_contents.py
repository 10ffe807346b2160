"""Snakemake removes a study's outputs before a job can look: what a study has not written is refused before that."""

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from calibrant.artefacts.parquet import write_table
from calibrant.artefacts.provenance import write_described, write_provenance
from calibrant.errors import InputError
from calibrant.stages.study_check import check_files, check_study
from calibrant.stages.study_contents import check_contents
from calibrant.study.config import resolve_config

BASE: dict[str, Any] = {"preset": "tiny", "experiment": "sources", "study": "mine"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(name: str, text: str = "mine") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def table(name: str, stage: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    write_table(name, pa.table({"a": [1]}), {"stage": stage})


def own_study() -> None:
    """Files as a study writes them, and what kills and users leave beside them."""
    for section in ("sources", "texts"):
        table(f"data/mine/{section}/web/documents.parquet", "download")
        write_provenance(f"data/mine/{section}/web", {"name": "web", "origin": "files"})
    put("data/mine/tasks/next_words_test.jsonl")
    write_provenance("data/mine/tasks/next_words", {"name": "next_words", "files": {}})
    put("data/mine/model/config.json", "{}")
    put("data/mine/model/.snakemake_timestamp", "")
    write_provenance("data/mine/model", {"id": "m", "files": ["config.json"]})
    put("data/mine/number-format.json", '{"dtype": "float32"}')
    for name in ("index", "index/table2"):
        put(f"data/mine/{name}.json", '{"study": {}, "runs": []}')
    table("data/mine/sets/web-real-n4-s0.parquet", "sample")
    table("data/mine/sets/web-p4-d0.2-n4-s0.dropped.parquet", "filter")
    table("data/mine/scores/sets/web-real-n4-s0.parquet", "score")
    put("data/mine/scores/sets/.tmp-0-1.parquet", "half")
    put("data/mine/masks/none/magnitude-2of4.safetensors.partial/layer-0000.safetensors", "half")
    put("data/mine/logs/contamination.log")
    put("data/mine/notes.txt")
    Path("data/mine/evaluations/none").mkdir(parents=True)
    write_described("data/mine/evaluations/none/dense-0.json", [], {"model_sha256": "0", "masks_sha256": None})
    for folder in ("reports/mine", "reports/mine/table2", "reports/mine/paper"):
        for name in ("index.html", "tables/a.csv", "figures/a.svg", "figures/.snakemake_timestamp"):
            put(f"{folder}/{name}")
        files = ["index.html", "tables/a.csv", "figures/a.svg"]
        put(f"{folder}/provenance.json", json.dumps({"stage": "summarize", "files": files}))
    put("reports/mine/snakemake-report.html", "<head><title>Snakemake Report</title>")
    put("reports/mine/.tmp-1/figures/a.svg")


def test_a_study_goes_on_with_what_it_has_written() -> None:
    check_contents("mine")
    own_study()
    check_contents("mine")


FOREIGN = [
    "data/mine/sources/harbour/provenance.json",
    "data/mine/sources/harbour/heldout.parquet",
    "data/mine/texts/meadow/provenance.json",
    "data/mine/tasks/piqa_test.jsonl",
    "data/mine/contamination.parquet",
    "data/mine/evaluations/none/dense-0.json",
    "data/mine/masks/web-real-n4-s0/wanda-0.5.safetensors",
    "data/mine/index.json",
    "data/mine/number-format.json",
    "data/mine/model/training-notes.txt",
    "reports/mine/summary.md",
    "reports/mine/provenance.json",
    "reports/mine/snakemake-report.html",
    "reports/mine/figures/my.png",
    "reports/mine/table2/tables/my.csv",
]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_of_the_users_at_the_place_of_an_output_is_refused(name: str, begun: bool) -> None:
    if begun:
        own_study()
    put(name).with_name("dense-0.provenance.json").unlink(missing_ok=True)
    with pytest.raises(InputError) as caught:
        check_contents("mine")
    assert str(caught.value).startswith(f"{name}: ")
    assert "move it away" in str(caught.value)
    assert Path(name).read_text() == "mine"


def test_a_page_that_no_report_lists_is_refused() -> None:
    put("reports/mine/index.html")
    with pytest.raises(InputError, match=r"reports/mine/index\.html: no report wrote it"):
        check_contents("mine")


def test_an_artefact_of_another_command_is_refused() -> None:
    table("data/mine/scores/sets/web-real-n4-s0.parquet", "sample")
    with pytest.raises(InputError, match="calibrant sample wrote it"):
        check_contents("mine")


def test_a_thousand_artefacts_are_looked_at_in_two_seconds() -> None:
    table("data/mine/sets/web-real-n4-s0.parquet", "sample")
    data = Path("data/mine/sets/web-real-n4-s0.parquet").read_bytes()
    for seed in range(1, 1000):
        Path(f"data/mine/sets/web-real-n4-s{seed}.parquet").write_bytes(data)
    began = time.process_time()
    check_contents("mine")
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("key", "section"),
    [
        ("model", {"model": {"path": "data/mine/model"}}),
        ("sources.web", {"sources": {"web": {"files": ["data/mine/*.jsonl"], "heldout": 0.3}}}),
        ("sources.web", {"sources": {"web": {"files": ["linked.jsonl"], "heldout": 0.3}}}),
        (
            "texts.page",
            {
                "texts": {
                    "page": {"archive": {"file": "other/../reports/mine/a.zip", "member": "a.txt", "sha256": "0" * 64}}
                }
            },
        ),
        ("tasks.piqa", {"tasks": {"piqa": {"files": {"test": "data/mine/piqa.jsonl"}}}}),
    ],
)
def test_what_a_study_reads_lies_outside_its_folders(key: str, section: dict[str, Any]) -> None:
    put("data/mine/a.jsonl", '{"text": "x"}\n')
    Path("linked.jsonl").symlink_to(Path("data/mine/a.jsonl").resolve())
    with pytest.raises(InputError, match=rf"my\.yaml: {key} names .* which lies in (data|reports)/mine, .* move it"):
        check_study(resolve_config({**BASE, **section}), "my.yaml")
    check_study(resolve_config({**BASE, **section, "study": "another"}), "my.yaml")


def test_a_download_that_was_interrupted_needs_its_files_still() -> None:
    text: dict[str, Any] = {"texts": {"meadow": {"files": ["not/there.jsonl"]}}}
    config = resolve_config({**BASE, **text})
    Path("data/mine/texts/meadow").mkdir(parents=True)
    with pytest.raises(InputError, match=r"texts\.meadow: not/there\.jsonl: no such file"):
        check_files(config, "my.yaml")
    for name in ("documents.parquet", "provenance.json"):
        put(f"data/mine/texts/meadow/{name}")
    check_files(config, "my.yaml")


def test_a_link_to_a_folder_is_looked_at_as_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/documents.parquet").write_text("precious")
    (tmp_path / "data/s/sources").mkdir(parents=True)
    (tmp_path / "data/s/sources/web").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="it is a link to a folder"):
        check_contents("s")
