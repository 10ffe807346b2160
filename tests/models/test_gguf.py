"""A GGUF file as a model: converted once, the same to the bit as transformers loads it, refused in one line."""

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from gguf_files import write_gguf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from support import make_text
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

import calibrant as cal
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.models.checkpoint import gguf_cache
from calibrant.models.checkpoint.checkpoint import open_checkpoint
from calibrant.models.checkpoint.checkpoint_files import resolve
from calibrant.models.checkpoint.gguf_header import read_gguf_header
from calibrant.models.checkpoint.loading import load_model, load_tokenizer


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CALIBRANT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_gguf(tmp_path / "tiny-q4.gguf", general__file_type=3)
    return tmp_path / "tiny-q4.gguf"


def refusal(file: Path) -> str:
    with pytest.raises(InputError) as caught:
        resolve(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(Kind.Q4_1, "bfloat16"), (Kind.Q8_0, "bfloat16"), (Kind.F16, "float16"), (Kind.F32, "float32")],
)
def test_it_is_the_model_that_transformers_loads(kind: Kind, dtype: str, tmp_path: Path) -> None:
    """Logits to the bit, and the same tokens."""
    file = tmp_path / "tiny.gguf"
    expected = write_gguf(file, kind)
    stored = load_file(resolve(file) / "model.safetensors")
    for name, weight in stored.items():
        assert weight.dtype == getattr(torch, dtype)
        assert torch.equal(weight, torch.from_numpy(expected[name]).to(weight.dtype)), name
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=file.name, dtype=getattr(torch, dtype), quantization_config=GgufConfig(dequantize=True)
    )
    ours = load_model(file, dtype=dtype, device="cpu")
    text = "the thin thing"
    tokens = AutoTokenizer.from_pretrained(tmp_path, gguf_file=file.name)(text, return_tensors="pt").input_ids
    assert torch.equal(load_tokenizer(open_checkpoint(file))(text, return_tensors="pt").input_ids, tokens)
    with torch.no_grad():
        found, wanted = ours(tokens).logits, theirs(tokens).logits
    assert found.isfinite().all()
    assert torch.equal(found, wanted)


def test_every_stage_takes_it(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"text": make_text(60, seed)}) for seed in range(20)]
    Path("text.jsonl").write_text("\n".join(rows) + "\n")
    cal.sample("text.jsonl", "tiny-q4.gguf", "set.parquet", cal.SampleSettings(samples=2, length=32))
    settings = cal.PruneSettings(method="wanda", sparsity="0.5", device="cpu")
    found = cal.prune("tiny-q4.gguf", "set.parquet", "masks.safetensors", settings, progress=False)
    assert found["model"] == "tiny-q4"
    cal.apply("tiny-q4.gguf", "masks.safetensors", "pruned")
    cal.evaluate("tiny-q4.gguf", "r.json", cal.EvaluateSettings(device="cpu"), masks="masks.safetensors",
                 texts=["text.jsonl"])  # fmt: skip
    assert json.loads(Path("r.json").read_text())
    assert load_model(Path("pruned"), device="cpu") is not None


def test_it_is_converted_once_and_known_by_its_contents(
    model: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    original = gguf_cache.dequantise
    monkeypatch.setattr(gguf_cache, "dequantise", lambda *given: calls.append(given) or original(*given))
    first = resolve(model)
    assert first.is_relative_to(cache)
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(model, tmp_path / "elsewhere")
    assert resolve(tmp_path / "elsewhere/tiny-q4.gguf") == first
    assert len(calls) == 1
    shutil.copy(model, tmp_path / "other name.gguf")  # a model of this name
    assert open_checkpoint(tmp_path / "other name.gguf").id == "other name"
    assert open_checkpoint(model).sha256 == open_checkpoint(tmp_path / "other name.gguf").sha256
    write_gguf(model, Kind.Q8_0)
    assert resolve(model) != first
    assert len(calls) == 3
    (first / "model.safetensors").unlink()  # somebody tidied up
    write_gguf(model, general__file_type=3)
    assert resolve(model) == first
    assert (first / "model.safetensors").is_file()


def test_provenance_says_what_the_file_was(model: Path) -> None:
    record = json.loads((resolve(model) / "provenance.json").read_text())
    assert record["gguf"] == {"file_type": "Q4_1", "bits": 4}
    assert (record["id"], len(record["sha256"])) == ("tiny-q4", 64)


@pytest.mark.parametrize(
    ("kind", "numbers", "file_type", "bits"),
    [
        (Kind.Q4_1, {}, "Q4_1", 4),
        (Kind.Q8_0, {"general__file_type": 7}, "Q8_0", 8),
        (Kind.Q4_1, {"general__file_type": 15}, "Q4_K_M", 4),
        (Kind.Q8_0, {"general__file_type": 999}, "Q8_0", 8),
        (Kind.BF16, {"general__file_type": 32}, "BF16", 16),
        (Kind.F32, {"general__file_type": 0}, "F32", 32),
    ],
)
def test_type_and_bits(kind: Kind, numbers: dict[str, int], file_type: str, bits: int, tmp_path: Path) -> None:
    write_gguf(tmp_path / "x.gguf", kind, **numbers)
    header = read_gguf_header(tmp_path / "x.gguf")
    assert (header.file_type, header.bits) == (file_type, bits)


def test_jobs_that_start_together_convert_it_once(model: Path, cache: Path) -> None:
    code = (
        "import sys, calibrant.models.checkpoint.gguf_cache as c\n"
        "own = c.dequantise\n"
        "c.dequantise = lambda *given: (print('converted'), own(*given))[1]\n"
        "from calibrant.models.checkpoint.checkpoint_files import resolve\n"
        "print(resolve(sys.argv[1]))\n"
    )
    jobs = [
        subprocess.Popen([sys.executable, "-c", code, model], stdout=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(2)
    ]
    said = [job.communicate()[0].split() for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0]
    assert sorted(len(lines) for lines in said) == [1, 2]
    assert said[0][-1] == said[1][-1]
    assert not list(cache.rglob(".tmp-*"))


def test_a_whole_cache_need_not_be_writable(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = resolve(model)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(gguf_cache, "FileLock", refuse)
    assert resolve(model) == folder
    shutil.rmtree(cache)
    assert "Permission denied); set CALIBRANT_CACHE to a folder that can" in refusal(model)


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert gguf_cache.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("CALIBRANT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert gguf_cache.cache_folder() == Path("/x/calibrant")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert gguf_cache.cache_folder() == Path("/home/me/.cache/calibrant")


def test_nothing_beside_the_file_is_read(model: Path, tmp_path: Path) -> None:
    """Neither another model's settings, nor code, nor an adapter."""
    alone = load_file(resolve(model) / "model.safetensors")
    for name in ("config.json", "tokenizer_config.json", "adapter_config.json", "generation_config.json"):
        (tmp_path / name).write_text(json.dumps({"auto_map": {"AutoConfig": "evil.C"}, "model_type": "evil"}))
    (tmp_path / "evil.py").write_text("raise SystemExit('read')")
    shutil.copy(model, tmp_path / "again.gguf")
    again = load_file(resolve(tmp_path / "again.gguf") / "model.safetensors")
    assert alone.keys() == again.keys()
    assert all(torch.equal(alone[name], again[name]) for name in alone)


def test_what_is_no_such_model_is_one_line(model: Path, tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "bad.gguf"
    assert refusal(file) == f"model {file}: no such file"
    file.write_bytes(b"")
    assert "not a GGUF file" in refusal(file)
    file.write_bytes(b"PK\3\4" + bytes(100))
    assert "not a GGUF file (it does not start with GGUF)" in refusal(file)
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 1, 0, 0))
    assert "of version 1; versions 2 and 3" in refusal(file)
    file.write_bytes(b"GGUF" + struct.pack(">IQQ", 3, 0, 0))
    assert "big-endian" in refusal(file)
    write_gguf(file, tokenizer=False)
    assert "has no tokenizer" in refusal(file)
    write_gguf(file, architecture="wonderful")
    assert "transformers cannot convert this GGUF file" in refusal(file)
    assert "wonderful" in refusal(file)
    write_gguf(file, split__count=3)
    assert "one of 3 parts; join them with `llama-gguf-split --merge`" in refusal(file)
    part = file.rename(tmp_path / "bad-00001-of-00002.gguf")
    assert "one of 2 parts" in refusal(part)
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_type("adapter")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert "holds no model (adapter)" in refusal(file)
    assert not list(cache.rglob("*.safetensors"))
    os.mkfifo(tmp_path / "pipe.gguf")
    assert "is a pipe" in refusal(tmp_path / "pipe.gguf")
    (tmp_path / "folder").mkdir()
    shutil.copy(model, tmp_path / "folder")
    assert "for a GGUF model give the file, such as" in refusal(tmp_path / "folder")


def test_a_file_that_is_cut_off_is_said_before_it_is_read(model: Path, tmp_path: Path) -> None:
    whole = model.read_bytes()
    for length in [*range(4, 200, 7), *range(200, len(whole), len(whole) // 60)]:
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        with pytest.raises(InputError, match="cut off"):
            read_gguf_header(tmp_path / "cut.gguf")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(4, 9000), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_header_is_read_or_said(changes: list[tuple[int, int]], model: Path, tmp_path: Path) -> None:
    content = bytearray(model.read_bytes())
    for place, value in changes:
        content[place] = value
    (tmp_path / "damaged.gguf").write_bytes(content)
    try:
        header = read_gguf_header(tmp_path / "damaged.gguf")
    except InputError:
        return
    assert header.bits >= 0
    assert header.file_type


def test_the_command_line_says_it_too(tmp_path: Path, capsys: Any, tiny_model_dir: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"no")
    words = ["prune", "--method", "magnitude", "--sparsity", "0.5", "--output", str(tmp_path / "m.safetensors")]
    assert main([*words, "--model", str(tmp_path / "x.gguf")]) == 2
    message = capsys.readouterr().err
    assert message == f"calibrant prune: model {tmp_path / 'x.gguf'}: not a GGUF file (it does not start with GGUF)\n"
