"""Jobs of a warm server that share a model: the files of jobs that do not, whatever becomes of the model's keeper."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch
from support import make_text
from test_cli_warm import Server, wait_for

import calibrant as cal
from calibrant.calibration.sample_set import SCHEMA, write_samples
from calibrant.cli.warm import ENVIRONMENT, left_out, why_not
from calibrant.errors import InputError
from calibrant.models.checkpoint.checkpoint_files import fingerprint
from calibrant.pruning.masks.mask_record import mask_metadata

LONG = make_text(400, 0)
OUTPUTS = ("masks.safetensors", "pruned.json", "pruned.measures.parquet", "pruned.provenance.json")
MODEL = ("--model", "model", "--threads", "1")
PRUNE = ("prune", *MODEL, "--calibration", "set.parquet", "--method", "wanda", "--sparsity", "0.5")
EVALUATE = ("evaluate", *MODEL, "--text", "tales.jsonl", "--text-average", "apart")
PRUNING = cal.PruneSettings(method="wanda", sparsity="0.5", threads=1)
EVALUATION = cal.EvaluateSettings(text_average="apart", threads=1)
JOBS = (
    (*PRUNE, "--output", "masks.safetensors"),
    (*EVALUATE, "--masks", "masks.safetensors", "--dense", "dense.safetensors", "--output", "pruned.json"),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from start_server(tmp_path_factory.mktemp("server"))


def start_server(folder: Path) -> Iterator[Server]:
    address = str(folder / "socket")
    if reason := why_not(address):
        pytest.skip(left_out(reason))
    read, write = os.pipe()
    command = [sys.executable, "-m", "calibrant.cli.warm", address, str(read)]
    process = subprocess.Popen(command, pass_fds=[read], env={**os.environ, **ENVIRONMENT})
    os.close(read)
    try:
        wait_for(lambda: Path(address).exists(), 120)
        yield Server(process, address, write)
    finally:
        process.kill()
        process.wait()
        os.close(write)


@pytest.fixture(scope="module")
def made(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a model, a calibration set, a text, and the files that this process makes of them."""
    folder = tmp_path_factory.mktemp("made")
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shutil.copytree(tiny_model_dir, "model")
        ids = np.random.default_rng(0).integers(0, 300, (4, 32)).tolist()
        known = {"sample_id": list(range(4)), "input_ids": ids, "text": [""] * 4, "source": ["s"] * 4}
        known |= {"origin": ["real"] * 4, "doc_ids": [["d"]] * 4}
        rows = {name: known.get(name, [None] * 4) for name in SCHEMA.names}
        write_samples("set.parquet", pa.table(rows, SCHEMA), {})
        texts = [json.dumps({"doc_id": str(seed), "text": make_text(60, seed)}) for seed in range(12)]
        Path("tales.jsonl").write_text("\n".join(texts))
        cal.evaluate("model", "dense.json", EVALUATION, texts=["tales.jsonl"], outputs="dense.safetensors")
        cal.prune("model", "set.parquet", "masks.safetensors", PRUNING, progress=False)
        beside = {"masks": "masks.safetensors", "dense": "dense.safetensors"}
        cal.evaluate("model", "pruned.json", EVALUATION, texts=["tales.jsonl"], **beside)
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return shutil.copytree(made, tmp_path / "folder")


def run(server: Server, folder: Path, *words: str) -> str:
    """Do a job; what it says."""
    script = server.start(*words, folder=folder)
    _, errors = script.communicate(timeout=120)
    assert script.returncode == 0, errors
    return errors


def made_again(server: Server, folder: Path) -> dict[str, bytes]:
    """The files of a mask and its evaluation, by the server."""
    for name in OUTPUTS:
        (folder / name).unlink()
    for words in JOBS:
        run(server, folder, *words)
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


def keepers(server: Server) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


def pids(server: Server) -> set[int]:
    return {each.pid for each in keepers(server)}


def test_jobs_share_a_model_and_give_the_same_files(server: Server, folder: Path) -> None:
    expected = contents(folder)
    assert made_again(server, folder) == expected
    before = pids(server)
    assert len(before) == 2, "one has the model for its layers to be read, one has it whole"
    assert [each.num_threads() for each in keepers(server)] == [1, 1]
    assert made_again(server, folder) == expected  # with the dense model's logits, which the first evaluation made
    assert pids(server) == before


def test_a_model_that_was_changed_is_opened_anew(server: Server, folder: Path) -> None:
    run(server, folder, *JOBS[0])
    before = pids(server)
    config = json.loads((folder / "model/config.json").read_text())
    (folder / "model/config.json").write_text(json.dumps({**config, "rms_norm_eps": 0.01}))
    run(server, folder, *JOBS[0])
    assert mask_metadata(folder / "masks.safetensors")["model_sha256"] == fingerprint(folder / "model")
    wait_for(lambda: len(pids(server) - before) == 1)


def test_a_model_that_cannot_be_used_is_told_of_by_each_job(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    Path("model/model.safetensors").write_bytes(b"x" * 100)
    before = pids(server)
    with pytest.raises(InputError) as refused:
        cal.prune("model", "set.parquet", "masks.safetensors", PRUNING, progress=False)
    for model, said in (("model", str(refused.value)), ("model", str(refused.value)), ("absent", "absent")):
        script = server.start(*(model if word == "model" else word for word in JOBS[0]), folder=folder)
        _, errors = script.communicate(timeout=60)
        assert script.returncode == 2
        assert said in errors
    wait_for(lambda: not pids(server) - before)
    assert run(server, folder, "--version") == ""


def test_without_its_keeper_a_job_opens_the_model_itself(server: Server, folder: Path) -> None:
    expected = contents(folder)
    run(server, folder, *JOBS[0])
    for keeper in keepers(server):
        keeper.kill()
    wait_for(lambda: not keepers(server))
    assert made_again(server, folder) == expected
    assert server.process.poll() is None


def test_a_killed_script_takes_its_job_with_it_and_leaves_the_keeper(server: Server, folder: Path) -> None:
    run(server, folder, *EVALUATE, "--output", "short.json")
    before = pids(server)
    many = [json.dumps({"doc_id": str(number), "text": LONG}) for number in range(3000)]
    (folder / "tales.jsonl").write_text("\n".join(many))
    script = server.start(*EVALUATE, "--output", "long.json", folder=folder)
    wait_for(lambda: any(each.children() for each in keepers(server)))
    script.kill()
    script.communicate()
    wait_for(lambda: not any(each.children() for each in keepers(server)))
    assert pids(server) == before


def test_keepers_end_with_the_servers_owner_and_so_do_their_jobs(made: Path, folder: Path) -> None:
    servers = start_server(folder)
    server = next(servers)
    many = [json.dumps({"doc_id": str(number), "text": LONG}) for number in range(3000)]
    (folder / "tales.jsonl").write_text("\n".join(many))
    script = server.start(*EVALUATE, "--output", "long.json", folder=folder)
    wait_for(lambda: any(each.children() for each in keepers(server)), 60)
    there = psutil.Process(server.process.pid).children(recursive=True)
    server.process.kill()
    lifeline = server.lifeline
    os.dup2(os.open(os.devnull, os.O_RDONLY), lifeline)  # closes our end; the fixture closes what is in its place
    _, alive = psutil.wait_procs(there, timeout=20)
    assert not alive
    _, errors = script.communicate(timeout=20)
    assert "warm server stopped" in errors
    servers.close()
