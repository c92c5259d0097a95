"""DoReFa-Net: quantizers against numpy, the gradient noise, the bit kernel, and the wiring of the experiment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from reference_impls.kit.catalogue import result_path
from reference_impls.kit.models import QuantConv2d, SmallCNN
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic
from reference_impls.uniform import dorefa_net as m

Floats = NDArray[np.float64]
PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=40)


def rounded(r: Floats, bits: int) -> Floats:
    """quantize_k in plain numpy."""
    n = 2**bits - 1
    result: Floats = np.round(r * n) / n
    return result


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_steps_count_levels_and_bad_widths_are_refused() -> None:
    assert [m.steps(bits) for bits in (1, 2, 3, 8, 16)] == [1, 3, 7, 255, 65535]
    for bits in (0, -1, 17):
        with pytest.raises(ValueError, match=rf"^bits must lie in 1\.\.16, got {bits}$"):
            m.steps(bits)


@pytest.mark.parametrize("bits", range(1, 9))
def test_every_level_is_kept_and_its_cell_rounds_to_it(bits: int) -> None:
    n = 2**bits - 1
    levels = torch.arange(n + 1, dtype=torch.float64)
    for offset in (-0.49, 0.0, 0.49):
        assert torch.equal(m.grid_integers(((levels + offset) / n).clamp(0, 1), bits), levels.to(torch.int64))


def test_scales_have_the_type_of_their_tensor() -> None:
    for dtype in (torch.float32, torch.float64):
        x = torch.rand(2, 3, dtype=dtype)
        assert m.weight_integers(x, 2)[1].dtype == m.activation_integers(x, 2)[1].dtype == dtype


def test_unit_weight_is_tanh_over_its_maximum() -> None:
    w = normal(3, 4)
    squashed = np.tanh(w.numpy())
    np.testing.assert_allclose(m.unit_weight(w).numpy(), squashed / (2 * np.abs(squashed).max()) + 0.5)
    assert torch.equal(m.unit_weight(torch.zeros(2, 2)), torch.full((2, 2), 0.5))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weights_equal_the_formula(bits: int) -> None:
    w = normal(5, 6, seed=bits)
    squashed = np.tanh(w.numpy())
    expected = 2 * rounded(squashed / (2 * np.abs(squashed).max()) + 0.5, bits) - 1
    np.testing.assert_allclose(m.quantize_weight(w, bits).numpy(), expected, atol=1e-7)


def test_one_bit_weights_are_signs_times_one_mean_for_the_layer() -> None:
    w = torch.tensor([[0.5, -1.0], [0.0, -2.5]])
    assert m.quantize_weight(w, 1).tolist() == [[1.0, -1.0], [1.0, -1.0]]
    assert m.quantize_weight(2 * w, 1).tolist() == [[2.0, -2.0], [2.0, -2.0]]


def test_weights_differ_from_plain_rounding_since_tanh_stretches_them() -> None:
    w = torch.tensor([0.9, 0.05, -0.3, -0.6, 2.0])
    plain = 2 * torch.round((w / (2 * w.abs().max()) + 0.5) * 3) / 3 - 1
    assert not torch.allclose(m.quantize_weight(w, 2), plain, atol=0.1)


@pytest.mark.parametrize("bits", [2, 4])
def test_gradient_of_weights_is_that_of_the_tanh_map_not_the_identity(bits: int) -> None:
    w, weight = normal(6, seed=bits).requires_grad_(), normal(6, seed=9)
    (gradient,) = torch.autograd.grad((weight * m.quantize_weight(w, bits)).sum(), w)

    def smooth(x: Floats) -> float:
        return float((weight.numpy() * np.tanh(x) / np.abs(np.tanh(x)).max()).sum())

    steps = 1e-6 * np.eye(6)
    x = w.detach().numpy()
    expected = [(smooth(x + step) - smooth(x - step)) / 2e-6 for step in steps]
    np.testing.assert_allclose(gradient.numpy(), expected, atol=1e-6)
    assert not torch.allclose(gradient, weight)


def test_gradient_of_one_bit_weights_is_the_identity() -> None:
    w, weight = (3 * normal(6)).requires_grad_(), normal(6, seed=9)
    (gradient,) = torch.autograd.grad((weight * m.quantize_weight(w, 1)).sum(), w)
    assert torch.equal(gradient, weight)


def test_thirty_two_bits_leave_weights_alone_and_make_activations_relu() -> None:
    x = normal(3, 3)
    assert m.quantize_weight(x, 32) is x
    assert torch.equal(m.quantize_activation(x, 32), torch.relu(x))
    assert torch.equal(m.low_bit_gradient(x, 32), x)


@pytest.mark.parametrize("bits", [1, 2, 3])
def test_activations_are_clipped_and_rounded_and_pass_gradients_inside_only(bits: int) -> None:
    x = torch.tensor([-0.4, 0.0, 0.2, 0.55, 0.9, 1.0, 1.7], requires_grad=True)
    y = m.quantize_activation(x, bits)
    np.testing.assert_allclose(y.detach().numpy(), rounded(np.clip(x.detach().double().numpy(), 0, 1), bits), atol=1e-7)
    (gradient,) = torch.autograd.grad((3 * y).sum(), x)
    assert gradient.tolist() == [0, 3, 3, 3, 3, 3, 0]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_gradients_equal_the_formula_with_one_scale_per_example(bits: int) -> None:
    g, noise = normal(3, 2, 5, seed=1), torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, (3, 2, 5)))
    largest = np.abs(g.numpy()).max(axis=(1, 2), keepdims=True)
    n = 2**bits - 1
    unit = np.clip(g.numpy() / (2 * largest) + 0.5 + noise.numpy() / n, 0, 1)
    np.testing.assert_allclose(
        m.quantize_gradient(g, bits, noise).numpy(), 2 * largest * (rounded(unit, bits) - 0.5), atol=1e-12
    )


def test_noise_at_the_ends_does_not_leave_the_grid() -> None:
    g = torch.tensor([[1.0, -1.0, 0.3]])
    for sigma in (-0.5, 0.5):
        integers, scale = m.gradient_integers(g, 2, torch.full_like(g, sigma))
        assert int(integers.abs().max()) <= 3
        assert float(scale) == pytest.approx(1 / 3)


def test_a_zero_gradient_becomes_a_step_but_an_all_zero_example_stays_zero() -> None:
    g = torch.tensor([[0.0, 3.0], [0.0, 0.0]])
    assert m.quantize_gradient(g, 2, torch.zeros_like(g)).tolist() == [[1.0, 3.0], [0.0, 0.0]]
    assert int(m.gradient_integers(g, 2, torch.zeros_like(g))[0].abs().max()) == 3


def test_mean_over_the_noise_is_the_gradient_which_plain_rounding_misses() -> None:
    g = torch.tensor([[0.11, -0.52, 0.0, 1.0, -0.77]], dtype=torch.float64)
    sigmas = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000 - 0.5
    draws = torch.stack([m.quantize_gradient(g, 2, sigma.expand_as(g)) for sigma in sigmas])
    torch.testing.assert_close(draws.mean(dim=0), g, atol=7e-4, rtol=0)
    assert float((m.quantize_gradient(g, 2, torch.zeros_like(g)) - g).abs().max()) > 0.1


@PROPERTY
@given(st.integers(1, 6), st.floats(0.1, 1e3), st.integers(0, 99))
def test_gradients_keep_to_their_range_and_scale_with_their_input(bits: int, factor: float, seed: int) -> None:
    g, noise = normal(2, 7, seed=seed), torch.rand(2, 7, dtype=torch.float64) - 0.5
    q = m.quantize_gradient(g, bits, noise)
    assert bool((q.abs() <= g.abs().amax(dim=1, keepdim=True) * (1 + 1e-12)).all())
    integers, _ = m.gradient_integers(factor * g, bits, noise)
    same, _ = m.gradient_integers(g, bits, noise)
    assert float((integers != same).double().mean()) < 0.1  # a value on the edge of a cell may fall either way


def test_values_pass_and_the_gradient_that_comes_back_is_quantized() -> None:
    x, g = normal(4, 3).requires_grad_(), normal(4, 3, seed=5)
    y = m.low_bit_gradient(x, 2, noisy=False)
    assert torch.equal(y, x)
    (gradient,) = torch.autograd.grad(y, x, g)
    assert torch.equal(gradient, m.quantize_gradient(g, 2, torch.zeros_like(g)))
    torch.manual_seed(3)
    (gradient,) = torch.autograd.grad(m.low_bit_gradient(x, 2), x, g)
    torch.manual_seed(3)
    assert torch.equal(gradient, m.quantize_gradient(g, 2, torch.rand_like(g) - 0.5))


def test_only_this_path_is_quantized_and_full_precision_and_evaluation_are_left_alone() -> None:
    x, g = normal(4, 3).requires_grad_(), normal(4, 3, seed=5)
    (gradient,) = torch.autograd.grad(m.low_bit_gradient(x, 2, noisy=False) + x, x, g)
    assert torch.equal(gradient, m.quantize_gradient(g, 2, torch.zeros_like(g)) + g)
    (gradient,) = torch.autograd.grad(m.low_bit_gradient(x, 32), x, g)
    assert torch.equal(gradient, g)
    with torch.no_grad():
        assert torch.equal(m.low_bit_gradient(x, 2), x)


@PROPERTY
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 20), st.integers(0, 99))
def test_kernel_equals_the_integer_dot_product(x_bits: int, y_bits: int, length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 2**x_bits, (3, length)), rng.integers(0, 2**y_bits, (4, length))
    assert np.array_equal(m.bit_dot(x, y, x_bits, y_bits), x @ y.T)


def test_kernel_handles_counts_beyond_a_byte() -> None:
    full = np.full((1, 5000), 15)
    assert m.bit_dot(full, full, 4, 4).tolist() == [[5000 * 225]]


@pytest.mark.parametrize("bad", [[[4, 0]], [[-1, 0]]])
def test_kernel_refuses_values_that_do_not_fit(bad: list[list[int]]) -> None:
    good, wrong = np.array([[3, 0]]), np.array(bad)
    for x, y in ((wrong, good), (good, wrong)):
        with pytest.raises(ValueError, match=rf"^2 bits hold 0\.\.3, got {wrong.min()}\.\.{wrong.max()}$"):
            m.bit_dot(x, y, 2, 2)


@pytest.mark.parametrize(("x_bits", "w_bits"), [(1, 1), (2, 1), (2, 3), (4, 2)])
def test_bit_convolution_equals_an_integer_convolution(x_bits: int, w_bits: int) -> None:
    rng, n = np.random.default_rng(x_bits), 2**w_bits - 1
    x = torch.from_numpy(rng.integers(0, 2**x_bits, (2, 3, 4, 5)))
    w = torch.from_numpy(2 * rng.integers(0, n + 1, (6, 3, 3, 3)) - n)
    result = m.bit_convolution(x, w, x_bits, w_bits)
    assert result.dtype == torch.int64
    assert torch.equal(result.double(), torch.conv2d(x.double(), w.double(), padding=1))


@pytest.mark.parametrize("quantizer", m.QUANTIZERS, ids=lambda q: f"{q.name} {q.bits}")
def test_offered_quantizers_are_scale_times_integers(quantizer: Quantizer) -> None:
    x = normal(5, 7).float()
    integers, scale = quantizer.to_integers(x)
    assert integers.dtype == torch.int64
    assert torch.equal(quantizer.quantize(x), scale * integers)
    assert int(integers.abs().max()) <= 2**quantizer.bits - 1


def test_the_offered_gradient_quantizer_has_no_noise_and_no_slope() -> None:
    quantizer = m.QUANTIZERS[-1]
    x = torch.linspace(-1, 1, 21).reshape(1, 21).requires_grad_()
    y = quantizer.quantize(x)
    assert torch.equal(y, m.quantize_gradient(x.detach(), 2, torch.zeros(1, 21)))
    assert not bool(torch.autograd.grad(y.sum(), x)[0].any())


def test_network_quantizes_weights_activations_and_gradients_of_the_inner_blocks_alone() -> None:
    with deterministic(0):
        net = m.network(1, 2, 3, noisy=False)
    for block in net.blocks:
        assert isinstance(block, nn.Sequential)
        activation, convolution, gradient, pool, norm = block
        assert isinstance(convolution, QuantConv2d)
        assert torch.equal(convolution.quantizer(convolution.weight), m.quantize_weight(convolution.weight, 1))
        assert isinstance(pool, nn.MaxPool2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert pool.kernel_size == 2
        assert norm.num_features == convolution.out_channels
        x = normal(2, 3, 3).float().requires_grad_()
        assert torch.equal(activation(x), m.quantize_activation(x, 2))
        (back,) = torch.autograd.grad(gradient(x), x, x)
        assert torch.equal(back, m.quantize_gradient(x.detach(), 3, torch.zeros_like(x)))
    noisy = m.network(32, 32, 3, noisy=True)
    assert isinstance(noisy.blocks[0], nn.Sequential)
    (back,) = torch.autograd.grad(noisy.blocks[0][2](x), x, x)
    assert not torch.equal(back, m.quantize_gradient(x.detach(), 3, torch.zeros_like(x)))
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_bit_kernel_agrees_on_a_network_and_a_wrong_kernel_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with deterministic(0):
        net = m.network(2, 3, 6, noisy=True).eval()
    assert m.kernel_mismatches(net, 2, 3, images=3) == 0
    seen: list[tuple[int, ...]] = []

    def wrong(x: Tensor, w: Tensor, x_bits: int, w_bits: int) -> Tensor:
        seen.append((*x.shape, x_bits, w_bits))
        return torch.conv2d(x.double(), w.double(), padding=1) + 1

    monkeypatch.setattr(m, "bit_convolution", wrong)
    assert m.kernel_mismatches(net, 2, 3, images=3) == 3 * 4 * 64
    assert m.kernel_mismatches(net, 1, 2) == 32 * 4 * 64
    assert seen == [(3, 4, 8, 8, 3, 2), (32, 4, 8, 8, 2, 1)]


def test_bias_is_removed_by_noise_and_half_a_step_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(m, "DRAWS", 200)
    with_noise, without = m.rounding_bias(4)
    assert 0 < with_noise <= 0.5 / 200 + 1e-9
    assert 0.45 < without <= 0.5 + 1e-9
    assert m.rounding_bias(4) != m.rounding_bias(5)
    assert m.rounding_bias(4) == m.rounding_bias(4, bits=2) != m.rounding_bias(4, bits=3)
    finer, _ = m.rounding_bias(4, bits=3)
    assert finer <= 0.5 / 200 + 1e-9


def test_experiment_trains_each_configuration_once_with_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[SmallCNN] = []
    widths: list[tuple[int, int, int, bool]] = []
    real = m.network

    def network(weights: int, activations: int, gradients: int, noisy: bool) -> SmallCNN:
        widths.append((weights, activations, gradients, noisy))
        return real(*widths[-1])

    def train(build: Callable[[], SmallCNN], seed: int, *, epochs: int) -> SmallCNN:
        assert (seed, epochs) == (7, m.EPOCHS)
        built.append(build().eval())
        return built[-1]

    def mismatches(net: SmallCNN, weights: int, activations: int) -> int:
        assert (net, weights, activations) == (built[-1], 1, 2)
        return 5

    monkeypatch.setattr(m, "network", network)
    monkeypatch.setattr(m, "train", train)
    monkeypatch.setattr(m, "accuracy", lambda net: float(built.index(net)))
    monkeypatch.setattr(m, "kernel_mismatches", mismatches)
    metrics = m.reproduce(7)
    assert widths == list(m.CONFIGURATIONS.values())
    bias, plain = m.rounding_bias(7)
    assert metrics == {
        **{name: index for index, name in enumerate(m.CONFIGURATIONS)},
        "bit_kernel_mismatches": 5,
        "bias_with_noise": bias,
        "bias_without_noise": plain,
    }


@pytest.mark.slow
def test_seed_zero_gives_the_accepted_result() -> None:
    accepted = read(result_path(m.RECORD))
    with deterministic(0):
        measured = m.reproduce(0)
    for name, value in measured.items():
        tolerance = 3.0 if name in m.CONFIGURATIONS else 1e-6
        assert value == pytest.approx(accepted.metrics[name][0], abs=tolerance), name
