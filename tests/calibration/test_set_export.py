"""The forms of a calibration set: what other tools read of them, their card, and whose files they never replace."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import load_dataset, load_from_disk
from support import make_text

import calibrant as cal
from calibrant.artefacts.card_text import fenced, front_matter, licence_entries, words_of
from calibrant.calibration.dataset_card import dataset_card
from calibrant.calibration.sample_set import read_samples, write_samples
from calibrant.calibration.set_bundle import bundle_places, write_bundle
from calibrant.calibration.set_export import write_dataset
from calibrant.calibration.set_facts import SetFacts, SourceShare, Writing, set_facts
from calibrant.calibration.set_recipe import set_recipe
from calibrant.cli.main import main
from calibrant.errors import InputError

TEXTS = ("one\n\ntwo", "drei é\n", "four")


def rows(texts: tuple[str | None, ...] = TEXTS, **columns: Any) -> pa.Table:
    count = len(texts)
    found = {
        "sample_id": pa.array(range(count), pa.int64()),
        "input_ids": pa.array([[i] * 4 for i in range(count)], pa.list_(pa.int32())),
        "text": pa.array(texts, pa.string()),
        "source": ["tiny"] * count,
        "origin": ["real"] * count,
        "doc_ids": pa.array([[f"d{i}", "d0"] for i in range(count)], pa.list_(pa.string())),
        "prefix_length": pa.array([1] * count, pa.int32()),
        "perplexity": pa.nulls(count, pa.float32()),
    }
    return pa.table({**found, **columns})


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    write_samples(tmp_path / "set.parquet", rows(), {"stage": "sample", "source": "tiny", "origin": "real"})
    return tmp_path / "set.parquet"


@pytest.fixture(scope="module")
def workplace(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and a text, as a recipe names them."""
    folder = tmp_path_factory.mktemp("work")
    shutil.copytree(tiny_model_dir, folder / "tiny-llama")
    texts = [json.dumps({"text": make_text(60, i)}) for i in range(40)]
    (folder / "tale.jsonl").write_text("\n".join(texts) + "\n")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def export(*words: str | Path) -> int:
    return main(["export", *map(str, words)])


def test_text_has_a_blank_line_between_rows_and_keeps_their_own(samples: Path, tmp_path: Path) -> None:
    output = tmp_path / "plain.txt"
    for _ in range(2):  # and replaces its own
        assert export("--calibration", samples, "--format", "text", "--output", output) == 0
        assert output.read_bytes() == "one\n\ntwo\n\ndrei é\n\n\nfour\n".encode()
    assert json.loads((tmp_path / "plain.provenance.json").read_text())["stage"] == "export"


def test_one_format_is_one_output_and_the_same_as_without(samples: Path, tmp_path: Path) -> None:
    assert export("--calibration", samples, "--output", tmp_path / "both") == 0
    assert export("--calibration", samples, "--format", "jsonl", "--output", tmp_path / "rows") == 0
    assert (tmp_path / "rows").read_bytes() == (tmp_path / "both.jsonl").read_bytes()
    assert not (tmp_path / "rows.jsonl").exists()
    cal.export(samples, tmp_path / "data", cal.ExportSettings(format="dataset"))
    assert load_from_disk(str(tmp_path / "data")).to_list() == load_from_disk(str(tmp_path / "both")).to_list()
    with_card, without = contents(tmp_path / "data"), contents(tmp_path / "both")
    assert "README.md" in with_card
    assert "README.md" not in without
    names = set(without) - {"provenance.json"}  # which lists the card
    assert {name: with_card[name] for name in names} == {name: without[name] for name in names}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "text"], "give --output"),
        (["--format", "text", "--output", "o", "--jsonl", "j"], "leave out --jsonl"),
        (["--format", "dataset", "--output", "o", "--dataset", "d"], "leave out --dataset"),
        (
            ["--format", "pickle", "--output", "o"],
            "--format pickle: unknown; use jsonl, parquet, text, dataset or imatrix",
        ),
        (["--format", "text", "--output", "set.parquet"], "which this command reads"),
        (["--format", "text", "--output", "mine.txt"], "it is no file of calibrant"),
        (["--format", "dataset", "--output", "mine"], "thesis.txt"),
        ([], "nothing to write"),
    ],
)
def test_what_export_refuses(
    words: list[str],
    said: str,
    samples: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.txt").write_text("precious")
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("precious")
    before = contents(tmp_path)
    assert export("--calibration", samples.name, *words) == 2
    assert said in capsys.readouterr().err
    assert contents(tmp_path) == before


@pytest.mark.parametrize(("texts", "said"), [(("a", None), "sample_id 1: has no text"), (None, "has no column text")])
def test_a_set_without_text_has_no_plain_text(
    texts: tuple[str | None, ...] | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = rows(("a", "b")).select(["input_ids"]) if texts is None else rows(texts)
    pq.write_table(table, tmp_path / "set.parquet")
    assert export("--calibration", tmp_path / "set.parquet", "--format", "text", "--output", tmp_path / "o.txt") == 2
    assert said in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set.parquet"]


def card_of(facts: SetFacts) -> tuple[dict[str, Any], str]:
    head, body = dataset_card(facts).removeprefix("---\n").split("---\n", 1)
    return yaml.safe_load(head), body


def test_a_card_says_what_is_known() -> None:
    shares = (
        SourceShare("web", "synthetic", 6, 60, 5, "CC-BY-4.0"),
        SourceShare("a|b <c>", "real", 2, 40, 1, "", "letters"),
    )
    writing = Writing("m/own", 4, {"top_k": 50}, 0.2)
    facts = SetFacts(
        "A set",
        shares,
        8,
        100,
        model="m/own",
        seed=3,
        writing=writing,
        recipe=("calibrant sample",),
        purpose="to prune m/own to 50 %",
        decided="it won",
        kept_out=("two documents of web",),
    )
    head, body = card_of(facts)
    assert head["license"] == ["cc-by-4.0", "unknown"]
    assert head["size_categories"] == ["n<1K"]
    assert {"calibration", "pruning"} <= set(head["tags"])
    assert "language" not in head
    assert "| web | written by the model | 5 | 6 (75 %) | 60 (60 %) | CC-BY-4.0 |" in body
    assert r"| a\|b \<c\> | real text | 1 | 2 (25 %) | 40 (40 %) | not stated |" in body
    for sentence in (
        "8 sequences of several lengths, 100 tokens in all",
        "It was chosen to prune m/own to 50 %. It won.",
        "each from the first 4 tokens of a document",
        "top k 50",
        "The 20 % of its rows with the highest perplexity",
        "It is set number 3.",
        "Two documents of web.",
        "```sh\ncalibrant sample\n```",
        "load_from_disk",
    ):
        assert sentence in body
    assert dataset_card(facts) == dataset_card(facts)


def test_a_card_of_another_programs_set_claims_nothing(tmp_path: Path) -> None:
    pq.write_table(rows(("a", "b")).select(["input_ids"]), tmp_path / "set.parquet")
    head, body = card_of(set_facts(read_samples(tmp_path / "set.parquet"), "mine"))
    assert head["license"] == "unknown"
    assert "| not stated | not stated | not stated | 2 (100 %) | 8 (100 %) | not stated |" in body
    assert "does not record" in body
    assert "as it was found" not in body


def test_the_three_lines_of_a_card_run(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cal.export(samples, "dataset", cal.ExportSettings(format="dataset"))
    code = Path("dataset/README.md").read_text().split("```python\n")[1].split("```")[0]
    assert len(code.splitlines()) == 3
    exec(compile(code, "README.md", "exec"), {})
    assert "[0, 0, 0, 0]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stated", "several", "expected"),
    [
        (["Apache-2.0"], False, {"license": "apache-2.0", "license_name": ""}),
        ([""], False, {"license": "unknown", "license_name": ""}),
        (["Llama 2 Community License"], False, {"license": "other", "license_name": "Llama 2 Community License"}),
        (["MIT", "MIT"], True, {"license": "mit", "license_details": ""}),
        (["MIT and GFDL", ""], True, {"license": ["other", "unknown"], "license_details": "MIT and GFDL"}),
    ],
)
def test_licences_are_named_as_the_hub_names_them(stated: list[str], several: bool, expected: dict[str, Any]) -> None:
    assert licence_entries(stated, several=several) == expected


def test_texts_of_the_users_are_no_markup() -> None:
    assert words_of("a|b\n# `c` <i>") == r"a\|b # \`c\` \<i\>"
    assert fenced(["```", "x"]).startswith("````\n")
    value = "no: [yes] # \u2028 ---\n---"
    assert yaml.safe_load(front_matter({"name": value, "empty": ""}).split("---\n", 1)[1].rsplit("---\n", 1)[0]) == {
        "name": value
    }


def run_recipe(lines: list[str] | tuple[str, ...]) -> None:
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "calibrant"
        assert main(words) == 0, line


def real(folder: Path) -> list[Path]:
    settings = cal.SampleSettings(samples=4, length=24, seed=1, separator=" & \\t'\\n")
    cal.sample("tale.jsonl", "tiny-llama", folder / "set.parquet", settings)
    return [folder / "set.parquet"]


def pooled(folder: Path) -> list[Path]:
    settings = cal.SampleSettings(samples=4, length=24, seed=2, packing="document", sets="pool", source="own words")
    cal.sample("tale.jsonl", "tiny-llama", folder / "set.parquet", settings)
    return [folder / "set.parquet"]


def generated(folder: Path) -> None:
    settings = cal.GenerateSettings(samples=10, length=24, batch_size=10, top_k=20)
    cal.generate("tale.jsonl", "tiny-llama", folder / "generated.parquet", settings)
    cal.score(folder / "generated.parquet", "tiny-llama", folder / "scores.parquet", cal.ScoreSettings(min_k=40.0))


def written(folder: Path) -> list[Path]:
    generated(folder)
    settings = cal.FilterSettings(drop=0.2, take=4)
    scores = folder / "scores.parquet"
    cal.filter(folder / "generated.parquet", folder / "set.parquet", settings, scores=scores)
    return [folder / "set.parquet"]


def packed(folder: Path) -> list[Path]:
    generated(folder)
    kept, scores = folder / "kept.parquet", folder / "scores.parquet"
    cal.filter(folder / "generated.parquet", kept, cal.FilterSettings(drop=0.3), scores=scores)
    cal.sample(kept, "tiny-llama", folder / "set.parquet", cal.SampleSettings(samples=3, length=32))
    return [kept, folder / "set.parquet"]


@pytest.mark.parametrize("make", [real, pooled, written, packed])
def test_a_recipe_makes_the_same_rows_again(
    make: Callable[[Path], list[Path]], workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    *earlier, last = [read_samples(path) for path in make(tmp_path)]
    facts = set_facts(last, "x", earlier=[each.metadata for each in earlier], documents="tale.jsonl")
    again = tmp_path / "again"
    again.mkdir()
    for name in ("tiny-llama", "tale.jsonl"):
        (again / name).symlink_to(workplace / name)
    monkeypatch.chdir(again)
    run_recipe(facts.recipe)
    assert read_samples("set.parquet").table.equals(last.table)
    assert (facts.writing is not None) == (make in (written, packed))
    if facts.writing is not None:
        assert facts.writing.prefix_length == 4
        assert facts.writing.decoding["top_k"] == 20
        assert facts.writing.drop == (0.2 if make is written else 0.3)
    assert facts.documents_sha256 == set_facts(last, "", earlier=[e.metadata for e in earlier]).documents_sha256 != ""


def test_a_recipe_that_is_not_all_known_is_none() -> None:
    packed_alone = {"stage": "sample", "origin": "synthetic", "settings": {"samples": 2}}
    drawn = {"stage": "filter", "samples": {"stage": "filter", "settings": {"drop": 0.2}}, "settings": {"drop": 0}}
    for metadata in ({}, packed_alone, drawn):
        assert set_recipe(metadata) == []


def test_a_bundle_is_read_by_every_tool(samples: Path, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    names = write_bundle(answer, samples, "# card\n")
    assert names == ["set.parquet", "set.jsonl", "set.txt", "dataset"]
    assert (answer / "set.parquet").read_bytes() == samples.read_bytes()
    assert (answer / "dataset/README.md").read_text() == "# card\n"
    expected = read_samples(samples).table.to_pylist()
    cache = str(tmp_path / "cache")
    for kind, name in (("json", "set.jsonl"), ("parquet", "set.parquet")):
        found = load_dataset(kind, data_files=str(answer / name), split="train", cache_dir=cache)
        assert found.to_list() == expected
    assert load_from_disk(str(answer / "dataset")).to_list() == expected
    assert (answer / "set.txt").read_text() == "one\n\ntwo\n\ndrei é\n\n\nfour\n"


def test_a_dataset_folder_is_read_from_a_hub(samples: Path, tmp_path: Path) -> None:
    """Where load_from_disk's own state is left away, the card says which files hold the data."""
    table = read_samples(samples).table
    card = dataset_card(set_facts(read_samples(samples), "A set"))
    write_dataset(tmp_path / "data", table, {"stage": "export"}, card)
    (tmp_path / "data/state.json").unlink()
    found = load_dataset(str(tmp_path / "data"), split="train", cache_dir=str(tmp_path / "cache"))
    assert found.to_list() == table.to_pylist()


def test_a_bundle_is_written_again_whatever_a_kill_left_of_it(samples: Path, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    write_bundle(answer, samples, "# card\n")
    first = contents(answer)
    for gone in (*first, "dataset"):
        (shutil.rmtree if gone == "dataset" else Path.unlink)(answer / gone)
        if gone == "set.provenance.json":  # which is written before all others
            for name in ("set.parquet", "set.jsonl", "set.txt"):
                (answer / name).unlink()
        if gone == "dataset/provenance.json":  # a folder is there whole or not at all
            shutil.rmtree(answer / "dataset")
        write_bundle(answer, samples, "# card\n")
        assert contents(answer) == first
    other = tmp_path / "other.parquet"
    pq.write_table(rows(("a", "b")).select(["input_ids"]), other)  # another program's, without text
    assert write_bundle(answer, other, "# other\n") == ["set.parquet", "set.jsonl", "dataset"]
    assert not (answer / "set.txt").exists()
    assert (answer / "set.parquet").read_bytes() == other.read_bytes()
    write_bundle(answer, samples, "# card\n")
    assert contents(answer) == first


@pytest.mark.parametrize("name", ["set.parquet", "set.jsonl", "set.txt", "set.provenance.json", "dataset/mine.txt"])
def test_a_bundle_replaces_nothing_of_the_users(name: str, samples: Path, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    (answer / name).parent.mkdir(parents=True)
    (answer / name).write_text("precious")
    with pytest.raises(InputError, match=Path(name).name if "/" in name else name):
        write_bundle(answer, samples, "# card\n")
    assert contents(answer) == {name: b"precious"}


def test_a_bundle_replaces_no_set_of_another_command(samples: Path, tmp_path: Path) -> None:
    shutil.copyfile(samples, tmp_path / "mine.parquet")
    with pytest.raises(InputError, match="which this command reads"):
        write_bundle(tmp_path, samples, "")
    with pytest.raises(InputError, match="does not replace it"):
        write_bundle(tmp_path, tmp_path / "mine.parquet", "")
    write_bundle(tmp_path / "a", samples, "", "choose")
    with pytest.raises(InputError, match="calibrant choose wrote it"):
        write_bundle(tmp_path / "a", samples, "", "export")
    assert {place.path.name for place in bundle_places(tmp_path)} >= {"set.parquet", "dataset"}


def test_further_columns_of_another_programs_set_stay_in_its_copy_alone(tmp_path: Path) -> None:
    pq.write_table(rows(extra=pa.array([b"x"] * len(TEXTS))), tmp_path / "other.parquet")
    write_bundle(tmp_path / "a", tmp_path / "other.parquet", "")
    assert "extra" in pq.read_schema(tmp_path / "a/set.parquet").names
    assert "extra" not in json.loads((tmp_path / "a/set.jsonl").read_text().splitlines()[0])
