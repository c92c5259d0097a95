from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from reference_impls.fpga.network import (
    INT8_WEIGHTS,
    UINT8_ACTIVATIONS,
    Activation,
    CannotLowerError,
    Layer,
    Recipe,
    builder,
    fixed_scale,
    learns,
    recipe_of,
)
from reference_impls.kit.catalogue import Method
from reference_impls.kit.data import digits
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, train


def scaled_integers(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return signs and the mean magnitude of each row: what XNOR-Net does to filters."""
    return sign(x).to(torch.int64), x.detach().abs().mean(dim=tuple(range(1, x.dim())), keepdim=True)


def sign_integers(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return sign(x).to(torch.int64), torch.ones((), dtype=x.dtype)


SCALED = Quantizer("weights", 1, lambda x: straight_through(x, scaled_integers(x)[1] * sign(x)), scaled_integers)
SIGNS = Quantizer("activations", 1, lambda x: straight_through(x, sign(x)), sign_integers)
FROZEN = Quantizer("weights", 1, lambda x: straight_through(x, sign(x), 0 * x.detach()), sign_integers)


def method(*quantizers: Quantizer) -> Method:
    return cast("Method", SimpleNamespace(RECORD="toy", QUANTIZERS=quantizers))


def test_8_bit_integers_are_those_of_the_formulas() -> None:
    w = torch.tensor([[0.5, -1.27], [0.004, 1.0]])
    integers, scale = INT8_WEIGHTS.to_integers(w)
    assert float(scale) == pytest.approx(0.01)
    assert integers.tolist() == np.round(w.numpy() / 0.01).astype(int).tolist() == [[50, -127], [0, 100]]
    x = torch.tensor([-1.0, 0.0, 0.02, 1.0, 3.99, 9.0])
    codes, step = UINT8_ACTIVATIONS.to_integers(x)
    assert (codes.tolist(), float(step)) == ([0, 0, 1, 64, 255, 255], 1 / 64)


@pytest.mark.parametrize("quantizer", [INT8_WEIGHTS, UINT8_ACTIVATIONS], ids=["weights", "activations"])
def test_8_bit_quantizers_are_scale_times_integers(quantizer: Quantizer) -> None:
    x = torch.linspace(-2, 5, 101)
    integers, scale = quantizer.to_integers(x)
    assert torch.equal(quantizer.quantize(x), scale * integers)


def test_8_bit_activations_pass_the_gradient_inside_their_range_only() -> None:
    x = torch.tensor([-0.5, 0.5, 3.9, 4.5], requires_grad=True)
    UINT8_ACTIVATIONS.quantize(x).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 0]


def test_a_scale_that_looks_at_the_whole_tensor_is_found_out() -> None:
    assert fixed_scale(SIGNS) == 1
    assert fixed_scale(UINT8_ACTIVATIONS) == 1 / 64
    assert fixed_scale(SCALED) is None
    assert fixed_scale(INT8_WEIGHTS) is None
    with pytest.raises(CannotLowerError, match="depends on the whole input"):
        Activation(INT8_WEIGHTS)


def test_a_quantizer_without_gradient_is_applied_after_training() -> None:
    assert learns(SIGNS)
    assert not learns(FROZEN)
    layer = Layer((2, 3), FROZEN, 1.0)
    x = torch.ones(1, 3)
    assert torch.equal(layer(x), x @ layer.weight.T)
    assert torch.equal(layer.eval()(x), x @ sign(layer.weight).T)


@pytest.mark.parametrize(
    ("quantizers", "bits", "note"),
    [
        ((SCALED, SIGNS), "w1a1", ""),
        ((Quantizer("weights and activations", 1, SIGNS.quantize, sign_integers),), "w1a1", ""),
        (
            (Quantizer("weights, for inputs alike", 1, SCALED.quantize, scaled_integers),),
            "w1a8",
            "8-bit activations, as the method quantizes weights only",
        ),
        ((SCALED,), "w1a8", "8-bit activations, as the method quantizes weights only"),
        (
            (FROZEN, SIGNS),
            "w1a1",
            "weights quantized after training, as no gradient passes the method's quantizer",
        ),
        ((SIGNS,), "w8a1", "8-bit weights, as the method quantizes activations only"),
        (
            (SCALED, Quantizer("inputs, term 1", 1, SCALED.quantize, scaled_integers)),
            "w1a8",
            "8-bit activations, as the method's scale depends on the whole input",
        ),
    ],
)
def test_recipe_fills_up_with_8_bits_and_says_so(quantizers: tuple[Quantizer, ...], bits: str, note: str) -> None:
    recipe = recipe_of(method(*quantizers))
    assert (recipe.bits, recipe.note) == (bits, note)


def test_a_method_without_integers_has_no_recipe() -> None:
    with pytest.raises(CannotLowerError, match="toy offers no weights or activations as integers"):
        recipe_of(method(Quantizer("gradients", 2, SIGNS.quantize, sign_integers)))


@pytest.mark.parametrize("shape", [(4, 6), (4, 2, 3, 3)])
def test_evaluation_computes_on_integers(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = Layer(shape, SCALED, 0.125, bias=True)
    assert layer.bias is not None
    layer.bias.data.uniform_(-1, 1)
    x = torch.randint(-8, 9, (5, 6) if len(shape) == 2 else (5, 2, 5, 4)).float() / 8
    exact = layer.eval().double()(x.double())
    weights, scale = layer.integers()
    assert set(weights.flatten().tolist()) == {-1, 1}
    assert torch.equal(scale, layer.weight.abs().flatten(1).mean(dim=1) / 8)
    sums = layer.accumulate(x.double())
    assert torch.equal(sums, sums.round())
    bias = layer.bias_integers()
    assert torch.equal(bias, torch.round(layer.bias / scale).long())
    plain = layer.apply_weight((x * 8).long().double(), weights.double())
    assert torch.equal(sums, plain + bias.reshape(1, -1, *(1,) * (plain.dim() - 2)))
    assert torch.equal(exact, sums * scale.reshape(1, -1, *(1,) * (plain.dim() - 2)))


def test_a_negative_scale_moves_into_the_integers() -> None:
    def negative(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return sign(x).to(torch.int64), torch.tensor(-2.0)

    layer = Layer((2, 3), Quantizer("weights", 1, SIGNS.quantize, negative), 0.5)
    weights, scale = layer.integers()
    assert torch.equal(weights, -sign(layer.weight).long())
    assert scale.tolist() == [1.0, 1.0]


def test_a_scale_that_varies_within_a_filter_is_refused() -> None:
    def columns(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return sign(x).to(torch.int64), torch.arange(1.0, x.shape[1] + 1)[None]

    with pytest.raises(CannotLowerError, match="varies within a filter"):
        Layer((2, 3), Quantizer("weights", 1, SIGNS.quantize, columns), 1.0).integers()


@pytest.mark.parametrize(("shape", "sizes"), [("mlp", [(32, 64), (32, 32), (10, 32)])])
def test_the_networks_shapes(shape: Any, sizes: list[tuple[int, int]]) -> None:
    network = builder(Recipe(SCALED, SIGNS), shape)()
    assert [tuple(layer.weight.shape) for layer in network.linear()] == sizes
    assert [layer.quantizer for layer in network.linear()] == [INT8_WEIGHTS, SCALED, INT8_WEIGHTS]
    cnn = builder(Recipe(SCALED, SIGNS), "cnn", width=3)()
    assert [tuple(layer.weight.shape) for layer in cnn.linear()] == [(3, 1, 3, 3), (6, 3, 3, 3), (10, 24)]
    assert cnn(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert [tuple(x.shape) for x in cnn.hidden(torch.zeros(2, 1, 8, 8))] == [(2, 3, 6, 6), (2, 6, 2, 2)]


@pytest.mark.parametrize("shape", ["mlp", "cnn"])
def test_the_networks_learn_the_digits(shape: Any) -> None:
    network = train(builder(Recipe(SCALED, UINT8_ACTIVATIONS), shape), 0, epochs=3)
    assert accuracy(network, digits()) > 70
