from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.binary import bwnh
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import Split, digits
from reference_impls.kit.models import QuantConv2d, SmallCNN, identity
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=40)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def problem(seed: int, size: int = 7, filters: int = 3) -> tuple[Tensor, Tensor, Tensor, bwnh.Moments]:
    """Return filters, correlated inputs, other inputs near them, and the moments, all float64."""
    mixing = normal(size, size, seed=seed).double()
    inputs = mixing @ normal(size, 40, seed=seed + 1).double()
    others = inputs + 0.1 * normal(size, 40, seed=seed + 2).double()
    w = normal(filters, size, seed=seed + 3).double()
    outputs = w @ inputs
    return w, inputs, others, bwnh.Moments(others @ others.T, outputs @ others.T, outputs.square().sum(dim=1))


def test_moments_are_those_of_the_windows() -> None:
    w, real, binary = normal(5, 2, 3, 3), normal(3, 2, 4, 4, seed=1), normal(3, 2, 4, 4, seed=2)
    of = bwnh.moments(w, real, binary)
    padded = F.pad(torch.stack([real, binary]), (1, 1, 1, 1)).double().numpy()
    columns = [
        np.array([part[n, :, i : i + 3, j : j + 3].ravel() for n in range(3) for i in range(4) for j in range(4)]).T
        for part in padded
    ]
    outputs = w.flatten(1).double().numpy() @ columns[0]
    np.testing.assert_allclose(of.gram, columns[1] @ columns[1].T, rtol=1e-10)
    np.testing.assert_allclose(of.cross, outputs @ columns[1].T, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(of.power, (outputs**2).sum(axis=1), rtol=1e-6)
    assert of.gram.dtype == torch.float64
    reference = F.conv2d(real, w, padding=1).square().sum(dim=(0, 2, 3))
    assert torch.allclose(of.power.float(), reference, rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_objective_is_the_squared_distance_of_the_outputs(seed: int) -> None:
    w, inputs, others, of = problem(seed)
    codes, scales = torch.sign(normal(3, 7, seed=9)).double(), torch.tensor([0.5, -2.0, 1.3]).double()
    expected = (w @ inputs - scales[:, None] * (codes @ others)).square().sum(dim=1)
    assert torch.allclose(bwnh.objective(codes, scales, of), expected)


@pytest.mark.parametrize("seed", range(3))
def test_scales_are_the_least_squares_ones(seed: int) -> None:
    w, inputs, others, of = problem(seed)
    codes = torch.sign(normal(3, 7, seed=seed + 5)).double()
    scales = bwnh.best_scales(codes, of)
    for row in range(3):
        design = (codes[row] @ others)[:, None].numpy()
        expected = np.linalg.lstsq(design, (w[row] @ inputs).numpy(), rcond=None)[0]
        np.testing.assert_allclose(scales[row], expected[0])
    for factor in (0.99, 1.01):
        assert (bwnh.objective(codes, factor * scales, of) >= bwnh.objective(codes, scales, of)).all()


def test_scale_of_dead_inputs_is_zero() -> None:
    zeros = torch.zeros(3, 3).double()
    of = bwnh.Moments(zeros, torch.zeros(2, 3).double(), torch.zeros(2).double())
    assert bwnh.best_scales(torch.ones(2, 3).double(), of).tolist() == [0, 0]
    tiny = bwnh.Moments(1e-3 * torch.eye(3).double(), 1e-3 * torch.ones(2, 3).double(), torch.ones(2).double())
    assert bwnh.best_scales(torch.ones(2, 3).double(), tiny).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("seed", range(4))
def test_sweep_sets_each_bit_to_the_better_of_its_two_values_in_turn(seed: int) -> None:
    _, _, _, of = problem(seed)
    codes, scales = torch.sign(normal(3, 7, seed=seed + 8)).double(), torch.tensor([0.4, 1.0, -0.6]).double()
    given = codes.clone()
    result = bwnh.sweep(codes, scales, of)
    assert torch.equal(codes, given)  # the argument is left alone
    expected = codes.clone()
    for j in range(7):
        tried = []
        for bit in (1.0, -1.0):
            expected[:, j] = bit
            tried.append(bwnh.objective(expected, scales, of))
        expected[:, j] = torch.where(tried[0] <= tried[1], 1.0, -1.0).double()
    assert torch.equal(result, expected)


def test_data_blind_solution_is_the_best_for_the_weights_alone() -> None:
    w = torch.tensor([[0.5, -1.0, 0.0], [-3.0, 1.0, 2.0]])
    codes, scales = bwnh.data_blind(w)
    assert codes.tolist() == [[1, -1, 1], [-1, 1, 1]]
    assert scales.tolist() == [0.5, 2.0]
    errors = [
        float((w[0] - a * torch.tensor(b)).square().sum())
        for a in np.linspace(0, 1, 21)
        for b in itertools.product((-1.0, 1.0), repeat=3)
    ]
    assert float((w[0] - scales[0] * codes[0]).square().sum()) <= min(errors) + 1e-6


@PROPERTY
@given(st.integers(0, 10_000))
def test_no_round_raises_the_objective_and_hashing_ends_at_or_below_the_data_blind_solution(seed: int) -> None:
    w, _, _, of = problem(seed)
    course = [bwnh.objective(*bwnh.hash_weights(w, of, rounds), of) for rounds in range(8)]
    assert torch.allclose(course[0], bwnh.objective(*bwnh.data_blind(w), of))
    for before, after in itertools.pairwise(course):
        assert (after <= before * (1 + 1e-9)).all()
    codes, scales = bwnh.hash_weights(w, of)
    assert torch.equal(bwnh.sweep(codes, scales, of), codes)  # no bit can be bettered by itself
    assert set(codes.flatten().tolist()) <= {-1.0, 1.0}


@pytest.mark.parametrize("seed", range(6))
def test_hashing_comes_near_the_best_of_all_codes_where_plain_signs_do_not(seed: int) -> None:
    w, _, _, of = problem(10 * seed)
    patterns = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=7))).double()
    gains = (patterns @ of.cross.T).square() / ((patterns @ of.gram) * patterns).sum(dim=1, keepdim=True)  # (2^7, out)
    best = (of.power - gains.max(dim=0).values).sum()
    hashed = bwnh.objective(*bwnh.hash_weights(w, of), of).sum()
    blind = bwnh.objective(*bwnh.data_blind(w), of).sum()
    assert best * (1 - 1e-9) <= hashed < 0.5 * (best + blind)


def test_uncorrelated_inputs_leave_the_data_blind_solution_as_it_is() -> None:
    w = normal(4, 9).double()
    of = bwnh.Moments(3 * torch.eye(9).double(), 3 * w, 3 * w.square().sum(dim=1))
    for ours, theirs in zip(bwnh.hash_weights(w, of), bwnh.data_blind(w), strict=True):
        assert torch.allclose(ours, theirs)


def test_hashing_is_done_in_double_precision_and_for_twenty_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    w, _, _, of = problem(0)
    codes, scales = bwnh.hash_weights(w.float(), of)
    assert (codes.dtype, scales.dtype) == (torch.float64, torch.float64)
    calls = []
    monkeypatch.setattr(bwnh, "sweep", lambda codes, _, of: calls.append(of) or codes)  # type: ignore[func-returns-value]
    bwnh.hash_weights(w, of)
    assert len(calls) == 20
    assert all(given is of for given in calls)


def test_convolution_is_real_until_it_adopts_codes() -> None:
    conv = bwnh.HashedConv2d(2, 3)
    x = normal(2, 2, 5, 5)
    assert torch.equal(conv(x), F.conv2d(x, conv.weight, padding=1))
    assert conv.scale.shape == (3, 1, 1, 1)
    assert conv.scale.flatten().tolist() == [1, 1, 1]
    before = conv.weight.detach().clone()
    before[0, 0, 0, 0] = conv.weight.data[0, 0, 0, 0] = 0.0
    codes, scales = torch.sign(normal(3, 18, seed=4)).double(), torch.tensor([0.5, 2.0, 0.1]).double()
    codes[0, 0] = -1
    conv.adopt(codes, scales)
    expected = scales.float().reshape(3, 1, 1, 1) * codes.float().reshape(3, 2, 3, 3)
    assert torch.equal(conv(x), F.conv2d(x, expected, padding=1))
    assert torch.allclose(conv.weight.detach().abs(), before.abs(), atol=1e-7)
    assert torch.equal(torch.sign(conv.weight.detach()).flatten(1), codes.float())


def test_gradient_of_tuning_is_the_scale_for_latent_weights_and_the_codes_for_the_scale() -> None:
    conv = bwnh.HashedConv2d(2, 3)
    codes, scales = torch.sign(normal(3, 18)).double(), torch.tensor([0.5, 2.0, 0.1]).double()
    conv.adopt(codes, scales)
    upstream = normal(3, 2, 3, 3, seed=1)
    conv.quantizer(conv.weight).backward(upstream)  # type: ignore[no-untyped-call]
    assert conv.weight.grad is not None
    assert conv.scale.grad is not None
    assert torch.allclose(conv.weight.grad, scales.float().reshape(3, 1, 1, 1) * upstream)
    assert torch.allclose(conv.scale.grad.flatten(), (upstream.flatten(1) * codes).sum(dim=1).float(), rtol=1e-5)


def test_hashed_block_has_the_order_of_the_kit() -> None:
    block = bwnh.hashed_block(4, 8)
    assert [type(part) for part in block] == [nn.ReLU, bwnh.HashedConv2d, nn.MaxPool2d, nn.BatchNorm2d]
    assert block(normal(2, 4, 8, 8)).shape == (2, 8, 4, 4)
    assert bwnh.convolution(block) is block[1]


def test_weights_of_xnor_net_to_beat() -> None:
    w = torch.tensor([[[[0.5, -2.0, 1.0]]], [[[-1.0, 0.0, 0.5]]]], requires_grad=True)
    y = bwnh.binarize_weight(w)
    a, b = 3.5 / 3, 0.5
    assert torch.allclose(y.flatten(1), torch.tensor([[a, -a, a], [-b, b, b]]))
    upstream = torch.arange(1.0, 7.0).reshape(2, 1, 1, 3)
    (gradient,) = torch.autograd.grad(y, w, upstream)
    slope = torch.tensor([[1 / 3 + a, 1 / 3, 1 / 3 + a], [1 / 3 + b] * 3])
    assert torch.allclose(gradient, upstream * slope.reshape(2, 1, 1, 3))


def fresh(seed: int = 3) -> SmallCNN:
    with deterministic(seed):
        network = SmallCNN(bwnh.hashed_block)
        network(digits().train_x[:64])  # running statistics
    return network.eval()


@pytest.mark.parametrize("quantized", [True, False])
def test_layers_are_binarized_in_turn_from_quantized_or_real_inputs(*, quantized: bool) -> None:
    network, original = fresh(), fresh()
    given: list[tuple[Tensor, bwnh.Moments]] = []

    def solver(w: Tensor, of: bwnh.Moments) -> tuple[Tensor, Tensor]:
        given.append((w.clone(), of))
        return bwnh.hash_weights(w, of)

    bwnh.binarize_layers(network, solver, quantized_inputs=quantized)
    assert not network.training
    assert not any(p.requires_grad is False for p in network.parameters())
    x = original.stem(digits().train_x).detach()
    first, second = (bwnh.convolution(block) for block in original.blocks)
    expected = bwnh.moments(first.weight, F.relu(x), F.relu(x))
    assert torch.equal(given[0][0], first.weight.flatten(1))
    assert torch.allclose(given[0][1].gram, expected.gram)
    real, binary = original.blocks[0](x).detach(), network.blocks[0](x).detach()
    assert not torch.allclose(real, binary, rtol=0.1)
    expected = bwnh.moments(second.weight, F.relu(real), F.relu(binary if quantized else real))
    for ours, theirs in zip(given[1][1], expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-6)
    for block, (w, of) in zip(network.blocks, given, strict=True):
        conv = bwnh.convolution(block)
        codes, scales = bwnh.hash_weights(w, of)
        value = scales.reshape(-1, 1) * codes
        assert torch.allclose(conv.quantizer(conv.weight).flatten(1).double(), value, rtol=1e-6)


def test_quantized_inputs_are_the_default_and_training_mode_is_kept() -> None:
    default, asked = fresh().train(), fresh()
    bwnh.binarize_layers(default, bwnh.hash_weights)
    bwnh.binarize_layers(asked, bwnh.hash_weights, quantized_inputs=True)
    assert default.training
    assert default.blocks[0].training
    assert torch.equal(bwnh.convolution(default.blocks[1]).weight, bwnh.convolution(asked.blocks[1]).weight)
    running = default.blocks[0][3].running_mean  # type: ignore[index]
    assert torch.equal(running, fresh().blocks[0][3].running_mean)  # type: ignore[index]


def test_output_errors_compare_each_convolution_on_its_own_inputs_in_percent() -> None:
    real, binary = fresh(), fresh()
    assert bwnh.output_errors(real, fresh()) == [0, 0]
    bwnh.binarize_layers(binary, bwnh.data_blind)
    first, second = bwnh.output_errors(real, binary)
    x = real.stem(digits().test_x).detach()
    for error, (a, b), (p, q) in zip(
        (first, second),
        zip(real.blocks, binary.blocks, strict=True),
        ((x, x), (real.blocks[0](x), binary.blocks[0](x))),
        strict=True,
    ):
        wanted, found = bwnh.convolution(a)(F.relu(p)).detach(), bwnh.convolution(b)(F.relu(q)).detach()
        assert error == pytest.approx(100 * float((wanted - found).square().sum() / wanted.square().sum()), rel=1e-4)
        assert error > 5


def test_training_binarizes_when_half_of_the_steps_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    hooks: list[object] = []

    def watched(build: object, seed: int, *, epochs: int, after_step: object) -> nn.Module:
        network = build()  # type: ignore[operator]
        for step in range(1, 8):
            after_step(network, step, 7)  # type: ignore[operator]
            if len(calls) == 1 and not hooks:
                hooks.append(step)
        assert (seed, epochs) == (5, 2)
        assert isinstance(network, SmallCNN)
        return network

    monkeypatch.setattr(bwnh, "EPOCHS", 2)
    monkeypatch.setattr(bwnh, "train", watched)
    monkeypatch.setattr(bwnh, "binarize_layers", lambda network, solver: calls.append((network, solver)))
    real = bwnh.trained(5)
    assert calls == []
    assert isinstance(bwnh.convolution(real.blocks[0]), bwnh.HashedConv2d)
    network = bwnh.trained(5, bwnh.data_blind)
    assert calls == [(network, bwnh.data_blind)]
    assert hooks == [3]
    other = bwnh.convolution(bwnh.trained(5, None, bwnh.BWN).blocks[0])
    assert type(other) is QuantConv2d
    assert other.quantizer is bwnh.binarize_weight


def test_ways_without_training_differ_as_their_names_say() -> None:
    real = fresh()
    metrics = bwnh.without_training(real)
    kinds = ("output_error_1", "output_error_2", "weight_error", "accuracy")
    assert sorted(metrics) == sorted(f"{way}_{kind}" for way in ("hashed", "blind", "real_inputs") for kind in kinds)
    assert all(bwnh.convolution(block).quantizer is identity for block in real.blocks)
    w = bwnh.convolution(real.blocks[0]).weight.detach().flatten(1)
    blind = w - w.abs().mean(dim=1, keepdim=True) * torch.sign(w)
    share = float(blind.square().sum() / w.square().sum())
    assert metrics["blind_weight_error"] == pytest.approx(100 * share, rel=1e-4)
    assert metrics["hashed_output_error_1"] < metrics["blind_output_error_1"]
    assert metrics["hashed_weight_error"] > metrics["blind_weight_error"]
    assert metrics["hashed_output_error_1"] == metrics["real_inputs_output_error_1"]
    for way, solver, quantized in (("hashed", bwnh.hash_weights, True), ("real_inputs", bwnh.hash_weights, False)):
        network = fresh()
        bwnh.binarize_layers(network, solver, quantized_inputs=quantized)
        assert metrics[f"{way}_output_error_2"] == pytest.approx(bwnh.output_errors(real, network)[1], rel=1e-4)
    assert metrics["hashed_output_error_2"] != metrics["real_inputs_output_error_2"]


def test_growths_are_counted_by_filter_and_round(monkeypatch: pytest.MonkeyPatch) -> None:
    w, _, _, of = problem(1)
    assert bwnh.growths(w, of) == 0
    course = [[5.0, 5, 5], [4, 6, 5], [4, 5, 5], [5, 6, 5 + 1e-10], [1, 1, 1], [1, 1, 1], [1, 2, 1]]
    monkeypatch.setattr(bwnh, "hash_weights", lambda _w, _of, rounds: (rounds, None))
    monkeypatch.setattr(bwnh, "objective", lambda rounds, _scales, _of: torch.tensor(course[rounds]).double())
    assert bwnh.growths(w, of) == 4


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    data, seen, given = digits(), [], []
    tiny = Split(data.train_x[:128], data.train_y[:128], data.test_x, data.test_y)

    def watched(build: object, seed: int, *, epochs: int, after_step: object) -> nn.Module:
        seen.append((seed, epochs))
        return train(build, seed, epochs=epochs, after_step=after_step, data=tiny)  # type: ignore[arg-type]

    right = bwnh.growths
    monkeypatch.setattr(bwnh, "EPOCHS", 2)
    monkeypatch.setattr(bwnh, "train", watched)
    monkeypatch.setattr(bwnh, "growths", lambda w, of: given.append((w, of)) or right(w, of))  # type: ignore[func-returns-value]
    with deterministic(4):
        metrics = bwnh.reproduce(4)
    assert seen == [(4, 2)] * 4
    named = {claim.metric for claim in bwnh.CLAIMS} | {
        other for c in bwnh.CLAIMS if isinstance(other := c.expected if isinstance(c, Exact) else c.baseline, str)
    }
    assert named <= set(metrics)
    assert metrics["cnn_accuracy"] == metrics["bwnh"]
    assert metrics["growths"] == 0
    real = bwnh.trained(4)
    assert metrics["full_precision"] == bwnh.accuracy(real)  # type: ignore[attr-defined]
    assert metrics["bwnh"] == bwnh.accuracy(bwnh.trained(4, bwnh.hash_weights))  # type: ignore[attr-defined]
    assert metrics["blind_start"] == bwnh.accuracy(bwnh.trained(4, bwnh.data_blind))  # type: ignore[attr-defined]
    assert metrics["binary_weights"] == bwnh.accuracy(bwnh.trained(4, None, bwnh.BWN))  # type: ignore[attr-defined]
    conv, x = bwnh.convolution(real.blocks[0]), F.relu(real.stem(data.train_x)).detach()
    assert torch.equal(given[0][0], conv.weight.detach().flatten(1))
    assert torch.allclose(given[0][1].gram, bwnh.moments(conv.weight.detach(), x, x).gram)
    assert metrics["hashed_output_error_1"] == pytest.approx(bwnh.without_training(real)["hashed_output_error_1"])


def test_quantizer_on_offer_spreads_its_signs_so_that_neighbours_average_to_the_weights() -> None:
    (quantizer,) = bwnh.QUANTIZERS
    x = normal(5, 4, 3)
    integers, scale = quantizer.to_integers(x)
    assert integers.dtype == torch.int64
    assert scale.shape == (5, 1, 1)
    assert set(integers.flatten().tolist()) == {-1, 1}
    assert torch.equal(scale * integers, quantizer.quantize(x))
    assert quantizer.to_integers(x.double())[1].dtype == torch.float64
    w = torch.linspace(-1, 1, 60, dtype=torch.float64)[None]
    gram = torch.tensor([[0.9 ** abs(j - k) for k in range(60)] for j in range(60)], dtype=torch.float64)
    of = bwnh.Moments(gram, w @ gram, ((w @ gram) * w).sum(dim=1))
    codes, scales = bwnh.hash_weights(w, of)
    integers, scale = quantizer.to_integers(w)
    assert torch.equal(integers.double(), codes)
    assert torch.allclose(scale[:, 0], scales)
    hashed = float(bwnh.objective(codes, scales, of))
    assert hashed < 0.3 * float(bwnh.objective(*bwnh.data_blind(w), of))
    drawn = curve(quantizer)
    assert len(set(drawn.y)) == 2
    assert set(drawn.gradient) == {max(drawn.y)}


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(bwnh.RECORD))
    with deterministic(0):
        metrics = bwnh.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    assert metrics["growths"] == 0
    wavering = {f"{way}_accuracy" for way in ("hashed", "blind", "real_inputs")}  # nets that were never tuned
    for name, value in metrics.items():
        assert name in wavering or value == pytest.approx(accepted.metrics[name][0], abs=3), name
