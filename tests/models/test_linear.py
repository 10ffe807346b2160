"""Linear layers of a model that multiply by a weight which is laid out once."""

import threading

import pytest
import torch
from torch import Tensor, nn

from calibrant.models.compute.devices import choose_products
from calibrant.models.decoders.laid_out_linear import LaidOutForward, lay_out

CPU = torch.device("cpu")


@pytest.fixture
def model() -> nn.Sequential:
    generator = torch.Generator().manual_seed(0)
    made = nn.Sequential(nn.Linear(48, 80), nn.SiLU(), nn.Linear(80, 24, bias=False))
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return made.requires_grad_(False)


def inputs(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def laid_out(model: nn.Module) -> list[LaidOutForward]:
    forwards = lay_out(model)
    if not forwards:
        pytest.skip("this PyTorch has no oneDNN products")
    return forwards


@pytest.mark.parametrize("shape", [(1, 48), (1, 37, 48), (3, 5, 48)])
def test_products_are_the_same_but_for_the_order_of_additions(model: nn.Sequential, shape: tuple[int, ...]) -> None:
    """A sum of n products in float32 is off by n · 2^-24 of the sum of their sizes at most, in whatever order."""
    x = inputs(*shape)
    layer = model[0]
    exact = nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double())
    sizes = nn.functional.linear(x.abs(), layer.weight.abs(), layer.bias.abs()).double()
    assert len(laid_out(model)) == 2
    found = layer(x)
    assert found.shape == exact.shape
    assert ((found.double() - exact).abs() <= 49 * 2**-24 * sizes).all()


def test_a_weight_that_changed_or_was_replaced_is_laid_out_anew(model: nn.Sequential) -> None:
    x = inputs(7, 48)
    laid_out(model)
    layer = model[0]
    before = layer(x)
    kept = torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(2)) > 0.5
    layer.weight.view(torch.int32).mul_(kept)  # as masks are put into weights (pruning.masks.zero_pruned)
    masked = layer(x)
    assert not torch.equal(masked, before)
    torch.testing.assert_close(masked, nn.functional.linear(x, layer.weight, layer.bias), rtol=1e-4, atol=1e-4)
    layer._parameters["weight"] = nn.Parameter(torch.ones_like(layer.weight), requires_grad=False)
    torch.testing.assert_close(layer(x), x.sum(-1, keepdim=True) + layer.bias, rtol=1e-4, atol=1e-4)


def test_hooks_are_called_and_layouts_can_be_let_go(model: nn.Sequential) -> None:
    forwards = laid_out(model)
    seen: list[Tensor] = []
    model[2].register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    first = model(inputs(4, 48))
    assert [tuple(tensor.shape) for tensor in seen] == [(4, 80)]
    for forward in forwards:
        forward.forget()
    assert torch.equal(model(inputs(4, 48)), first)


def test_threads_that_share_a_model_get_the_same(model: nn.Sequential) -> None:
    laid_out(model)
    x, found = inputs(64, 48), []
    threads = [threading.Thread(target=lambda: found.append(model[0](x))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(torch.equal(product, found[0]) for product in found)


def test_products_are_chosen_by_device_and_format(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, wanted in (("x86_64", "packed"), ("AMD64", "packed"), ("arm64", "plain"), ("aarch64", "plain")):
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        assert choose_products(CPU, torch.float32) == wanted
        assert choose_products(CPU, torch.float32, "plain") == "plain"
        assert choose_products(CPU, torch.bfloat16) == "plain"
        assert choose_products(torch.device("cuda"), torch.float32) == "plain"
