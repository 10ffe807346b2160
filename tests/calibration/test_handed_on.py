"""Sets for other quantizers: which rows' text gives other ids, and that what the card tells them to read is right."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from datasets import load_dataset, load_from_disk
from like_tokenizers import byte_level, sentencepiece
from support import make_text
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

import calibrant as cal
from calibrant.calibration.dataset_card import dataset_card
from calibrant.calibration.quantizer_snippets import Snippet, quantizer_snippets
from calibrant.calibration.round_trip import CUT, DRAWN, SPACED, RoundTrip, round_trip
from calibrant.calibration.sample_set import SampleSet, read_samples, write_samples
from calibrant.calibration.set_facts import SetFacts, set_facts
from calibrant.cli.main import main

PACKAGES = {"llm-compressor": "llmcompressor", "AutoRound": "auto_round", "GPTQModel": "gptqmodel"}
LENGTH = 24


def made(ids: list[list[int]], texts: list[str | None], **metadata: Any) -> SampleSet:
    table = pa.table({"sample_id": range(len(ids)), "input_ids": ids, "text": pa.array(texts, pa.string())})
    return SampleSet(table, metadata)


@pytest.fixture(scope="module")
def calibration(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight windows of text, one of them of tokens that its text does not give."""
    folder = tmp_path_factory.mktemp("set")
    texts = [json.dumps({"text": make_text(80, i)}) for i in range(20)]
    (folder / "text.jsonl").write_text("\n".join(texts))
    drawn = cal.SampleSettings(samples=8, length=LENGTH)
    cal.sample(folder / "text.jsonl", tiny_model_dir, folder / "drawn.parquet", drawn)
    read = read_samples(folder / "drawn.parquet")
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    ids = tokenizer.convert_tokens_to_ids(list("Ġwater" * (LENGTH // 6)))
    rows = read.table.to_pylist()
    rows[3] |= {"input_ids": ids, "text": tokenizer.decode(ids)}
    write_samples(folder / "set.parquet", pa.Table.from_pylist(rows, read.table.schema), read.metadata)
    return folder / "set.parquet"


def test_a_row_that_was_cut_inside_a_word_is_counted() -> None:
    tokenizer = byte_level()
    whole = tokenizer(" water children watched", add_special_tokens=False)["input_ids"]
    letters = tokenizer.convert_tokens_to_ids(list("Ġwater"))
    texts = [tokenizer.decode(ids) for ids in (whole, letters)]
    found = round_trip(made([whole, letters, whole], [*texts, None]), tokenizer)
    assert found == RoundTrip(2, 1, (CUT,))
    assert found.sentence == f"In 1 of 2 rows the text does not tokenise back to the same ids, since {CUT}"
    assert round_trip(made([whole], [None]), tokenizer) is None
    assert round_trip(SampleSet(pa.table({"input_ids": [whole]}), {}), tokenizer) is None


@pytest.mark.parametrize(
    ("recorded", "led", "differing"),
    [(True, True, 0), (None, True, 0), (False, False, 0), (None, False, 0), (False, True, 1)],
)
def test_the_token_before_a_text_is_no_text(recorded: bool | None, led: bool, differing: int) -> None:
    tokenizer = sentencepiece("gemma")
    ids = tokenizer("water. Children", add_special_tokens=led)["input_ids"]
    metadata = {} if recorded is None else {"bos": recorded}
    found = round_trip(made([ids], ["water. Children"], **metadata), tokenizer)
    assert found is not None
    assert (ids[0] == tokenizer.bos_token_id) == led
    assert found.differing == differing


def test_why_ids_may_differ_is_said() -> None:
    tokenizer = sentencepiece("llama2")
    table = pa.table({"input_ids": [[5]] * 2, "text": ["a"] * 2, "origin": ["real", "synthetic"]})
    found = round_trip(SampleSet(table, {}), tokenizer)
    assert found is not None
    assert found.reasons == (CUT, DRAWN, SPACED)
    assert RoundTrip(3, 0, (CUT,)).sentence == "The text of all 3 rows gives the same ids again"


def test_export_counts_with_the_model_and_says_so(
    calibration: Path, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "--calibration", str(calibration), "--format", "dataset", "--output", str(tmp_path / "data")]
    assert main(words) == 0
    assert capsys.readouterr().err == ""
    assert "was not counted" in (tmp_path / "data/README.md").read_text()
    found = cal.export(calibration, tmp_path / "o", cal.ExportSettings(format="jsonl"), model=tiny_model_dir)
    assert found == RoundTrip(8, 1, (CUT,))
    assert main([*words, "--model", str(tiny_model_dir)]) == 0
    said = "In 1 of 8 rows the text does not tokenise back to the same ids"
    assert said in capsys.readouterr().err
    card = (tmp_path / "data/README.md").read_text()
    assert f"{said}, since {CUT}; take `input_ids` for the model's own tokenizer." in card


def test_plain_parquet_has_the_columns_alone(calibration: Path, tmp_path: Path) -> None:
    output = tmp_path / "plain.parquet"
    for _ in range(2):  # and replaces its own
        cal.export(calibration, output, cal.ExportSettings(format="parquet"))
    expected = read_samples(calibration).table
    assert b"calibrant" not in (pq.read_schema(output).metadata or {})
    found = load_dataset("parquet", data_files=str(output), split="train", cache_dir=str(tmp_path / "cache"))
    assert found.to_list() == expected.to_pylist()
    assert read_samples(output).table.to_pylist() == expected.to_pylist()
    assert sorted(path.name for path in tmp_path.glob("plain*")) == ["plain.parquet", "plain.parquet.provenance.json"]


def test_parquet_of_the_users_is_not_replaced(
    calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cal.export(calibration, tmp_path / "mine")  # whose sidecar is mine.provenance.json
    pq.write_table(pa.table({"input_ids": [[1]]}), tmp_path / "mine.parquet")
    before = (tmp_path / "mine.parquet").read_bytes()
    words = ["--calibration", str(calibration), "--format", "parquet", "--output", str(tmp_path / "mine.parquet")]
    assert main(["export", *words]) == 2
    assert "it is no file of calibrant" in capsys.readouterr().err
    assert (tmp_path / "mine.parquet").read_bytes() == before


def snippet_of(tool: str, facts: SetFacts) -> Snippet:
    return next(each for each in quantizer_snippets(facts) if each.tool == tool)


def loaded(lines: tuple[str, ...]) -> Any:
    names: dict[str, Any] = {}
    exec(compile("\n".join(lines), "card", "exec"), names)
    return names["rows"]


@pytest.fixture
def opened(calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetFacts:
    """The folder `dataset` in the present one, as the card is read, and what is known of it."""
    cal.export(calibration, tmp_path / "dataset", cal.ExportSettings(format="dataset"))
    monkeypatch.chdir(tmp_path)
    return set_facts(read_samples(calibration), "A set")


def test_llm_compressor_is_given_ids_alone(opened: SetFacts) -> None:
    rows = loaded(snippet_of("llm-compressor", opened).loads)
    assert rows.column_names == ["input_ids"]
    assert rows.features["input_ids"].feature.dtype == "int32"
    assert rows.to_list() == load_from_disk("dataset").select_columns(["input_ids"]).to_list()
    assert f"max_seq_length={LENGTH}, num_calibration_samples=8," in "\n".join(
        snippet_of("llm-compressor", opened).uses
    )


def test_auto_round_is_given_a_tensor_a_row(opened: SetFacts) -> None:
    snippet = snippet_of("AutoRound", opened)
    rows = loaded(snippet.loads)
    assert [(row.dtype, tuple(row.shape)) for row in rows] == [(torch.int64, (1, LENGTH))] * 8
    assert [row[0].tolist() for row in rows] == list(load_from_disk("dataset")["input_ids"])
    assert f"seqlen={LENGTH}, nsamples=len(rows)" in "\n".join(snippet.uses)


def test_gptqmodel_is_given_ids_and_masks_and_no_text(opened: SetFacts) -> None:
    rows = loaded(snippet_of("GPTQModel", opened).loads)
    assert [set(row) for row in rows] == [{"input_ids", "attention_mask"}] * 8
    assert [row["input_ids"] for row in rows] == list(load_from_disk("dataset")["input_ids"])
    assert [row["attention_mask"] for row in rows] == [[1] * LENGTH] * 8


def test_lengths_that_differ_are_counted_by_the_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [[1, 2, 3], [4, 5], [6, 7, 8, 9]]
    columns = {"sample_id": range(3), "input_ids": ids, "text": ["a", "b", "c"], "source": [""] * 3}
    table = pa.table({**columns, "origin": ["real"] * 3, "doc_ids": [[""]] * 3, "prefix_length": [0] * 3})
    table = table.append_column("perplexity", pa.nulls(3, pa.float32()))
    write_samples(tmp_path / "set.parquet", table, {"stage": "sample"})
    monkeypatch.chdir(tmp_path)
    cal.export("set.parquet", "dataset", cal.ExportSettings(format="dataset"))
    facts = set_facts(read_samples("set.parquet"), "A set")
    for tool, longest in (("llm-compressor", 4), ("AutoRound", 2)):
        snippet = snippet_of(tool, facts)
        argument = next(line for line in snippet.uses if "seq" in line).split("seq", 1)[1].split("=", 1)[1]
        assert eval(argument.split(", n")[0], {"rows": loaded(snippet.loads)}) == longest
    assert "-c" not in " ".join(snippet_of("llama.cpp", facts).uses).split()


def test_a_card_has_the_lines_of_each_program(opened: SetFacts) -> None:
    card = dataset_card(opened)
    for snippet in quantizer_snippets(opened):
        assert f"### {snippet.tool}\n\n{snippet.note}\n\n```{snippet.language}\n" in card
        assert "\n".join([*snippet.loads, *snippet.uses]) in card
    without = SetFacts("A set", (), 8, 8 * LENGTH, LENGTH, text=False)
    assert "llama-imatrix" in card
    assert "llama-imatrix" not in " ".join(snippet_of("llama.cpp", without).uses)


@pytest.mark.slow
@pytest.mark.parametrize("tool", PACKAGES)
def test_the_lines_run_where_the_program_is(tool: str, opened: SetFacts, tiny_model_dir: Path, tmp_path: Path) -> None:
    """As they stand, on a random Llama whose columns a group of 128 divides; skipped where the package is missing."""
    if importlib.util.find_spec(PACKAGES[tool]) is None:
        pytest.skip(f"{PACKAGES[tool]} is not installed")
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained("tiny")
    tokenizer.save_pretrained("tiny")
    facts = SetFacts("A set", (), opened.sequences, opened.tokens, opened.length, model="tiny")
    snippet = snippet_of(tool, facts)
    (tmp_path / "lines.py").write_text("\n".join([*snippet.loads, *snippet.uses]))
    done = subprocess.run([sys.executable, "lines.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list((tmp_path / "quantized").rglob("*.safetensors"))
