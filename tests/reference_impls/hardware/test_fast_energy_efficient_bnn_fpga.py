from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv2d

from reference_impls.fpga.network import INPUT_SCALE, Network
from reference_impls.fpga.ports import IntArray, Port
from reference_impls.fpga.simulate import simulate
from reference_impls.hardware import fast_energy_efficient_bnn_fpga as fast
from reference_impls.hardware.fast_energy_efficient_bnn_fpga import Reuse
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import digits
from reference_impls.kit.quantizers import Quantizer, curve
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=15)


def operands(unit: Reuse, frames: int, seed: int = 0, share: float = 0.7) -> IntArray:
    """Random vectors of which neighbours agree in about `share` of their bits, some in all."""
    random = np.random.default_rng(seed)
    found = random.choice(np.array([-1, 1]), (frames, unit.input.beats, unit.columns))
    for place in range(1, unit.input.beats):
        same = random.random((frames, unit.columns)) < (1.0 if place % 4 == 3 else share)
        found[:, place] = np.where(same, found[:, place - 1], found[:, place])
    return found.reshape(frames, -1)


def counted(unit: Reuse, frames: IntArray) -> tuple[list[list[int]], list[int]]:
    """Outputs and cycles, one bit at a time, counts kept from vector to vector."""
    outputs, cycles = [], []
    for frame in frames.reshape(len(frames), -1, unit.columns).tolist():
        stay, stream = frame[: unit.stationary], frame[unit.stationary :]
        counts, before, row, spent = [0] * unit.stationary, None, [], len(frame)
        for vector in stream:
            touched, added = set(), 0
            if before is None or not unit.reuse:
                counts = [0] * unit.stationary
            for j, bit in enumerate(vector):
                if before is not None and unit.reuse and bit == before[j]:
                    continue
                added += 1
                touched.add(j // unit.word)
                for p, other in enumerate(stay):
                    counts[p] += 1 if bit == other[j] else -1 if before is not None and unit.reuse else 0
            before = vector
            spent += len(touched)
            row += [*counts, added]
        outputs.append(row)
        cycles.append(spent)
    return outputs, cycles


UNITS = [
    Reuse(12, 3, 5, 4),
    Reuse(12, 3, 5, 4, reuse=False),
    Reuse(8, 1, 6, 1),
    Reuse(6, 4, 1, 6),
    Reuse(18, 2, 4, 3),
    Reuse(7, 2, 3, 7),
]


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_counts_additions_and_cycles_are_those_of_counting_one_by_one(unit: Reuse) -> None:
    frames = operands(unit, 5)
    outputs, cycles = counted(unit, frames)
    assert unit.model(frames).tolist() == outputs
    assert unit.cycles(frames).tolist() == cycles
    assert (unit.cycles(frames) <= unit.interval).all()
    run = simulate(unit, frames, restart=True)
    assert run.outputs.tolist() == outputs
    ends = run.emitted[unit.streamed - 1 :: unit.streamed]
    assert np.diff(ends).tolist() == cycles[1:]
    assert run.cycles == sum(cycles) + 2
    assert run.latency == unit.latency
    stalled = simulate(unit, frames, stall=0.4, seed=2)
    assert stalled.outputs.tolist() == outputs


def test_without_reuse_every_frame_takes_the_interval() -> None:
    unit = Reuse(12, 3, 5, 4, reuse=False)
    run = simulate(unit, operands(unit, 6))
    assert run.interval == unit.interval == 3 + 5 * 4
    assert (unit.cycles(operands(unit, 6)) == unit.interval).all()
    assert unit.model(operands(unit, 2)).reshape(2, 5, 4)[..., 3].tolist() == [[12] * 5] * 2


def test_the_ports_of_a_worked_example() -> None:
    unit = Reuse(12, 3, 5, 4)
    assert unit.input == Port(1, "bipolar", 12, 8)
    assert unit.output == Port(4, "unsigned", 4, 5)
    assert (unit.interval, unit.latency, unit.depth) == (23, 8, 0)
    assert unit.reuse


@PROPERTY
@given(st.integers(1, 3), st.integers(1, 4), st.tuples(st.integers(1, 3), st.integers(1, 4)), st.integers(0, 99))
def test_reuse_changes_no_count(stationary: int, streamed: int, size: tuple[int, int], seed: int) -> None:
    word, words = size
    unit = Reuse(word * words, stationary, streamed, word)
    frames = operands(unit, 2, seed, share=0.5)
    vectors = frames.reshape(2, -1, unit.columns)
    run = simulate(unit, frames, stall=0.3 * (seed % 2), seed=seed)
    counts = run.outputs.reshape(2, streamed, -1)[..., :-1]
    products = np.einsum("ftj,fpj->ftp", vectors[:, stationary:], vectors[:, :stationary])
    assert np.array_equal(2 * counts - unit.columns, products)


@pytest.mark.parametrize("sizes", [(12, 0, 5, 4), (12, 3, 0, 4), (12, 3, 5, 0), (12, 3, 5, 5), (12, 3, 5, 24)], ids=str)
def test_sizes_that_do_not_fit_are_refused(sizes: tuple[int, int, int, int]) -> None:
    message = f"^there must be vectors, and words of {sizes[3]} must divide 12 bits$"
    with pytest.raises(ValueError, match=message):
        Reuse(*sizes)


def test_one_flipped_bit_changes_its_counts_only() -> None:
    unit = Reuse(12, 3, 5, 4)
    frames = operands(unit, 1)
    right = simulate(unit, frames).outputs.reshape(5, 4)
    streamed, stationary = frames.copy(), frames.copy()
    streamed[0, (3 + 2) * 12 + 7] *= -1  # bit 7 of streamed vector 2
    stationary[0, 1 * 12 + 7] *= -1  # bit 7 of stationary vector 1
    changed = simulate(unit, streamed).outputs.reshape(5, 4)[:, :3] != right[:, :3]
    assert changed.tolist() == [[t == 2] * 3 for t in range(5)]
    changed = simulate(unit, stationary).outputs.reshape(5, 4)[:, :3] != right[:, :3]
    assert changed.tolist() == [[p == 1 for p in range(3)]] * 5


def test_windows_times_kernels_are_the_convolution() -> None:
    random = np.random.default_rng(0)
    maps, kernels = (random.choice(np.array([-1, 1]), shape) for shape in ((3, 5, 6, 7), (4, 5, 3, 3)))
    sums = fast.windows(maps) @ fast.windows(kernels)[:, 0].T  # (N, windows, kernels)
    expected = conv2d(torch.from_numpy(maps).double(), torch.from_numpy(kernels).double())
    assert np.array_equal(sums.transpose(0, 2, 1).reshape(3, 4, 4, 5), expected.numpy())
    assert fast.windows(maps)[1, 6].tolist() == [
        maps[1, c, 1 + y, 1 + x] for y in range(3) for x in range(3) for c in range(5)
    ]


def test_similarity_is_the_share_of_equal_bits_of_neighbours() -> None:
    vectors = np.array([[1, 1, 1, 1], [1, -1, 1, 1], [-1, 1, -1, 1]])
    assert fast.similarity(vectors) == 100 * (3 + 1) / 8
    assert fast.similarity(np.stack([vectors, np.ones((3, 4))])) == 100 * (3 + 1 + 8) / 16


def test_kernels_follow_their_nearest_from_the_best_start() -> None:
    line = np.where(np.arange(6) < np.arange(7)[:, None], 1, -1)  # neighbours differ in one bit
    found = fast.short_steps(line[[3, 0, 6, 2, 5, 1, 4]])
    assert np.array_equal(found, line) or np.array_equal(found, line[::-1])
    random = np.random.default_rng(1)
    vectors = random.choice(np.array([-1, 1]), (8, 20))
    ordered = fast.short_steps(vectors)
    assert sorted(ordered.tolist()) == sorted(vectors.tolist())
    lengths = []
    for start in range(8):
        tour = [start]
        while len(tour) < 8:
            rest = [k for k in range(8) if k not in tour]
            tour.append(min(rest, key=lambda k: (int((vectors[k] != vectors[tour[-1]]).sum()), k)))
        lengths.append(int((vectors[tour[1:]] != vectors[tour[:-1]]).sum()))
    assert int((ordered[1:] != ordered[:-1]).sum()) == min(lengths) < max(lengths)


def test_work_counts_the_additions_and_cycles_of_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = Reuse(12, 3, 5, 4)
    frames = operands(unit, 4)
    vectors = frames.reshape(4, -1, 12)
    outputs, cycles = counted(unit, frames)
    additions = 3 * sum(sum(row[3::4]) for row in outputs)
    assert fast.work(unit, vectors[:, :3], vectors[:, 3:]) == (additions / 4, sum(cycles) / 4, 0)
    monkeypatch.setattr(fast, "simulate", lambda _, x: simulate(unit, np.where(np.arange(x.shape[1]) == 40, -x, x)))
    wrong = fast.work(unit, vectors[:, :3], vectors[:, 3:])[2]
    assert wrong == 4 * 3  # bit 4 of the first streamed vector, in each frame


@pytest.mark.parametrize("quantizer", fast.QUANTIZERS, ids=lambda q: q.name)
def test_quantizers_are_signs_with_the_gradients_of_bnn(quantizer: Quantizer) -> None:
    x = torch.tensor([-3.0, -1.001, -1.0, -0.4, 0.0, 0.25, 1.0, 1.001], requires_grad=True)
    y = quantizer.quantize(x)
    assert y.tolist() == [-1, -1, -1, -1, 1, 1, 1, 1]
    upstream = torch.arange(1.0, 9.0)
    (gradient,) = torch.autograd.grad(y, x, upstream)
    assert torch.equal(gradient, upstream * (x.detach().abs() <= 1))
    integers, scale = quantizer.to_integers(x.detach().double())
    assert (integers.dtype, scale.dtype, float(scale)) == (torch.int64, torch.float64, 1.0)
    assert torch.equal(integers, y.to(torch.int64))
    assert set(curve(quantizer).y) == {-1.0, 1.0}
    assert (quantizer.bits, [q.name for q in fast.QUANTIZERS]) == (1, ["weights", "activations"])


def test_the_toy_network_is_all_binary() -> None:
    net = fast.toy_network()
    assert [tuple(layer.weight.shape) for layer in net.linear()] == [(8, 1, 3, 3), (16, 8, 3, 3), (10, 64)]
    assert [layer.input_scale for layer in net.linear()] == [INPUT_SCALE, 1, 1]
    assert [layer.bias is not None for layer in net.linear()] == [False, False, True]
    assert {layer.quantizer for layer in net.linear()} == {fast.WEIGHTS}
    assert net.activation.quantizer is fast.ACTIVATIONS
    assert net.pools == (1, 2)
    assert net(digits().test_x[:3]).shape == (3, 10)


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Reuse, IntArray, IntArray]] = []
    answers = [(16 * 1152.0, 176.0, 1), (16 * 576.0, 104.0, 2), (16 * 288.0, 68.0, 4)]
    built: list[Network] = []

    def made(build: Callable[[], Network], seed: int) -> Network:
        assert (build, seed) == (fast.toy_network, 7)
        with deterministic(3):
            built.append(build())
            built[0](digits().train_x[:300])
        return built[0].eval()

    def worked(unit: Reuse, stay: IntArray, stream: IntArray) -> tuple[float, float, int]:
        calls.append((unit, stay, stream))
        return answers[len(calls) - 1]

    monkeypatch.setattr(fast, "train", made)
    monkeypatch.setattr(fast, "work", worked)
    metrics = fast.reproduce(7)
    named = {claim.metric for claim in fast.CLAIMS}
    named |= {claim.baseline for claim in fast.CLAIMS if not isinstance(claim, Exact)}
    assert named <= set(metrics)
    assert [unit for unit, _, _ in calls] == [Reuse(72, 16, 16, 8, r) for r in (False, True, True)]
    layer = built[0].linear()[1]
    with torch.no_grad():
        maps = built[0].hidden(digits().test_x)[0]
        sums = layer.accumulate(maps[:8]).flatten(2).numpy()  # (N, kernels, windows)
    kernels = layer.integers()[0].permute(0, 2, 3, 1).flatten(1).numpy()
    for (_, stay, stream), input_reuse in zip(calls, (True, True, False), strict=True):
        found = stream @ stay.transpose(0, 2, 1)
        found = found.transpose(0, 2, 1) if input_reuse else found  # (N, kernels in short steps, windows)
        order = [kernels.tolist().index(row) for row in (stay if input_reuse else stream)[0].tolist()]
        assert sorted(order) == list(range(16))
        assert np.array_equal(found, sums[:, order])
        assert np.array_equal(kernels[order], fast.short_steps(kernels))
    moving = fast.windows(maps.to(torch.int64).numpy())
    assert metrics["input_similarity"] == fast.similarity(moving)
    assert metrics["kernel_similarity"] == fast.similarity(fast.short_steps(kernels))
    ones = float((maps > 0).double().mean(dim=(2, 3)).pow(2).mean())
    zeros = float((maps < 0).double().mean(dim=(2, 3)).pow(2).mean())
    assert metrics["shuffled_input_similarity"] == pytest.approx(100 * (ones + zeros), abs=2)  # pixels of a map mixed
    assert 52 < metrics["random_kernel_similarity"] < 64
    assert metrics["wrong_counts"] == 7
    assert metrics["additions_skipped_by_input_reuse"] == 50
    assert metrics["additions_skipped_by_weight_reuse"] == metrics["additions_skipped"] == 75
    assert metrics["reads_skipped"] == 75
    assert (metrics["cycles"], metrics["cycles_with_reuse"]) == (176, 68)
    assert metrics["speedup_of_single_bits"] == (32 + 1152) / (32 + 288)
    calls.clear()
    built.clear()
    assert fast.reproduce(7) == metrics  # shuffled maps and random kernels follow the seed


def test_the_speedup_of_single_bits_is_that_of_a_unit_with_words_of_one_bit() -> None:
    full, reused = (Reuse(12, 3, 5, 1, reuse=r) for r in (False, True))
    frames = operands(full, 3).reshape(3, -1, 12)
    first, second = (fast.work(unit, frames[:, :3], frames[:, 3:]) for unit in (full, reused))
    assert first[1] / second[1] == (8 + first[0] / 3) / (8 + second[0] / 3)


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = {name: values[0] for name, values in read(result_path(fast.RECORD)).metrics.items()}
    with deterministic(0):
        metrics = fast.reproduce(0)
    assert metrics.keys() == accepted.keys()
    assert metrics["wrong_counts"] == accepted["wrong_counts"] == 0
    assert metrics["cycles"] == accepted["cycles"]
    assert metrics == {name: pytest.approx(value, abs=3) for name, value in accepted.items()}
