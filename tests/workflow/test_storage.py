"""A small study whose files lie in a bucket (moto's S3 server on this machine), through Snakemake's storage plugin."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from workspace import SMALL_STUDY, Workspace, prepare

pytestmark = pytest.mark.storage

NEEDED = ("snakemake_storage_plugin_s3", "moto", "flask")
KEYS = {"SNAKEMAKE_STORAGE_S3_ACCESS_KEY": "test", "SNAKEMAKE_STORAGE_S3_SECRET_KEY": "test",
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}  # fmt: skip


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    if absent := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        pytest.skip(f"{', '.join(absent)} not installed: pip install -r envs/requirements-s3.txt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(address, timeout=5)
                break
            except OSError:
                assert time.monotonic() < end, "moto did not come up"
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait()


def test_a_study_in_a_bucket_gives_the_same_results(
    endpoint: str,
    finished_study: Workspace,
    make_workspace: Callable[[], Workspace],
    tiny_model_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import boto3

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    workspace = make_workspace()
    prepare(workspace, tiny_model_dir)
    workspace.configure(SMALL_STUDY)
    storage = ["--default-storage-provider", "s3", "--default-storage-prefix", "s3://bucket/calibrant"]
    workspace.snakemake(*storage, "--storage-s3-endpoint-url", endpoint, "--storage-s3-region", "us-east-1")
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket")
    stored = {item["Key"].removeprefix("calibrant/") for page in pages for item in page["Contents"]}
    for name in ("data/mine/masks/none/magnitude-0.5.safetensors", "reports/mine/results.parquet"):
        assert name in stored
        body = client.get_object(Bucket="bucket", Key=f"calibrant/{name}")["Body"].read()
        assert body == (finished_study.folder / name).read_bytes(), name
    assert not (workspace.folder / "data/mine/masks").exists()
