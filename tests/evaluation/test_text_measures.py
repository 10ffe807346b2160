import gzip
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from artefact_files import write_mask_file
from support import make_text

import calibrant as cal
from calibrant.artefacts.digest import sha256_file
from calibrant.artefacts.tensor_files import TensorFile, write_tensors
from calibrant.errors import InputError
from calibrant.evaluation.evaluated_text import Windows, owned_windows, read_documents_apart, read_text
from calibrant.evaluation.likelihood.padded_forward import PaddedForward
from calibrant.evaluation.likelihood.token_measures import divergence, own_side
from calibrant.evaluation.likelihood.tree_scorer import Forward, Scorer
from calibrant.evaluation.measure_table import read_measures
from calibrant.evaluation.text_measures import dense_text, measure_tokens, text_measures
from calibrant.models.checkpoint.checkpoint_files import fingerprint
from calibrant.models.checkpoint.loading import load_model, load_tokenizer
from calibrant.models.structure import logit_chunks

TEXTS = [make_text(40 + 30 * seed, seed) for seed in range(5)]


@pytest.fixture(scope="module")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "tales.jsonl"
    path.write_text("".join(json.dumps({"text": t, "doc_id": f"tale {i}"}) + "\n" for i, t in enumerate(TEXTS)))
    return path


@pytest.fixture(scope="module")
def compressed(tiny_model_dir: Path) -> torch.nn.Module:
    model = load_model(tiny_model_dir, device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "layers" in name and weight.ndim == 2:
                weight[torch.rand(weight.shape, generator=generator) < 0.5] = 0
    return model


def windows_of(tiny_model_dir: Path, text_file: Path, length: int = 32, first: int | None = None) -> Windows:
    text = read_documents_apart(text_file, load_tokenizer(tiny_model_dir))
    return owned_windows(text, length, first)


def brute(dense: Any, own: Any, windows: Windows) -> dict[str, list[float]]:
    """Of each document the sums of loss, divergence and agreement, by a plain loop over transformers' logits."""
    found = {name: [0.0] * len(windows.names) for name in ("loss", "kl", "agreement")}
    for request, owners in zip(windows.requests, windows.owners, strict=True):
        ids = torch.tensor([request.inputs])
        with torch.no_grad():
            p, q = (m(ids).logits[0, -len(request.targets) :].double().log_softmax(-1) for m in (dense, own))
        for row, (target, owner) in enumerate(zip(request.targets, owners, strict=True)):
            found["loss"][owner] -= float(q[row, target])
            found["kl"][owner] += float((p[row].exp() * (p[row] - q[row])).sum())
            found["agreement"][owner] += float(p[row].argmax() == q[row].argmax())
    return found


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("first", [None, 1])
def test_measures_are_those_of_a_plain_loop_whatever_the_batch_and_chunk(
    tiny_model_dir: Path,
    text_file: Path,
    compressed: torch.nn.Module,
    monkeypatch: pytest.MonkeyPatch,
    packed: bool,
    first: int | None,
) -> None:
    windows = windows_of(tiny_model_dir, text_file, first=first)
    model = load_model(tiny_model_dir, device="cpu")
    expected = brute(model, compressed, windows)

    def forward(of: torch.nn.Module) -> Forward:
        return Scorer(of).forward if packed else PaddedForward(of)

    for chunk, batch in ((256, 40), (256, 2048), (7, 300), (1, 2048)):
        monkeypatch.setattr(logit_chunks, "HEAD_POSITIONS", chunk)
        dense = dense_text(forward(model), windows, 2048 if chunk == 7 else 100)
        found = measure_tokens(forward(compressed), windows, batch, dense)
        for each in text_measures("tales", windows, found, dense):
            assert each.sums == pytest.approx(expected[each.measure], rel=2e-5, abs=1e-4), each.measure
            assert sum(each.counts) == sum(windows.counts)


def test_a_head_whose_logits_are_changed_after_it_gives_the_models_own_divergence(
    tiny_model_dir: Path, text_file: Path, compressed: torch.nn.Module
) -> None:
    windows = windows_of(tiny_model_dir, text_file)
    model = load_model(tiny_model_dir, device="cpu")
    capped = [_capped(each) for each in (model, compressed)]
    forwards = [PaddedForward(each) for each in capped]
    assert not forwards[0].position_logits.head_is_last
    dense = dense_text(forwards[0], windows, 200)
    found = measure_tokens(forwards[1], windows, 200, dense)
    expected = brute(*capped, windows)
    for each in text_measures("tales", windows, found, dense):
        assert each.sums == pytest.approx(expected[each.measure], rel=2e-5, abs=1e-4)


def _capped(model: torch.nn.Module) -> torch.nn.Module:
    class Capped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model
            self.config = model.config

        def get_output_embeddings(self) -> Any:
            return model.get_output_embeddings()

        def forward(self, *arguments: Any, **named: Any) -> Any:
            found = model(*arguments, **named)
            found.logits = 3 * torch.tanh(found.logits / 3)
            return found

    return Capped()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_divergence_is_zero_of_the_same_and_right_of_any_offset(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    dense = (4 * torch.randn(50, 300, generator=generator)).to(dtype)
    own = (4 * torch.randn(50, 300, generator=generator) + 90).to(dtype)
    targets = torch.randint(0, 300, (50,), generator=generator)
    sides = [own_side(each, targets) for each in (dense, own)]
    assert divergence(dense, sides[0].partition, dense, sides[0].partition).abs().max() < 1e-5
    p, q = dense.double().log_softmax(-1), own.double().log_softmax(-1)
    expected = (p.exp() * (p - q)).sum(-1)
    found = divergence(own, sides[1].partition, dense, sides[0].partition)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(sides[1].loss.double(), -q.gather(-1, targets[:, None])[:, 0], rtol=1e-5, atol=1e-4)


def test_tokens_of_joined_documents_belong_to_the_document_they_begin_in(tiny_model_dir: Path, text_file: Path) -> None:
    tokenizer = load_tokenizer(tiny_model_dir)
    text = read_text(text_file, tokenizer, owned=True)
    assert text.tokens == read_text(text_file, tokenizer).tokens
    assert text.names == tuple(f"tale {i}" for i in range(5))
    assert text.owners is not None
    for number, document in enumerate(TEXTS):
        own = [token for token, owner in zip(text.tokens, text.owners, strict=True) if owner == number]
        assert tokenizer.decode(own).rstrip("\n") == document
    windows = owned_windows(text, 32, None)
    assert [len(owners) for owners in windows.owners] == windows.counts


def test_measures_without_fast_tokenizer_say_what_to_do(tiny_model_dir: Path, text_file: Path) -> None:
    class Slow:
        is_fast = False
        name_or_path = "slow"

    with pytest.raises(InputError, match="--text-average apart"):
        read_text(text_file, Slow(), owned=True)


@pytest.fixture(scope="module")
def mask_file(tiny_model_dir: Path, text_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("masks") / "half.safetensors"
    cal.prune(tiny_model_dir, None, path, cal.PruneSettings(method="magnitude", sparsity="0.5"), progress=False)
    return path


def run(model: Path, text: Path, output: Path, **options: Any) -> list[dict[str, Any]]:
    named = {key: options.pop(key) for key in ("masks", "dense", "outputs", "data") if key in options}
    settings = cal.EvaluateSettings(length=32, device="cpu", **options)
    return cal.evaluate(model, output, settings, texts=[text], **named)[0]


@pytest.mark.parametrize("average", ["corpus", "apart", "document"])
def test_the_dense_side_is_made_once_and_read_by_others(
    tiny_model_dir: Path, text_file: Path, mask_file: Path, tmp_path: Path, average: str
) -> None:
    outputs = tmp_path / "dense.safetensors"
    plain = run(tiny_model_dir, text_file, tmp_path / "plain.json", text_average=average)
    dense = run(tiny_model_dir, text_file, tmp_path / "dense.json", outputs=outputs, text_average=average)
    assert [row["metric"] for row in dense] == ["perplexity"]
    assert dense[0]["value"] == pytest.approx(plain[0]["value"], rel=1e-6)
    assert dense[0]["stderr"] == pytest.approx(plain[0]["stderr"], rel=1e-4)
    own = {
        row["metric"]: row
        for row in run(
            tiny_model_dir, text_file, tmp_path / "own.json", masks=mask_file, dense=outputs, text_average=average
        )
    }
    alone = run(tiny_model_dir, text_file, tmp_path / "alone.json", masks=mask_file, text_average=average)
    assert own["perplexity"]["value"] == pytest.approx(alone[0]["value"], rel=1e-6)
    assert own["kl"]["value"] > 0
    assert 0 < own["agreement"]["value"] < 1
    table, about = read_measures(tmp_path / "own.measures.parquet")
    assert about["masks_sha256"]
    rows = table.to_pylist()
    for measure in ("kl", "agreement"):
        of = [row for row in rows if row["measure"] == measure]
        assert len({row["unit"] for row in of}) == 5
        mean = math.fsum(row["sum"] for row in of) / sum(row["count"] for row in of)
        assert own[measure]["value"] == pytest.approx(mean, rel=1e-12)
    # A dense model beside itself: no divergence at all.
    same = run(tiny_model_dir, text_file, tmp_path / "same.json", dense=outputs, text_average=average)
    found = {row["metric"]: row["value"] for row in same}
    assert found["kl"] == pytest.approx(0, abs=1e-6)
    assert found["agreement"] == 1


@pytest.mark.parametrize("order", [("dense", "half", "again"), ("half", "dense", "again")])
def test_in_a_batch_all_others_are_measured_beside_the_dense_variant_wherever_it_stands(
    long_model_dir: Path, rows_dir: Path, text_file: Path, tmp_path: Path, order: tuple[str, ...]
) -> None:
    masks, outputs = tmp_path / "masks.safetensors", tmp_path / "dense.safetensors"
    cal.prune(long_model_dir, None, masks, cal.PruneSettings(method="magnitude", sparsity="0.8"), progress=False)
    batch = tmp_path / "batch.json"
    entries = [
        {"masks": str(masks) if name == "half" else None, "output": str(tmp_path / f"{name}.json")} for name in order
    ]
    batch.write_text(json.dumps(entries))
    settings = cal.EvaluateSettings(length=32, device="cpu", tasks=("piqa",))
    common: dict[str, Any] = {"texts": [text_file], "data": rows_dir}
    found = cal.evaluate(long_model_dir, None, settings, batch=batch, outputs=outputs, **common)
    for name, rows in zip(order, found, strict=True):
        assert rows == json.loads((tmp_path / f"{name}.json").read_text())
        metrics = ["acc", "acc_norm", "flips", "flips_norm", "perplexity", "kl", "agreement"]
        first = name == "dense"
        assert [r["metric"] for r in rows] == [
            m for m in metrics if not first or m not in (*metrics[2:4], *metrics[5:])
        ]
    again = {row["metric"]: row["value"] for row in found[order.index("again")]}
    assert (again["kl"], again["flips"], again["agreement"]) == (pytest.approx(0, abs=1e-6), 0, 1)
    single = tmp_path / "single.json"
    own = cal.evaluate(long_model_dir, single, settings, masks=masks, dense=outputs, **common)[0]
    assert own == found[order.index("half")]
    for file in ("single.provenance.json", "half.provenance.json"):
        assert json.loads((tmp_path / file).read_text())["dense_sha256"] == sha256_file(outputs)
    assert "dense_sha256" not in json.loads((tmp_path / "dense.provenance.json").read_text())


def test_only_so_many_tokens_of_each_document(tiny_model_dir: Path, text_file: Path, tmp_path: Path) -> None:
    run(tiny_model_dir, text_file, tmp_path / "a.json", text_average="apart", document_tokens=20, measures=True)
    table = read_measures(tmp_path / "a.measures.parquet")[0]
    assert table["count"].to_pylist() == [19] * 5


def test_measures_are_the_same_bytes_twice(tiny_model_dir: Path, text_file: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run(tiny_model_dir, text_file, tmp_path / name / "r.json", outputs=tmp_path / name / "d.safetensors")
    for file in ("r.json", "r.measures.parquet", "d.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_bad_dense_outputs_are_refused_by_name(
    tiny_model_dir: Path, text_file: Path, mask_file: Path, tmp_path: Path
) -> None:
    outputs = tmp_path / "dense.safetensors"
    run(tiny_model_dir, text_file, tmp_path / "dense.json", outputs=outputs)
    other = tmp_path / "other.jsonl"
    other.write_text(text_file.read_text())
    with pytest.raises(InputError, match="has no text other; it has tales"):
        run(tiny_model_dir, other, tmp_path / "a.json", dense=outputs)
    with pytest.raises(InputError, match="tales was read otherwise"):
        run(tiny_model_dir, text_file, tmp_path / "a.json", dense=outputs, text_tokens=50)
    whole = TensorFile(outputs, "dense outputs")
    parts = {name: whole.get(name) for name in whole.entries}
    short = tmp_path / "short.safetensors"
    write_tensors(short, parts | {"text/tales/hidden": parts["text/tales/hidden"][:-1]}, whole.metadata)
    with pytest.raises(InputError, match=r"short\.safetensors: text tales has 1,025 rows of hidden for 1,026 tokens"):
        run(tiny_model_dir, text_file, tmp_path / "a.json", dense=short)
    with pytest.raises(InputError, match="dtype is float32, and that of the model is bfloat16"):
        run(tiny_model_dir, text_file, tmp_path / "a.json", dense=outputs, dtype="bfloat16")
    with pytest.raises(InputError, match="the dense model's; evaluate it, without --masks"):
        run(tiny_model_dir, text_file, tmp_path / "a.json", masks=mask_file, outputs=tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"dense\.safetensors has the dense model's outputs; give one of the two"):
        run(tiny_model_dir, text_file, tmp_path / "a.json", dense=outputs, outputs=tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="joined documents are not cut"):
        run(tiny_model_dir, text_file, tmp_path / "a.json", document_tokens=20)
    with pytest.raises(InputError, match="dense"):
        run(tiny_model_dir, text_file, tmp_path / "a.json", dense=mask_file)


def test_masks_of_the_output_head_have_no_dense_side(tiny_model_dir: Path, text_file: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "dense.safetensors"
    run(tiny_model_dir, text_file, tmp_path / "dense.json", outputs=outputs)
    model = load_model(tiny_model_dir, device="cpu")
    masks = {"lm_head": torch.rand(model.lm_head.weight.shape) < 0.5}
    about = {"model": "tiny", "model_sha256": fingerprint(tiny_model_dir)}
    file = write_mask_file(tmp_path / "head.safetensors", masks, **about)
    with pytest.raises(InputError, match=r"change the output head \(lm_head\)"):
        run(tiny_model_dir, text_file, tmp_path / "own.json", masks=file, dense=outputs)
    assert run(tiny_model_dir, text_file, tmp_path / "own.json", masks=file, measures=True)


def test_flips_of_tasks_are_kept_by_item(long_model_dir: Path, rows_dir: Path, text_file: Path, tmp_path: Path) -> None:
    masks, outputs = tmp_path / "masks.safetensors", tmp_path / "dense.safetensors"
    cal.prune(long_model_dir, None, masks, cal.PruneSettings(method="magnitude", sparsity="0.8"), progress=False)
    tasks = {"tasks": ("piqa", "arc_easy"), "data": rows_dir}
    run(long_model_dir, text_file, tmp_path / "dense.json", outputs=outputs, **tasks)
    rows = run(long_model_dir, text_file, tmp_path / "own.json", masks=masks, dense=outputs, **tasks)
    table: pa.Table = read_measures(tmp_path / "own.measures.parquet")[0]
    for task, items in (("piqa", 12), ("arc_easy", 9)):
        (share,) = [row["value"] for row in rows if (row["task"], row["metric"]) == (task, "flips")]
        of = [row for row in table.to_pylist() if (row["evaluation"], row["measure"]) == (task, "flips")]
        assert len(of) == items
        assert share == pytest.approx(sum(row["sum"] for row in of) / items)
        (accuracy,) = [row["value"] for row in rows if (row["task"], row["metric"]) == (task, "acc")]
        right = [row["sum"] for row in table.to_pylist() if (row["evaluation"], row["measure"]) == (task, "acc")]
        assert accuracy == pytest.approx(sum(right) / items)
    beside: dict[str, Any] = {"dense": outputs, "data": rows_dir}
    with pytest.raises(InputError, match="has no answers to winogrande; it has arc_easy, piqa; evaluate the dense"):
        run(long_model_dir, text_file, tmp_path / "x.json", tasks=("winogrande",), **beside)
    with pytest.raises(InputError, match="has answers to 12 items of piqa, and 5 are asked; give the same rows and"):
        run(long_model_dir, text_file, tmp_path / "x.json", tasks=("piqa",), limit=5, **beside)
    turned = tmp_path / "rows"
    turned.mkdir()
    lines = (rows_dir / "piqa_validation.jsonl").read_text().splitlines(keepends=True)
    (turned / "piqa_validation.jsonl.gz").write_bytes(gzip.compress("".join(reversed(lines)).encode()))
    with pytest.raises(InputError, match=r"dense\.safetensors: flips: task piqa: its items were asked otherwise"):
        run(long_model_dir, text_file, tmp_path / "x.json", tasks=("piqa",), **(beside | {"data": turned}))


def test_flips_of_a_group_are_over_all_items_asked_with_as_many_examples(
    long_model_dir: Path, rows_dir: Path, text_file: Path, tmp_path: Path
) -> None:
    masks, outputs = tmp_path / "masks.safetensors", tmp_path / "dense.safetensors"
    cal.prune(long_model_dir, None, masks, cal.PruneSettings(method="magnitude", sparsity="0.8"), progress=False)
    tasks: dict[str, Any] = {"tasks": ("mmlu_humanities",), "data": rows_dir}
    run(long_model_dir, text_file, tmp_path / "dense.json", outputs=outputs, fewshot={"mmlu_humanities": 1}, **tasks)
    with pytest.raises(
        InputError, match="was answered with 1 examples in the prompt, and has 5 now; give the same --f"
    ):
        run(long_model_dir, text_file, tmp_path / "x.json", dense=outputs, **tasks)
    tasks["fewshot"] = {"mmlu_humanities": 1}
    rows = run(long_model_dir, text_file, tmp_path / "own.json", masks=masks, dense=outputs, **tasks)
    whole, *members = [row for row in rows if row["metric"] == "flips"]
    assert (whole["task"], whole["n"], whole["num_fewshot"]) == ("mmlu_humanities", 26, 1)
    assert len(members) == 13
    assert whole["value"] == pytest.approx(sum(row["value"] * row["n"] for row in members) / 26)
