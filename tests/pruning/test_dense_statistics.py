"""Statistics of the dense model as a file: the same masks from it, refused where it does not fit, safe from kills."""

from pathlib import Path

import pytest
import torch
from pruning_calls import prune
from transformers import AutoModelForCausalLM

from calibrant.artefacts.tensor_files import read_metadata
from calibrant.calibration.sample_set import read_calibration_set
from calibrant.cli.main import main
from calibrant.errors import InputError
from calibrant.pruning.masks.mask_file import weights_path
from calibrant.pruning.run import statistics_file as dense
from calibrant.pruning.run.statistics_file import DenseStatistics, write_dense_statistics

ALL = ("norm", "moments", "hessian")


@pytest.fixture(scope="module")
def statistics(tiny_model_dir: Path, tiny_calibration: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("statistics") / "dense.safetensors"
    write_dense_statistics(tiny_model_dir, tiny_calibration, ALL, output=output, device="cpu", progress=False)
    return output


@pytest.mark.parametrize(
    ("method", "sparsity", "options"),
    [
        ("owl", "0.6", {}),
        ("owl", "2:4", {"owl.m": "3"}),
        ("owl", "0.5", {"owl.criterion": "sparsegpt"}),
        *((method, "0.5", {"sequential": "dense"}) for method in ("wanda", "ria", "dsnot", "sparsegpt", "owl")),
    ],
)
def test_masks_are_the_same_bytes_with_and_without(
    method: str,
    sparsity: str,
    options: dict[str, str],
    statistics: Path,
    tiny_model_dir: Path,
    tiny_calibration: Path,
    tmp_path: Path,
) -> None:
    for name, given in (("with", statistics), ("without", None)):
        prune(
            *(tiny_model_dir, tiny_calibration, method, sparsity, options),
            output=tmp_path / f"{name}.safetensors",
            statistics=given,
            device="cpu",
            progress=False,
        )
    assert (tmp_path / "with.safetensors").read_bytes() == (tmp_path / "without.safetensors").read_bytes()
    if weights_path(tmp_path / "with.safetensors").exists():
        with_, without = (weights_path(tmp_path / f"{name}.safetensors") for name in ("with", "without"))
        assert with_.read_bytes() == without.read_bytes()


def test_values_by_plain_hooks(statistics: Path, tiny_model_dir: Path, tiny_calibration: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    ids = torch.from_numpy(read_calibration_set(tiny_calibration).input_ids)
    name = "model.layers.1.self_attn.k_proj"
    seen: list[torch.Tensor] = []
    model.get_submodule(name).register_forward_pre_hook(lambda _, x: seen.append(x[0][0].double()))
    with torch.no_grad():
        for row in ids:
            model(row[None])
    metadata = read_metadata(statistics, "statistics")
    found = DenseStatistics(statistics, metadata, ["norm"]).of([name], torch.device("cpu"))[name]
    assert found.squared_norm is not None
    assert found.hessian is not None
    assert metadata["leaders"][name] == "model.layers.1.self_attn.q_proj"
    assert (found.sequences, found.tokens) == (len(ids), ids.numel())
    norms = torch.stack([x.square().sum(0) for x in seen]).mean(0)
    torch.testing.assert_close(found.squared_norm.double(), norms, rtol=1e-5, atol=1e-5)
    hessian = 2 / len(seen) * sum(x.T @ x for x in seen)
    torch.testing.assert_close(found.hessian.double(), hessian, rtol=1e-4, atol=1e-4)


def test_stopped_at_every_layer(
    statistics: Path, tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "dense.safetensors"
    original = dense._write_layer
    written = []

    def stopping(file: Path, linears: object, found: object) -> None:
        original(file, linears, found)  # type: ignore[arg-type]
        written.append(file)
        raise InterruptedError

    monkeypatch.setattr(dense, "_write_layer", stopping)
    for _ in range(2):
        with pytest.raises(InterruptedError):
            write_dense_statistics(tiny_model_dir, tiny_calibration, ALL, output=output, device="cpu", progress=False)
        assert not output.exists()
    write_dense_statistics(tiny_model_dir, tiny_calibration, ALL, output=output, device="cpu", progress=False)
    assert len(written) == 2  # each layer was written once
    assert output.read_bytes() == statistics.read_bytes()
    assert not output.with_name(output.name + ".partial").exists()


def test_what_does_not_fit_is_refused(
    statistics: Path, tiny_model_dir: Path, tiny_calibration: Path, golden_like: Path, tmp_path: Path
) -> None:
    def run(
        method: str = "owl", calibration: Path = tiny_calibration, given: Path = statistics, **options: str
    ) -> None:
        prune(
            *(tiny_model_dir, calibration, method, "0.5", options),
            output=tmp_path / "masks.safetensors",
            statistics=given,
            device="cpu",
            progress=False,
        )

    with pytest.raises(InputError, match="calibration_sha256"):
        run(calibration=golden_like)
    with pytest.raises(InputError, match="takes nothing from the dense model's statistics"):
        run("wanda")
    few = tmp_path / "few.safetensors"
    exclude = r"layers\.1"
    write_dense_statistics(
        *(tiny_model_dir, tiny_calibration, ["norm"]), output=few, exclude=exclude, device="cpu", progress=False
    )
    with pytest.raises(InputError, match=r"holds norm, and this method needs hessian"):
        run("sparsegpt", given=few, sequential="dense")
    with pytest.raises(InputError, match=r"has none of model\.layers\.1"):
        run("owl", given=few)
    run("owl", given=few, exclude=exclude)
    (tmp_path / "masks.safetensors").rename(tmp_path / "given.safetensors")
    with pytest.raises(InputError, match="made by calibrant 'prune'; statistics are made by `calibrant statistics`"):
        run("owl", given=tmp_path / "given.safetensors")
    assert not list(tmp_path.glob("*.partial"))


@pytest.fixture
def golden_like(tiny_calibration: Path, tmp_path: Path) -> Path:
    """A calibration set with the same rows and another hash."""
    import pyarrow.parquet as pq

    path = tmp_path / "other.parquet"
    pq.write_table(pq.read_table(tiny_calibration), path, compression="gzip")
    return path


def test_command_line(
    tiny_model_dir: Path, tiny_calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--model", str(tiny_model_dir), "--calibration", str(tiny_calibration), "--device", "cpu"]
    file, masks = str(tmp_path / "dense.safetensors"), str(tmp_path / "masks.safetensors")
    assert main(["statistics", *given, "--kinds", "norm", "--output", file]) == 0
    assert "norm of 8 distinct inputs of 14 linear layers" in capsys.readouterr().out
    prune_ = ["prune", *given, "--sparsity", "0.5", "--output", masks]
    assert main([*prune_, "--method", "owl", "--statistics", file]) == 0
    assert main([*prune_, "--method", "dsnot", "--option", "sequential=dense", "--statistics", file]) == 2
    assert "needs moments too; collect them with --kinds" in capsys.readouterr().err
    assert main(["statistics", *given, "--kinds", "norms", "--output", file]) == 2
    assert "--kinds norms: unknown; use norm, moments, magnitudes or hessian" in capsys.readouterr().err
    assert main([*prune_, "--method", "magnitude"]) == 0
    assert f"reads no calibration data; {tiny_calibration} was not used" in capsys.readouterr().err
