from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.binary import bitwise_nn as bw
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import Split, digits
from reference_impls.kit.models import QuantConv2d, SmallCNN, identity
from reference_impls.kit.quantizers import Quantizer, curve
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
POINTS = [-3.0, -0.75, -0.4, -0.1, -0.0, 0.0, 0.25, 0.4, 1.0, 2.5]
UPSTREAM = torch.arange(1.0, len(POINTS) + 1)
STAGES = [bw.COMPRESSED, bw.UNCOMPRESSED, bw.NOISY, bw.SPARSE, bw.TANH_SLOPE]


def gradient(y: Tensor, x: Tensor, upstream: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(y, x, upstream)
    return result


@PROPERTY
@given(
    st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=30, unique_by=abs),
    st.floats(0, 0.99),
)
def test_the_boundary_makes_the_asked_share_of_weights_inactive(values: list[float], sparsity: float) -> None:
    w = torch.tensor(values)
    beta = float(bw.boundary(w, sparsity))
    inactive = int(sparsity * len(values))
    assert sum(abs(v) < beta for v in values) == inactive
    expected = [0 if abs(v) < beta else (1 if v >= 0 else -1) for v in values]
    assert bw.binarize(w, sparsity).tolist() == expected
    assert bw.binarize(5 * w, sparsity).tolist() == expected


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, 1.5])
def test_a_share_of_weights_must_leave_some_active(sparsity: float) -> None:
    with pytest.raises(ValueError, match=rf"^sparsity must lie in \[0, 1\), got {sparsity}$"):
        bw.boundary(torch.ones(4), sparsity)
    assert float(bw.boundary(torch.tensor([[3.0, -1.0], [2.0, 4.0]]), 0.99)) == 4


def test_weights_are_signs_and_pass_the_gradient_whole_which_rounding_and_saturation_would_not() -> None:
    w = torch.tensor(POINTS, requires_grad=True)
    y = bw.binarize(w)
    assert y.tolist() == [1 if v >= 0 else -1 for v in POINTS]
    assert torch.equal(gradient(y, w, UPSTREAM), UPSTREAM)
    sparse = bw.binarize(w, 0.4)  # inactive are the zeros, -0.1 and 0.25
    assert sparse.tolist() == [-1, -1, -1, 0, 0, 0, 0, 1, 1, 1]
    assert torch.equal(gradient(sparse, w, UPSTREAM), UPSTREAM)


def test_units_are_signs_whose_gradient_is_the_identity_or_that_of_tanh() -> None:
    a = torch.tensor(POINTS, dtype=torch.float64, requires_grad=True)
    signs = [1 if v >= 0 else -1 for v in POINTS]
    noisy, tanh = bw.binarize_unit(a), bw.binarize_unit_tanh(a)
    assert noisy.tolist() == tanh.tolist() == signs
    assert torch.equal(gradient(noisy, a, UPSTREAM.double()), UPSTREAM.double())
    expected = UPSTREAM.numpy() / np.cosh(POINTS) ** 2
    np.testing.assert_allclose(gradient(tanh, a, UPSTREAM.double()), expected, rtol=1e-12)


def test_the_stages_are_the_papers_and_their_ablations() -> None:
    assert bw.Stage(torch.tanh, torch.tanh, torch.tanh) == bw.COMPRESSED
    assert bw.Stage(identity, identity, torch.tanh) == bw.UNCOMPRESSED
    assert bw.Stage(bw.binarize, bw.binarize, bw.binarize_unit) == bw.NOISY
    assert bw.Stage(bw.binarize, bw.binarize, bw.binarize_unit_tanh) == bw.TANH_SLOPE
    assert (bw.SPARSE.bias, bw.SPARSE.unit) == (bw.binarize, bw.binarize_unit)
    w = torch.randn(50, 20)
    assert int((bw.SPARSE.weight(w) == 0).sum()) == 300
    assert torch.equal(bw.SPARSE.weight(w), bw.binarize(w, 0.3))


def tiny(rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    widths = (3, 4, 2)
    weights = [rng.normal(size=(b, a)) for a, b in itertools.pairwise(widths)]
    biases = [rng.normal(size=b) for b in widths[1:]]
    return weights, biases, rng.choice([-1.0, 1.0], size=(6, 3))


def build(weights: list[np.ndarray], biases: list[np.ndarray], stage: bw.Stage) -> nn.Module:
    parts: list[nn.Module] = []
    for w, b in zip(weights, biases, strict=True):
        layer = bw.BitwiseLinear(w.shape[1], w.shape[0])
        layer.weight.data, layer.bias.data = torch.tensor(w), torch.tensor(b)
        parts += [layer, bw.Unit()]
    return bw.enter(nn.Sequential(*parts[:-1]), stage)


def gradients(network: nn.Module, x: np.ndarray, upstream: np.ndarray) -> list[Tensor]:
    y = network(torch.tensor(x))
    return list(torch.autograd.grad(y, list(network.parameters()), torch.tensor(upstream)))


def test_noisy_backpropagation_equals_the_papers_sums_which_a_derivative_of_tanh_would_change() -> None:
    rng = np.random.default_rng(5)
    weights, biases, z0 = tiny(rng)
    w0, w1 = (np.where(w >= 0, 1.0, -1.0) for w in weights)
    b0, b1 = (np.where(b >= 0, 1.0, -1.0) for b in biases)
    z1 = np.where(z0 @ w0.T + b0 >= 0, 1.0, -1.0)
    network = build(weights, biases, bw.NOISY)
    np.testing.assert_array_equal(network(torch.tensor(z0)).detach(), z1 @ w1.T + b1)
    delta2 = rng.normal(size=(6, 2))
    delta1 = delta2 @ w1  # no derivative of the unit
    expected = [delta1.T @ z0, delta1.sum(axis=0), delta2.T @ z1, delta2.sum(axis=0)]
    for measured, wanted in zip(gradients(network, z0, delta2), expected, strict=True):
        np.testing.assert_allclose(measured, wanted, rtol=1e-12)


def test_stage_one_equals_the_papers_sums_with_both_derivatives_of_tanh() -> None:
    rng = np.random.default_rng(6)
    weights, biases, z0 = tiny(rng)
    w0, w1 = (np.tanh(w) for w in weights)
    b0, b1 = (np.tanh(b) for b in biases)
    z1 = np.tanh(z0 @ w0.T + b0)
    network = build(weights, biases, bw.COMPRESSED)
    np.testing.assert_allclose(network(torch.tensor(z0)).detach(), z1 @ w1.T + b1, rtol=1e-12)
    delta2 = rng.normal(size=(6, 2))
    delta1 = delta2 @ w1 * (1 - z1**2)
    expected = [
        delta1.T @ z0 * (1 - w0**2),
        delta1.sum(axis=0) * (1 - b0**2),
        delta2.T @ z1 * (1 - w1**2),
        delta2.sum(axis=0) * (1 - b1**2),
    ]
    for measured, wanted in zip(gradients(network, z0, delta2), expected, strict=True):
        np.testing.assert_allclose(measured, wanted, rtol=1e-12)


def test_a_network_starts_in_stage_one_and_enters_others_with_its_parameters() -> None:
    with deterministic(0):
        network = bw.mlp()
    before = [p.clone() for p in network.parameters()]
    assert [tuple(p.shape) for p in network.parameters()] == [(64, 64), (64,)] * 2 + [(10, 64), (10,)]
    staged = [part for part in network if isinstance(part, bw.BitwiseLinear | bw.Unit)]
    kinds = [type(part).__name__ for part in network]
    assert kinds == ["BitwiseLinear", "Unit"] * 2 + ["BitwiseLinear", "Scale"]
    assert all(part.stage is bw.COMPRESSED for part in staged)
    for stage in STAGES:
        assert bw.enter(network, stage) is network
        assert all(part.stage is stage for part in staged)
    assert all(torch.equal(p, q) for p, q in zip(network.parameters(), before, strict=True))


def test_output_sums_are_divided_by_the_root_of_the_hidden_width() -> None:
    network = bw.enter(bw.mlp(), bw.NOISY)
    x = bw.bit_digits().test_x[:9]
    torch.testing.assert_close(network(x), network[:-1](x) / math.sqrt(64), rtol=0, atol=0)  # type: ignore[index]
    assert set((8 * network(x) % 2).flatten().tolist()) == {1.0}  # 64 bits and a bias: sums are odd


@pytest.mark.parametrize("fan_in", [1, 7, 8, 9, 64])
def test_xnor_sums_equal_the_product_with_bits_and_with_inactive_weights(fan_in: int) -> None:
    rng = np.random.default_rng(fan_in)
    x = rng.choice([-1.0, 1.0], size=(5, fan_in))
    for levels in ([-1.0, 1.0], [-1.0, 0.0, 1.0], [0.0]):
        w = rng.choice(levels, size=(4, fan_in))
        sums = bw.xnor_sums(torch.tensor(x), torch.tensor(w))
        assert sums.dtype == torch.int64
        np.testing.assert_array_equal(sums, (x @ w.T).astype(np.int64))


@pytest.mark.parametrize("stage", [bw.NOISY, bw.SPARSE])
def test_running_on_bits_is_the_network_in_whole_numbers(stage: bw.Stage) -> None:
    with deterministic(2):
        network = bw.enter(bw.mlp(), stage)
    x = bw.bit_digits().test_x[:30]
    sums, different = bw.run_on_bits(network, x)
    assert different == 0
    assert sums.dtype == torch.int64
    assert torch.equal(sums / 8, network(x))


def test_running_on_bits_counts_every_sum_that_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    with deterministic(2):
        network = bw.enter(bw.mlp(), bw.NOISY)
    right = bw.xnor_sums
    monkeypatch.setattr(bw, "xnor_sums", lambda x, w: right(x, w) + 1)
    assert bw.run_on_bits(network, bw.bit_digits().test_x[:3])[1] == 3 * (64 + 64 + 10)


def test_bit_digits_say_whether_a_pixel_is_at_least_half_bright() -> None:
    data, full = bw.bit_digits(), digits()
    for bits, grey in ((data.train_x, full.train_x), (data.test_x, full.test_x)):
        assert torch.equal(bits, torch.where(grey.reshape(-1, 64) >= 0, 1.0, -1.0))
    assert data.train_y is full.train_y
    assert data.test_y is full.test_y


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[tuple[str, int, int, bool, list[Tensor]]] = []
    names = {id(stage): name for name, stage in vars(bw).items() if isinstance(stage, bw.Stage)}
    few = Split(*(part[:128] for part in vars(bw.bit_digits()).values()))
    grey = Split(*(part[:128] for part in vars(digits()).values()))

    def watched(build: object, seed: int, *, epochs: int = 8, data: Split | None = None) -> nn.Module:
        with deterministic(seed):
            first = build()  # type: ignore[operator]
        stage = next(part.stage for part in first.modules() if isinstance(part, bw.Unit))
        runs.append((names[id(stage)], seed, epochs, data is None, [p.clone() for p in first.parameters()]))
        result = train(build, seed, epochs=1, data=grey if data is None else few)  # type: ignore[arg-type]
        runs[-1][-1].append(next(iter(result.parameters())).detach().clone())
        if data is None:
            assert isinstance(result, SmallCNN)
            quantizers = {part.quantizer for part in result.modules() if isinstance(part, QuantConv2d)}
            assert quantizers == {stage.weight}
        return result

    right = bw.run_on_bits

    def two_wrong(network: nn.Module, x: Tensor) -> tuple[Tensor, int]:
        sums, different = right(network, x)
        return sums, different + 2

    monkeypatch.setattr(bw, "train", watched)
    monkeypatch.setattr(bw, "run_on_bits", two_wrong)
    metrics = bw.reproduce(4)
    assert [run[:4] for run in runs] == [
        ("COMPRESSED", 4, 6, False),
        ("UNCOMPRESSED", 4, 6, False),
        ("NOISY", 4, 6, False),
        ("SPARSE", 4, 6, False),
        ("TANH_SLOPE", 4, 6, False),
        ("COMPRESSED", 4, 12, False),
        ("NOISY", 4, 12, False),
        ("COMPRESSED", 4, 4, True),
        ("NOISY", 4, 4, True),
    ]
    starts, ends = [run[-1][0] for run in runs], [run[-1][-1] for run in runs]
    assert all(torch.equal(starts[index], ends[0]) for index in (2, 3, 4))  # stage 2 starts where stage 1 ended
    assert all(torch.equal(starts[index], starts[0]) for index in (1, 5, 6))  # from scratch, the same numbers
    assert torch.equal(starts[8], ends[7])
    assert not torch.equal(ends[2], ends[0])
    named = {name for claim in bw.CLAIMS for name in (claim.metric, *_baseline(claim))}
    assert named | {"sparse", "tanh_slope", "cnn_accuracy"} == set(metrics)
    assert metrics["xnor_differences"] == 4  # two networks run on bits
    assert metrics["xnor_accuracy"] == metrics["bitwise"]
    assert all(0 < value <= 100 for name, value in metrics.items() if name != "xnor_differences")
    assert len(set(metrics.values())) >= 7


def _baseline(claim: object) -> list[str]:
    named = claim.expected if isinstance(claim, Exact) else getattr(claim, "baseline", None)
    return [named] if isinstance(named, str) else []


@pytest.mark.parametrize("quantizer", bw.QUANTIZERS, ids=lambda q: q.name)
def test_quantizers_are_scale_times_integers_on_their_levels(quantizer: Quantizer) -> None:
    x = torch.randn(7, 5, 3)
    integers, scale = quantizer.to_integers(x)
    assert integers.dtype == torch.int64
    assert scale.dtype == x.dtype
    assert torch.equal(scale * integers, quantizer.quantize(x))
    drawn = curve(quantizer)
    sparse = quantizer.name == "sparse weights"
    assert drawn.bits == (2 if sparse else 1)
    assert set(drawn.y) == ({-1.0, 0.0, 1.0} if sparse else {-1.0, 1.0})
    assert set(drawn.gradient) == {1.0}
    assert [q.name for q in bw.QUANTIZERS] == ["weights", "sparse weights", "activations"]


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(bw.RECORD))
    with deterministic(0):
        metrics = bw.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
    assert metrics["xnor_differences"] == 0
