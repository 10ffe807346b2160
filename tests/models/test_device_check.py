"""Apple's GPU is taken only where its logits are the CPU's; a model stands in for one that runs there."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from calibrant.models.checkpoint.loading import load_model
from calibrant.models.compute import device_check
from calibrant.models.compute.device_check import equal_logits, move_where_equal, prefer_apple_gpu

MPS = torch.device("mps")


class Elsewhere(nn.Module):
    """A model whose `to` only notes the device, and which computes there with an error of its own."""

    def __init__(self, error: float | Exception) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.head = nn.Linear(8, 50)
        self.error, self.place = error, "cpu"

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def to(self, device: torch.device) -> "Elsewhere":  # type: ignore[override]
        self.place = torch.device(device).type
        return self

    def forward(self, ids: Tensor, use_cache: bool) -> Any:
        logits = self.head(self.embedding(ids))
        if self.place != "cpu":
            if isinstance(self.error, Exception):
                raise self.error
            logits = logits + self.error * logits.std()
        return SimpleNamespace(logits=logits)


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (0.0, "mps"), (1e-5, "mps"), (0.05, "cpu"), (float("nan"), "cpu"), (float("inf"), "cpu"),
        (NotImplementedError("aten::bmm is not implemented for MPS"), "cpu"), (RuntimeError("out of memory"), "cpu"),
    ],
)  # fmt: skip
def test_a_model_is_moved_where_it_gives_the_same_logits(error: float | Exception, place: str) -> None:
    moved = move_where_equal(Elsewhere(error), MPS)
    assert isinstance(moved, Elsewhere)
    assert moved.place == place


def test_halves_may_differ_by_their_rounding() -> None:
    expected = torch.randn(1, 4, 50, generator=torch.Generator().manual_seed(0))
    for dtype, error, same in (
        (torch.float32, 0.01, False),
        (torch.bfloat16, 0.01, True),
        (torch.bfloat16, 0.3, False),
    ):
        assert equal_logits(expected, expected + error, dtype) == same


def test_auto_tries_it_only_where_there_is_one(tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Elsewhere(0.0)
    monkeypatch.setattr(device_check, "apple_gpu", lambda: False)
    assert prefer_apple_gpu(model) is model
    assert model.place == "cpu"
    monkeypatch.setattr(device_check, "apple_gpu", lambda: True)
    assert prefer_apple_gpu(model).place == "mps"  # type: ignore[union-attr]
    tried: list[nn.Module] = []
    monkeypatch.setattr(
        "calibrant.models.checkpoint.loading.prefer_apple_gpu", lambda loaded: tried.append(loaded) or loaded
    )
    load_model(tiny_model_dir, device="cpu")
    assert not tried
    load_model(tiny_model_dir, device="auto")
    assert len(tried) == 1
