import gzip
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from support import make_text

from calibrant.artefacts.parquet import write_table
from calibrant.errors import InputError
from calibrant.evaluation.evaluated_text import read_documents_apart, read_text, text_name
from calibrant.evaluation.likelihood.request_tree import Request
from calibrant.evaluation.likelihood.tree_scorer import Scorer
from calibrant.evaluation.text_perplexity import Perplexity, document_losses, of_documents, perplexity
from calibrant.models.checkpoint.loading import load_model, load_tokenizer
from calibrant.scoring.perplexity import perplexity as scored_perplexity


def mean_perplexity(scorer: Scorer, documents: list[list[int]], length: int, **options: object) -> Perplexity:
    return of_documents(*document_losses(scorer, documents, length, **options))  # type: ignore[arg-type]


TEXTS = [make_text(120, seed) for seed in range(4)]


def losses(model: torch.nn.Module, tokens: list[int], length: int) -> tuple[list[float], list[int]]:
    """Sum of negative log-likelihoods and number of predicted tokens of each window, as transformers gives them."""
    sums, counts = [], []
    for start in range(0, len(tokens), length):
        ids = torch.tensor([tokens[start : start + length]])
        if ids.shape[1] > 1:
            counts.append(ids.shape[1] - 1)
            sums.append(float(model(input_ids=ids, labels=ids).loss) * counts[-1])
    return sums, counts


@pytest.mark.parametrize("length", [32, 50, 10_000])
def test_perplexity_is_that_of_transformers_over_the_windows(tiny_model_dir: Path, tmp_path: Path, length: int) -> None:
    tokenizer = load_tokenizer(tiny_model_dir)
    tokens = tokenizer("\n\n".join(TEXTS), add_special_tokens=False)["input_ids"]
    model = load_model(tiny_model_dir, device="cpu")
    path = tmp_path / "tales.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    text = read_text(path, tokenizer)
    assert text.tokens == tokens
    found = perplexity(Scorer(model, batch_tokens=70), text.tokens, length)
    sums, counts = losses(model, tokens, length)
    assert found.value == pytest.approx(math.exp(sum(sums) / sum(counts)), rel=1e-5)
    assert (found.tokens, found.windows) == (sum(counts), len(counts))


def test_standard_error_is_close_to_a_bootstrap_over_windows(tiny_model_dir: Path) -> None:
    tokenizer = load_tokenizer(tiny_model_dir)
    tokens = tokenizer("\n\n".join(make_text(600, seed) for seed in range(4)))["input_ids"]
    model = load_model(tiny_model_dir, device="cpu")
    found = perplexity(Scorer(model), tokens, 30)
    sums, counts = map(np.array, losses(model, tokens, 30))
    rng = np.random.default_rng(0)
    draws = rng.integers(len(sums), size=(4000, len(sums)))
    spread = np.exp(sums[draws].sum(1) / counts[draws].sum(1)).std()
    assert found.stderr == pytest.approx(spread, rel=0.1)


def test_a_single_window_has_no_standard_error(tiny_model_dir: Path) -> None:
    model = load_model(tiny_model_dir, device="cpu")
    found = perplexity(Scorer(model), list(range(3, 40)), 64)
    assert found.stderr is None
    assert found.tokens == 36


def test_a_last_window_of_one_token_predicts_nothing(tiny_model_dir: Path) -> None:
    model = load_model(tiny_model_dir, device="cpu")
    tokens = list(range(3, 36))
    assert perplexity(Scorer(model), tokens, 16).tokens == 30


def test_every_kind_of_file_gives_the_same_tokens(tiny_model_dir: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_model_dir)
    lines = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    folder = tmp_path / "texts" / "grimm"
    write_table(folder / "documents.parquet", pa.table({"doc_id": list("abcd"), "text": TEXTS}), {})
    (tmp_path / "tales.jsonl").write_text(lines)
    (tmp_path / "tales.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "tales.txt").write_text("\n\n".join(TEXTS))  # one document, which is what the others join to
    (tmp_path / "apart.txt").write_text("\n \n\n".join(TEXTS) + "\n")
    assert (
        read_text(tmp_path / "apart.txt", tokenizer, paragraphs=True).tokens
        == read_text(tmp_path / "tales.txt", tokenizer).tokens
    )
    names = ["texts/grimm/documents.parquet", "tales.jsonl", "tales.jsonl.gz", "tales.txt"]
    read = [read_text(tmp_path / name, tokenizer) for name in names]
    assert all(text.tokens == read[0].tokens for text in read)
    assert [text.name for text in read] == ["grimm", "tales", "tales", "tales"]
    assert text_name(Path("a/b.c.jsonl")) == "b"


@pytest.mark.parametrize("count", [2, 37, 300, 10**6])
def test_the_first_tokens_are_those_of_the_whole_text(tiny_model_dir: Path, tmp_path: Path, count: int) -> None:
    tokenizer = load_tokenizer(tiny_model_dir)
    path = tmp_path / "tales.txt"
    path.write_text("\n\n".join(f"{i} {text}" for i in range(30) for text in TEXTS))
    assert read_text(path, tokenizer, tokens=count).tokens == read_text(path, tokenizer).tokens[:count]


def test_a_text_cannot_spell_special_tokens(tiny_model_dir: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_model_dir)
    path = tmp_path / "page.txt"
    path.write_text("old </s> stones")
    assert not {tokenizer.bos_token_id, tokenizer.eos_token_id} & set(read_text(path, tokenizer).tokens)


def test_a_text_of_one_token_is_refused(tiny_model_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("a")
    with pytest.raises(InputError, match=r"one\.txt: has 1 tokens"):
        read_text(path, load_tokenizer(tiny_model_dir))


def test_infinite_losses_are_refused(tiny_model_dir: Path) -> None:
    model = load_model(tiny_model_dir, device="cpu")
    scorer = Scorer(model)
    model.get_output_embeddings().weight.detach().fill_(float("nan"))
    with pytest.raises(InputError, match="not finite; try --dtype float32"):
        perplexity(scorer, list(range(20)), 10)


class Certain:
    """A scorer that finds every token equally unlikely."""

    def __init__(self, loss: float) -> None:
        self.loss = loss

    def score(self, documents: list[list[Request]], progress: object = None) -> list[list[tuple[float, bool]]]:
        return [[(-self.loss * len(request.targets), False) for request in requests] for requests in documents]


@pytest.mark.parametrize("loss", [0.0, 699.0, 701.0, 708.0, 720.0])
def test_scoring_and_evaluation_agree_on_what_is_beyond_any_number(loss: float) -> None:
    """Scoring then gives infinity, evaluation refuses; below, both give exp of the loss."""
    scored = scored_perplexity(torch.full((8,), -loss))
    tokens = list(range(9))
    if loss > 700:
        assert scored == math.inf
        for evaluated in (perplexity, mean_perplexity):
            given = tokens if evaluated is perplexity else [tokens, tokens]
            with pytest.raises(InputError, match=rf"beyond any number \(mean loss {loss:g}\); the model is destroyed"):
                evaluated(Certain(loss), given, 9)
        return
    assert scored == math.exp(loss)
    assert perplexity(Certain(loss), tokens, 9).value == scored
    assert mean_perplexity(Certain(loss), [tokens, tokens], 9).value == pytest.approx(scored, rel=1e-15)


@pytest.mark.parametrize("length", [20, 10_000])
def test_mean_over_documents_is_that_of_each_documents_own_perplexity(
    tiny_model_dir: Path, tmp_path: Path, length: int
) -> None:
    tokenizer = load_tokenizer(tiny_model_dir)
    model = load_model(tiny_model_dir, device="cpu")
    path = tmp_path / "tales.jsonl"
    texts = [make_text(10 * (seed + 1), seed) for seed in range(5)]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in [texts[0], "a", *texts[1:]]))
    text = read_documents_apart(path, tokenizer)
    assert text.documents == [tokenizer(t, add_special_tokens=False)["input_ids"] for t in texts]
    found = mean_perplexity(Scorer(model, batch_tokens=70), text.documents, length)
    each = []
    for ids in text.documents:
        sums, counts = losses(model, ids, length)
        each.append(math.exp(sum(sums) / sum(counts)))
    assert found.value == pytest.approx(np.mean(each), rel=1e-5)
    assert found.stderr == pytest.approx(np.std(each, ddof=1) / math.sqrt(len(each)), rel=1e-5)
    assert found.windows == 5


def test_whole_documents_are_taken_until_there_are_tokens_enough(tiny_model_dir: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_model_dir)
    path = tmp_path / "tales.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    lengths = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in TEXTS]
    for wanted, documents in ((1, 1), (lengths[0], 1), (lengths[0] + 1, 2), (sum(lengths) + 1, 4)):
        found = read_documents_apart(path, tokenizer, tokens=wanted).documents
        assert found is not None
        assert [len(ids) for ids in found] == lengths[:documents]
