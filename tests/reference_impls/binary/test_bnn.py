from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from reference_impls.binary import bnn
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import Split, digits
from reference_impls.kit.models import QuantConv2d, QuantLinear, identity
from reference_impls.kit.quantizers import Quantizer, curve
from reference_impls.kit.results import read
from reference_impls.kit.train import accuracy, deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
Array = NDArray[np.float64]
REALS = st.floats(-1e3, 1e3, width=32)
POINTS = [-3.0, -1.001, -1.0, -0.999, -0.5, -0.0, 0.0, 0.25, 1.0, 1.001, 2.0]


def gradient(y: Tensor, x: Tensor, upstream: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(y, x, upstream)
    return result


def test_activation_value_and_gradient_differ_from_rounding_and_from_the_identity_gradient() -> None:
    x = torch.tensor(POINTS, requires_grad=True)
    upstream = torch.arange(1.0, len(POINTS) + 1)
    y = bnn.binarize(x)
    assert y.tolist() == [1 if v >= 0 else -1 for v in POINTS]
    expected = [g if -1 <= v <= 1 else 0 for v, g in zip(POINTS, upstream.tolist(), strict=True)]
    assert gradient(y, x, upstream).tolist() == expected


def test_weight_gradient_passes_whole_even_where_activations_saturate() -> None:
    w = torch.tensor(POINTS, requires_grad=True)
    upstream = torch.arange(1.0, len(POINTS) + 1)
    y = bnn.binarize_weight(w)
    assert y.tolist() == [1 if v >= 0 else -1 for v in POINTS]
    assert torch.equal(gradient(y, w, upstream), upstream)


def test_stochastic_signs_have_the_expectation_of_the_hard_tanh() -> None:
    x = torch.tensor([-2.0, -1.0, -0.6, 0.0, 0.3, 1.0, 2.0], dtype=torch.float64)
    many = x.repeat(20_000, 1).requires_grad_()
    y = bnn.binarize_stochastically(many, torch.Generator().manual_seed(1))
    assert y.dtype == torch.float64
    assert set(y.flatten().tolist()) == {-1.0, 1.0}
    mean = y.mean(dim=0)
    assert torch.allclose(mean, x.clamp(-1, 1), atol=0.03)
    assert mean[[0, 1, 5, 6]].tolist() == [-1, -1, 1, 1]  # nothing is left to chance from magnitude 1 on
    slope = gradient(y, many, torch.ones_like(many))[0]
    assert slope.tolist() == [0, 1, 1, 1, 1, 1, 0]


def test_stochastic_signs_repeat_with_the_generator_only() -> None:
    x = torch.zeros(200)
    draws = [bnn.binarize_stochastically(x, torch.Generator().manual_seed(seed)) for seed in (7, 7, 8)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@PROPERTY
@given(REALS.filter(lambda v: v == 0 or abs(v) > 1e-30))
def test_ap2_is_a_power_of_two_within_root_two_with_the_sign_kept(value: float) -> None:
    power = float(bnn.ap2(torch.tensor(value)))
    if value == 0:
        assert power == 0
        return
    assert math.frexp(abs(power))[0] == 0.5
    assert math.copysign(1, power) == math.copysign(1, value)
    assert 2**-0.5001 <= abs(power / value) <= 2**0.5001


def test_ap2_is_exact_on_every_power_of_two_and_rounds_in_the_logarithm() -> None:
    powers = torch.tensor([2.0**e for e in range(-126, 128)])
    assert torch.equal(bnn.ap2(powers), powers)
    assert torch.equal(bnn.ap2(-powers), -powers)
    assert torch.equal(bnn.ap2(powers[:-1] * 1.41), powers[:-1])  # 1.5 would be the border of plain rounding
    assert torch.equal(bnn.ap2(powers[:-1] * 1.42), 2 * powers[:-1])


def test_shift_multiplies_by_the_power_and_lets_the_gradient_through_it() -> None:
    x = torch.tensor([3.0, -5.0], requires_grad=True)
    by = torch.tensor([0.3, -6.5], requires_grad=True)
    y = bnn.shift(x, by)
    assert y.tolist() == [0.75, 40.0]
    upstream = torch.tensor([1.0, 10.0])
    dx, dby = torch.autograd.grad(y, (x, by), upstream)
    assert dx.tolist() == [0.25, -80.0]
    assert dby.tolist() == [3.0, -50.0]


def numpy_ap2(x: Array) -> Array:
    return np.asarray(np.sign(x) * 2.0 ** np.round(np.log2(np.abs(x))))


def numpy_shift_norm(x: Array, mean: Array, variance: Array, gamma: Array) -> Array:
    return numpy_ap2(gamma) * (x - mean) * numpy_ap2(1 / np.sqrt(variance + 1e-5))


def test_shift_batch_norm_matches_algorithm_2_in_numpy_for_training_and_running_statistics() -> None:
    rng = np.random.default_rng(0)
    layer = bnn.ShiftBatchNorm1d(3)
    gamma, beta = np.array([0.3, 1.7, -3.1]), np.array([0.5, -1.0, 0.0])
    layer.weight.data, layer.bias.data = torch.tensor(gamma), torch.tensor(beta)
    layer.double()
    running_mean, running_var = np.zeros(3), np.ones(3)
    for _ in range(3):
        x = rng.normal(size=(16, 3)) * [1.0, 0.002, 30.0] + [0.0, 5.0, -2.0]  # the second is where eps counts
        mean: Array = x.mean(axis=0)
        variance: Array = ((x - mean) * numpy_ap2(x - mean)).mean(axis=0)
        running_mean = 0.9 * running_mean + 0.1 * mean
        running_var = 0.9 * running_var + 0.1 * variance
        y = layer(torch.tensor(x))
        np.testing.assert_allclose(y.detach(), numpy_shift_norm(x, mean, variance, gamma) + beta, rtol=1e-9)
    layer.eval()
    before = layer.get_buffer("running_mean").clone(), layer.get_buffer("running_var").clone()
    y = layer(torch.tensor(x))
    np.testing.assert_allclose(y.detach(), numpy_shift_norm(x, running_mean, running_var, gamma) + beta, rtol=1e-9)
    np.testing.assert_allclose(before[0], running_mean)
    np.testing.assert_allclose(before[1], running_var)
    assert torch.equal(layer.get_buffer("running_mean"), before[0])
    assert torch.equal(layer.get_buffer("running_var"), before[1])


def test_shift_batch_norm_is_batch_norm_where_everything_is_a_power_of_two() -> None:
    x = torch.tensor([[4.0, 0.5], [-4.0, -0.5], [4.0, -0.5], [-4.0, 0.5]])
    assert torch.allclose(bnn.ShiftBatchNorm1d(2)(x), nn.BatchNorm1d(2)(x), atol=1e-4)


def test_shift_batch_norm_gradient_is_batch_norms_with_shifted_factors() -> None:
    rng = np.random.default_rng(1)
    x, g = rng.normal(size=(8, 2)), rng.normal(size=(8, 2))
    gamma = np.array([0.7, -1.6])
    layer = bnn.ShiftBatchNorm1d(2).double()
    layer.weight.data = torch.tensor(gamma)
    inputs = torch.tensor(x, requires_grad=True)
    layer(inputs).backward(torch.tensor(g))
    c = x - x.mean(axis=0)
    inverse = 1 / np.sqrt((c * numpy_ap2(c)).mean(axis=0) + 1e-5)
    through_scale = -0.5 * inverse**3 * (c + numpy_ap2(c)) / len(x) * (g * c).sum(axis=0)
    towards_c = numpy_ap2(gamma) * (numpy_ap2(inverse) * g + through_scale)
    assert inputs.grad is not None
    np.testing.assert_allclose(inputs.grad, towards_c - towards_c.mean(axis=0), rtol=1e-9)
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    np.testing.assert_allclose(layer.weight.grad, (g * c * numpy_ap2(inverse)).sum(axis=0), rtol=1e-9)
    np.testing.assert_allclose(layer.bias.grad, g.sum(axis=0), rtol=1e-9)


def test_shift_batch_norm_forgets_the_graph_of_past_batches() -> None:
    layer = bnn.ShiftBatchNorm1d(2)
    layer(torch.randn(4, 2, requires_grad=True))
    assert not any(buffer.requires_grad for buffer in layer.buffers())


def steps(optimizer: torch.optim.Optimizer, p: Tensor, grads: list[list[float]]) -> list[list[float]]:
    path = []
    for grad in grads:
        p.grad = torch.tensor(grad, dtype=p.dtype)
        optimizer.step()
        path.append(p.tolist())
    return path


GRADS = [[0.3, -2.0, 0.011], [-0.1, -0.5, 0.3], [0.7, 1.5, -0.02], [0.02, 0.1, 0.4]]


def test_shift_adamax_matches_algorithm_4_in_numpy() -> None:
    p = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64, requires_grad=True)
    optimizer = bnn.ShiftAdaMax([{"params": [p], "lr": 0.03}], beta1=0.8, beta2=0.9)
    x, m, v, expected = np.array([1.0, -1.0, 0.5]), np.zeros(3), np.zeros(3), []
    for t, grad in enumerate(np.array(GRADS), start=1):
        m = 0.8 * m + 0.2 * grad
        v = np.maximum(0.9 * v, np.abs(grad))
        x = x - numpy_ap2(np.array(0.03 / (1 - 0.8**t))) * m * numpy_ap2(1 / (v + 2**-27))
        expected.append(x)
    np.testing.assert_allclose(steps(optimizer, p, GRADS), expected, rtol=1e-6)


def test_adamax_without_shifts_is_that_of_torch() -> None:
    ours, theirs = (torch.zeros(3, requires_grad=True) for _ in range(2))
    a = bnn.ShiftAdaMax([ours], 0.03, 0.8, 0.9, torch.mul)
    b = torch.optim.Adamax([theirs], lr=0.03, betas=(0.8, 0.9))
    np.testing.assert_allclose(steps(a, ours, GRADS), steps(b, theirs, GRADS), rtol=1e-5)


def test_shift_adamax_has_the_papers_defaults_and_so_a_first_step_of_powers_of_two() -> None:
    p = torch.zeros(3, requires_grad=True)
    optimizer = bnn.ShiftAdaMax([p])
    assert optimizer.defaults == {"lr": 2**-10, "beta1": 1 - 2**-3, "beta2": 1 - 2**-10}
    (first,) = steps(optimizer, p, [[0.25, -4.0, 3.0]])
    assert first == [-(2**-10), 2**-10, -(2**-10) * 0.75]  # m = g / 8, rate = 2^-7, AP2(1 / 3) = 1 / 4


def test_shift_adamax_leaves_alone_what_has_no_gradient_and_survives_gradients_of_zero() -> None:
    p, q = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = bnn.ShiftAdaMax([p, q])
    q.grad = torch.zeros(2)
    optimizer.step()
    assert p.tolist() == q.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("value", "shown"), [(8, "3..8"), (-1, "-1..3")])
def test_bit_plane_dot_refuses_what_does_not_fit(value: int, shown: str) -> None:
    with pytest.raises(ValueError, match=rf"^values must lie in 0\.\.7 for 3 bits, got {shown}$"):
        bnn.bit_plane_dot(np.array([[3, value]]), np.ones((1, 2)), 3)


@pytest.mark.parametrize(("length", "bits"), [(1, 1), (7, 3), (8, 8), (30, 5)])
def test_bit_plane_dot_equals_the_integer_product(length: int, bits: int) -> None:
    rng = np.random.default_rng(length)
    x = rng.integers(0, 2**bits, size=(5, length))
    x[0, 0], x[1, 0] = 0, 2**bits - 1
    signs = rng.choice([-1.0, 1.0], size=(4, length))
    dots = bnn.bit_plane_dot(x, signs, bits)
    assert dots.dtype == np.int64
    np.testing.assert_array_equal(dots, x @ signs.T.astype(np.int64))


def products(network: nn.Module) -> list[QuantLinear]:
    return [part for part in network.modules() if isinstance(part, QuantLinear)]


def norms(network: nn.Module) -> list[nn.BatchNorm1d]:
    return [part for part in network.modules() if isinstance(part, nn.BatchNorm1d)]


def test_network_equals_its_layers_written_out_and_reads_the_image_unbinarized() -> None:
    with deterministic(3):
        network = bnn.mlp().eval()
    x = digits().test_x[:20]
    h = x.reshape(20, 64)
    for index, (layer, norm) in enumerate(zip(products(network), norms(network), strict=True)):
        h = torch.where(h >= 0, 1.0, -1.0) if index else h
        h = norm(h @ torch.where(layer.weight >= 0, 1.0, -1.0).T)
    assert h.shape == (20, 10)
    assert torch.equal(network(x), h)
    assert [tuple(w.shape) for w in bnn.latent_weights(network)] == [(32, 64), (32, 32), (32, 32), (10, 32)]


def test_latent_weights_start_spread_over_the_whole_range_and_real_ones_as_torch_starts_them() -> None:
    with deterministic(0):
        binary, real = bnn.mlp(), bnn.mlp(weight=identity)
    for w in bnn.latent_weights(binary):
        assert 0.95 < float(w.max()) <= 1
        assert -1 <= float(w.min()) < -0.95
    for w in bnn.latent_weights(real):
        assert float(w.abs().max()) <= 1 / math.sqrt(w.shape[1])


def test_xnor_inference_is_the_network_bit_for_bit() -> None:
    with deterministic(5):
        network = bnn.mlp(norm=bnn.ShiftBatchNorm1d)
    network(digits().train_x[:64])
    x = digits().test_x
    logits, different = bnn.xnor_inference(network.eval(), x)
    assert different == 0
    assert torch.equal(logits, network(x))


def test_xnor_inference_counts_every_product_that_differs() -> None:
    with deterministic(5):
        network = bnn.mlp(weight=lambda w: 3 * torch.ones_like(w)).eval()  # 3 times a dot product, against the signs
    x = digits().test_x[:3]
    expected, h = 0, x.flatten(1)
    for index, (layer, norm) in enumerate(zip(products(network), norms(network), strict=True)):
        h = torch.where(h >= 0, 1.0, -1.0) if index else h
        right = h @ torch.sign(layer.weight.detach()).T
        expected += int((right != 3 * h.sum(dim=1, keepdim=True)).sum())
        h = norm(right).detach()
    assert expected > 200
    assert bnn.xnor_inference(network, x)[1] == expected


def test_clipping_touches_only_what_lies_outside() -> None:
    network = bnn.mlp()
    first, last = products(network)[0], products(network)[-1]
    first.weight.data[0, :3] = torch.tensor([-3.0, 0.5, 1.5])
    last.weight.data[1, 2] = -7.0
    before = first.weight.detach().clone()
    bnn.clip_weights(network, 1, 2)
    assert first.weight[0, :3].tolist() == [-1.0, 0.5, 1.0]
    assert torch.equal(first.weight[1:], before[1:])
    assert last.weight[1, 2] == -1
    assert not any(w.requires_grad for w in bnn.latent_weights(network))


def test_every_parameter_is_in_one_group_with_glorots_rate_for_weights() -> None:
    network = bnn.mlp()
    groups = bnn.parameter_groups(network)
    grouped = list(itertools.chain.from_iterable(group["params"] for group in groups))
    assert {id(p) for p in grouped} == {id(p) for p in network.parameters()}
    assert len(grouped) == len(list(network.parameters()))
    rates = {id(group["params"][0]): group["lr"] for group in groups}
    for layer in products(network):
        assert rates.pop(id(layer.weight)) == pytest.approx(0.01 * math.sqrt(sum(layer.weight.shape) / 1.5))
    assert len(rates) == 8
    assert set(rates.values()) == {0.01}


def test_variants_differ_from_the_method_in_what_their_names_say() -> None:
    how = bnn.variants()
    built = {name: recipe["build"]() for name, recipe in how.items()}
    optimizers = {name: recipe["optimizer"](built[name]) for name, recipe in how.items() if "optimizer" in recipe}
    for name in set(how) - {"full_precision"}:
        network = built[name]
        assert all(layer.quantizer is bnn.binarize_weight for layer in products(network))
        functions = [part.function for part in network if isinstance(part, bnn.Activation)]
        assert functions == [bnn.binarize_weight if name == "identity_gradient" else bnn.binarize] * 3
        norm = bnn.ShiftBatchNorm1d if name == "shift_batch_norm" else nn.BatchNorm1d
        assert [type(part) for part in norms(network)] == [norm] * 4
        assert how[name]["after_step"] is (None if name == "without_clipping" else bnn.clip_weights)
        adamax = name in {"shift_adamax", "adamax"}
        assert type(optimizers[name]) is (bnn.ShiftAdaMax if adamax else torch.optim.Adam)
        rates = [group["lr"] for group in optimizers[name].param_groups]
        assert rates == [group["lr"] for group in bnn.parameter_groups(network)]
    assert optimizers["shift_adamax"].product is bnn.shift
    assert optimizers["adamax"].product is torch.mul
    real = built["full_precision"]
    assert [part.function for part in real if isinstance(part, bnn.Activation)] == [torch.relu] * 3
    assert all(layer.quantizer is identity for layer in products(real))
    assert set(how["full_precision"]) == {"build"}


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    data = digits()
    few = Split(data.train_x[:128], data.train_y[:128], data.test_x, data.test_y)
    seen: list[tuple[int, int, float]] = []
    trained: list[nn.Module] = []
    shared: list[tuple[int, dict[str, Any], nn.Module]] = []

    def on_few(*positional: Any, **how: Any) -> nn.Module:
        if positional:  # the shared budget: the loop's own settings
            build, seed = positional
            shared.append((seed, how, train(build, seed, data=few, epochs=1, **how)))
            return shared[-1][2]
        seen.append((how["seed"], how["epochs"], how["lr"]))
        trained.append(train(**how, data=few))
        return trained[-1]

    monkeypatch.setattr(bnn, "EPOCHS", 2)
    monkeypatch.setattr(bnn, "train", on_few)
    metrics = bnn.reproduce(4)
    assert seen == [(4, 2, 0.01)] * 7
    ((seed, how, network),) = shared
    assert (seed, how) == (4, {"after_step": bnn.clip_weights})
    assert metrics["cnn_accuracy"] == accuracy(network)
    parts = [part for part in network.modules() if isinstance(part, QuantConv2d)]
    assert [part.quantizer for part in parts] == [bnn.binarize_weight] * 2
    assert all(float(part.weight.detach().abs().max()) <= 1 for part in parts)
    functions = [part.function for part in network.modules() if isinstance(part, bnn.Activation)]
    assert functions == [bnn.binarize] * 2
    others = [claim.expected if isinstance(claim, Exact) else claim.baseline for claim in bnn.CLAIMS]
    assert {claim.metric for claim in bnn.CLAIMS} <= set(metrics)
    assert {name for name in others if isinstance(name, str)} <= set(metrics)
    assert [metrics[name] for name in bnn.variants()] == [accuracy(network) for network in trained]
    assert metrics["xnor_differences"] == 0
    assert metrics["xnor_accuracy"] == metrics["bnn"]
    assert metrics["largest_weight"] == 1
    assert metrics["largest_unclipped"] == max(float(w.abs().max()) for w in bnn.latent_weights(trained[2]))
    assert metrics["largest_unclipped"] > 1


@pytest.mark.parametrize("quantizer", bnn.QUANTIZERS, ids=lambda q: q.name)
def test_quantizers_are_scale_times_integers_on_two_levels(quantizer: Quantizer) -> None:
    x = torch.randn(7, 5, 3)
    integers, scale = quantizer.to_integers(x)
    assert integers.dtype == torch.int64
    assert torch.equal(scale * integers, quantizer.quantize(x))
    drawn = curve(quantizer)
    assert (drawn.bits, set(drawn.y)) == (1, {-1.0, 1.0})
    saturates = 0.0 in drawn.gradient
    assert saturates == (quantizer.name == "activations")


def test_double_precision_is_kept() -> None:
    x = torch.tensor(POINTS, dtype=torch.float64)
    assert bnn.sign_slope(x).dtype == torch.float64
    for quantizer in bnn.QUANTIZERS:
        assert quantizer.quantize(x).dtype == quantizer.to_integers(x)[1].dtype == torch.float64


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(bnn.RECORD))
    with deterministic(0):
        metrics = bnn.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
    assert metrics["xnor_differences"] == 0
