"""BinaryRelax: exact projections against all candidates, the blend against a search, and the two phases of training."""

from __future__ import annotations

import itertools
import math
from functools import cache, partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import Split, digits
from reference_impls.kit.models import SmallCNN, conv_block, identity
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import read
from reference_impls.kit.ste import sign
from reference_impls.kit.train import accuracy, deterministic, train
from reference_impls.relaxation import binary_relax as br

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=40)
rows = st.lists(st.floats(-4, 4).map(lambda v: round(v, 3)), min_size=1, max_size=4)
three_bits = partial(br.scaled_parts, largest=3)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@cache
def candidates(levels: tuple[int, ...], length: int) -> NDArray[np.float64]:
    return np.array(list(itertools.product(levels, repeat=length)), dtype=float)


def least_distance(y: list[float], levels: range | tuple[int, ...]) -> float:
    """The least squared distance to a non-negative scale times integers, by trying all integers."""
    q = candidates(tuple(levels), len(y))
    scales = np.maximum(q @ np.array(y), 0) / np.maximum((q**2).sum(axis=1), 1)
    return float(((np.array(y) - scales[:, None] * q) ** 2).sum(axis=1).min())


@pytest.mark.parametrize(
    ("parts", "levels"), [(br.binary_parts, (-1, 1)), (br.ternary_parts, range(-1, 2)), (three_bits, range(-3, 4))]
)
@PROPERTY
@given(row=rows)
def test_the_projection_is_the_nearest_of_all_quantized_weights(
    parts: br.Parts, levels: range | tuple[int, ...], row: list[float]
) -> None:
    y = double(*row)
    integers, scale = parts(y)
    assert integers.dtype == torch.int64
    assert set(integers.tolist()) <= set(levels)
    assert float(scale) >= 0
    assert bool((integers * y >= 0).all()), "no integer has the wrong sign"
    reached = float((y - br.project(y, parts)).square().sum())
    assert reached == pytest.approx(least_distance(row, levels), abs=1e-9)


def test_the_closed_forms_by_hand() -> None:
    y = double(0.9, -0.5, 0.1, -0.3)
    assert br.project(y, br.binary_parts).tolist() == pytest.approx([0.45, -0.45, 0.45, -0.45])
    # t = 1: 0.81; t = 2: 1.4^2 / 2 = 0.98; t = 3: 1.7^2 / 3 = 0.963; t = 4: 1.8^2 / 4 = 0.81.
    integers, scale = br.ternary_parts(y)
    assert integers.tolist() == [1, -1, 0, 0]
    assert float(scale) == pytest.approx(0.7)
    assert not torch.allclose(br.project(y, br.ternary_parts), scale * torch.round(y)), "plain rounding"
    integers, scale = three_bits(double(3, -2, 1, 0.1))
    assert integers.tolist() == [3, -2, 1, 0]
    assert float(scale) == pytest.approx(1.0)


def test_the_ternary_integers_are_those_of_the_sorted_search() -> None:
    y = torch.randn(7, 5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sizes = np.sort(np.abs(y.numpy().flatten()))[::-1]
    t = int(np.argmax(np.cumsum(sizes) ** 2 / np.arange(1, 106))) + 1
    integers, scale = br.ternary_parts(y)
    assert integers.shape == y.shape
    assert int(integers.abs().sum()) == t
    assert float(scale) == pytest.approx(sizes[:t].mean())
    assert bool((integers == torch.sign(y) * (y.abs() >= sizes[t - 1])).all())


def test_all_levels_are_walked_and_signs_are_plus_one_at_zero() -> None:
    line = torch.linspace(-1, 1, 401)
    assert sorted(set(br.binary_parts(line)[0].tolist())) == [-1, 1]
    assert sorted(set(br.ternary_parts(line)[0].tolist())) == [-1, 0, 1]
    assert sorted(set(three_bits(line)[0].tolist())) == list(range(-3, 4))
    assert br.binary_parts(torch.zeros(2))[0].tolist() == [1, 1]
    assert br.project(torch.zeros(2, 3), three_bits).tolist() == [[0.0] * 3] * 2


@PROPERTY
@given(rows, st.floats(0.1, 9))
def test_projections_scale_with_the_weights_and_stay_where_they_are(row: list[float], factor: float) -> None:
    y = double(*row)
    for parts in (br.binary_parts, br.ternary_parts, three_bits):
        once = br.project(y, parts)
        error = float((once - y).square().sum())
        again, scaled = br.project(once, parts), br.project(factor * y, parts)
        torch.testing.assert_close(again, once, atol=1e-7, rtol=1e-7)
        assert float((scaled - factor * y).square().sum()) == pytest.approx(factor**2 * error, abs=1e-7)


def test_a_largest_integer_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0"):
        br.scaled_parts(torch.ones(2), 0)


def test_the_blend_goes_from_the_float_weights_to_the_projection() -> None:
    y = double(0.9, -0.5, 0.1, -0.3)
    assert torch.equal(br.blend(y, br.binary_parts, 0.0), y)
    assert br.blend(y, br.binary_parts, 1.0).tolist() == pytest.approx([0.675, -0.475, 0.275, -0.375])
    assert br.blend(y, br.binary_parts, 3.0).tolist() == pytest.approx([0.5625, -0.4625, 0.3625, -0.4125])
    assert torch.equal(br.blend(y, br.ternary_parts, math.inf), br.project(y, br.ternary_parts))
    assert not torch.equal(br.blend(y, br.binary_parts, 9.0), sign(y)), "plain sign"


@PROPERTY
@given(rows, st.floats(0, 50))
def test_the_blend_is_nearer_by_one_plus_lambda(row: list[float], strength: float) -> None:
    y = double(*row)
    x = br.blend(y, br.ternary_parts, strength)
    before, after = (least_distance(v.tolist(), range(-1, 2)) for v in (y, x))
    assert math.sqrt(max(after, 0)) == pytest.approx(math.sqrt(max(before, 0)) / (1 + strength), abs=1e-6)


def test_the_distance_is_relative_to_the_norm() -> None:
    y = double(3.0, 1.0)  # the nearest are 2, 2 with signs, and 3, 0 with zeros
    assert br.distance(y, br.binary_parts) == pytest.approx(100 * math.sqrt(2 / 10))
    assert br.distance(y, br.ternary_parts) == pytest.approx(100 * math.sqrt(1 / 10))
    assert br.distance(y, three_bits) == pytest.approx(0, abs=1e-6)
    assert br.distance(-5 * y, br.binary_parts) == pytest.approx(100 * math.sqrt(2 / 10))


def test_the_strength_grows_by_equal_factors_and_then_is_infinite() -> None:
    assert pytest.approx(1.04**150) == br.LAST
    values = [br.strength_at(step, 8) for step in range(9)]
    assert values == pytest.approx([*(br.LAST ** (k / 6) for k in range(6)), math.inf, math.inf, math.inf])
    assert values[0] == 1.0
    assert br.strength_at(107, 144) < br.LAST < br.strength_at(108, 144) == math.inf


@pytest.mark.parametrize("strength", [0.0, 2.5, math.inf])
def test_the_gradient_at_the_blend_goes_to_the_float_weights_whole_and_not_by_the_slope_of_the_blend(
    strength: float,
) -> None:
    y = double(-2.0, -0.1, 0.0, 3.0).requires_grad_()
    x = br.Relaxed(br.binary_parts, strength)(y)
    assert torch.equal(x.detach(), br.blend(y.detach(), br.binary_parts, strength))
    upstream = double(1, 2, 3, 4)
    (gradient,) = torch.autograd.grad(x, y, upstream)
    assert torch.equal(gradient, upstream)
    assert br.Relaxed(br.binary_parts).strength == 1.0


def test_patterns_are_all_vectors_but_zero() -> None:
    assert br.patterns((-1, 1), 2).tolist() == [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    found = br.patterns(range(-1, 2), 3)
    assert found.shape == (26, 3)
    assert found.dtype == torch.float64
    assert len({tuple(row) for row in found.tolist()}) == 26


@PROPERTY
@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_squared_distances_are_those_to_the_nearest_ray(row: list[float]) -> None:
    rays = br.patterns(range(-3, 4), 3)
    x = double(*row)
    found = br.squared_distances(torch.stack([x, -x]), rays)
    assert found.tolist() == pytest.approx([least_distance(row, range(-3, 4))] * 2, abs=1e-9)
    one_ray = br.squared_distances(double(-2, 1).reshape(1, 2), double(1, 0).reshape(1, 2))
    assert one_ray.tolist() == [5.0], "behind the origin the nearest point is the origin"


@pytest.mark.parametrize(
    ("parts", "levels"), [(br.binary_parts, (-1, 1)), (br.ternary_parts, range(-1, 2)), (three_bits, range(-3, 4))]
)
def test_gaps_are_zero_for_the_method(parts: br.Parts, levels: range | tuple[int, ...]) -> None:
    projection, blended = br.gaps(parts, levels, torch.Generator().manual_seed(1))
    assert abs(projection) < 1e-12
    assert blended == 0.0


def test_gaps_are_positive_for_another_projection_or_blend(monkeypatch: pytest.MonkeyPatch) -> None:
    def gaps() -> tuple[float, float]:
        return br.gaps(br.ternary_parts, range(-1, 2), torch.Generator().manual_seed(1))

    assert br.gaps(br.binary_parts, range(-1, 2), torch.Generator().manual_seed(1))[0] > 0.1
    kept = br.blend
    for wrong in (
        lambda y, parts, strength: kept(y, parts, 1.01 * strength + 0.01),
        lambda y, _parts, _strength: y,
        lambda y, parts, _strength: br.project(y, parts),
        lambda y, _parts, strength: kept(y, br.binary_parts, strength),
    ):
        monkeypatch.setattr(br, "blend", wrong)
        projection, blended = gaps()
        assert abs(projection) < 1e-12
        assert blended > 1e-6
    monkeypatch.setattr(br, "blend", kept)

    def threshold(y: Tensor) -> tuple[Tensor, Tensor]:
        integers = (torch.sign(y) * (y.abs() >= 0.7 * y.abs().mean())).to(torch.int64)
        return integers, (y.abs() * integers.abs()).mean()

    projection, _ = br.gaps(threshold, range(-1, 2), torch.Generator().manual_seed(1))
    assert projection > 1e-3, "the threshold of the authors' code is not the projection"


def test_gaps_draw_twenty_cases_of_four_weights_and_strengths_up_to_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[int, float]] = []
    kept = br.blend

    def watched(y: Tensor, parts: br.Parts, strength: float) -> Tensor:
        assert y.dtype == torch.float64
        cases.append((len(y), strength))
        return kept(y, parts, strength)

    monkeypatch.setattr(br, "blend", watched)
    br.gaps(br.binary_parts, (-1, 1), torch.Generator().manual_seed(2))
    assert [length for length, _ in cases] == [4] * 20
    strengths = [strength for _, strength in cases]
    assert 0 <= min(strengths) < 2
    assert 8 < max(strengths) <= 10
    br.gaps(br.binary_parts, (-1, 1), torch.Generator().manual_seed(2))
    assert cases[20:] == cases[:20]
    br.gaps(br.binary_parts, (-1, 1), torch.Generator().manual_seed(2), 2)
    assert cases[-1][0] == 2


def test_inner_weights_of_a_copy_pass_the_quantizer() -> None:
    start = SmallCNN(conv_block()).eval()
    quantizer = br.Relaxed(br.ternary_parts, 3.0)
    network = br.with_weights(start, quantizer)
    assert network.training
    assert not start.training
    assert [conv.quantizer for conv in br.convs(network)] == [quantizer, quantizer]
    assert [conv.quantizer for conv in br.convs(start)] == [identity, identity]
    assert torch.equal(br.convs(network)[1].weight, br.convs(start)[1].weight)
    assert br.convs(network)[1].weight is not br.convs(start)[1].weight


def test_the_path_has_the_strength_of_its_step_and_the_projection_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    strengths: list[float] = []

    def fake_train(build: object, seed: int, *, after_step: object) -> nn.Module:
        assert callable(build)
        assert callable(after_step)
        assert seed == 6
        network = build()
        assert isinstance(network, nn.Module)
        relaxed = br.convs(network)[0].quantizer
        assert isinstance(relaxed, br.Relaxed)
        for step in range(1, 9):
            strengths.append(relaxed.strength)
            if step == 3:  # half of the weights of the first layer change their sign in the second quarter
                br.convs(network)[0].weight.data.view(-1)[:72] *= -1
            after_step(network, step, 8)
            assert network.training
        strengths.append(relaxed.strength)
        return network

    monkeypatch.setattr(br, "train", fake_train)
    with deterministic(1):
        start = SmallCNN(conv_block()).eval()
        y = br.convs(start)[0].weight.detach().clone()
        network, path = br.relax(6, start, br.binary_parts)
    assert strengths == pytest.approx([1.0, *(br.LAST ** (k / 6) for k in range(1, 6)), math.inf, math.inf, math.inf])
    assert torch.equal(br.convs(start)[0].weight, y)
    assert set(path) == {
        f"{what}_{at}" for what in ("distance", "relaxed", "projected", "changed") for at in (25, 50, 75, 100)
    }
    assert [path[f"changed_{at}"] for at in (25, 50, 75, 100)] == [0, 50, 0, 0]
    moved = br.convs(network)[0].weight.detach()
    for at, exponent in ((25, 1 / 6), (50, 3 / 6), (75, 5 / 6)):
        before = y if at == 25 else moved
        expected = br.distance(br.blend(before, br.binary_parts, br.LAST**exponent), br.binary_parts)
        assert path[f"distance_{at}"] == pytest.approx(expected)
    assert path["distance_100"] < 1e-4
    assert path["relaxed_100"] == path["projected_100"] == path["projected_75"] == accuracy(network)
    br.convs(network)[0].quantizer.strength = br.LAST ** (5 / 6)  # type: ignore[attr-defined]
    assert path["relaxed_75"] == accuracy(network)


def test_the_path_starts_from_the_integers_of_the_start_as_the_method_sees_them() -> None:
    data = digits()
    few = Split(data.train_x[:128], data.train_y[:128], data.test_x[:50], data.test_y[:50])

    def short(*arguments: object, **options: object) -> nn.Module:
        return train(*arguments, data=few, epochs=4, **options)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch, deterministic(0):
        patch.setattr(br, "train", short)
        start = SmallCNN(conv_block())
        network, path = br.relax(0, start, br.ternary_parts)
    assert path["distance_25"] > path["distance_50"] > path["distance_75"] > path["distance_100"]
    assert path["distance_75"] > 0.01
    for conv in br.convs(network):
        assert len(set(conv.quantizer(conv.weight).flatten().tolist())) == 3
    assert path["changed_25"] < 60


def test_reproduce_starts_all_from_one_trained_network(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[tuple[int, Tensor, object]] = []
    trained: list[tuple[SmallCNN, int]] = []
    seeds: list[int] = []

    def fake_train(build: object, seed: int) -> nn.Module:
        assert callable(build)
        network = build()
        assert isinstance(network, SmallCNN)
        trained.append((network, seed))
        network.head.bias.data += 1
        return network

    def fake_relax(seed: int, start: nn.Module, parts: br.Parts) -> tuple[nn.Module, dict[str, float]]:
        assert isinstance(start, SmallCNN)
        starts.append((seed, start.head.bias.detach().clone(), parts))
        return nn.Identity(), {"path": 7.0}

    def fake_accuracy(network: nn.Module) -> float:
        if not isinstance(network, SmallCNN):
            assert isinstance(network, nn.Identity)
            return 80.0
        relaxed = br.convs(network)[0].quantizer
        return 90.0 if relaxed is identity else 70.0 if relaxed.parts is br.binary_parts else 75.0  # type: ignore[attr-defined]

    def fake_gaps(parts: br.Parts, levels: object, generator: Generator) -> tuple[float, float]:
        seeds.append(generator.initial_seed())
        y = torch.linspace(-1, 1, 99)
        assert set(parts(y)[0].tolist()) == set(levels)  # type: ignore[call-overload]
        return {2: (1.0, 9.0), 3: (5.0, 2.0), 7: (3.0, 4.0)}[len(list(levels))]  # type: ignore[call-overload]

    monkeypatch.setattr(br, "train", fake_train)
    monkeypatch.setattr(br, "relax", fake_relax)
    monkeypatch.setattr(br, "accuracy", fake_accuracy)
    monkeypatch.setattr(br, "gaps", fake_gaps)
    metrics = br.reproduce(3)
    assert metrics == {
        "binary_relaxed": 80.0,
        "binary_outright": 70.0,
        "binary_path": 7.0,
        "ternary_relaxed": 80.0,
        "ternary_outright": 75.0,
        "ternary_path": 7.0,
        "projection_gap": 5.0,
        "blend_gap": 9.0,
        "full_precision": 90.0,
        "cnn_accuracy": 80.0,
    }
    assert seeds == [3, 3, 3]
    assert [seed for _, seed in trained] == [3, 3, 3]
    with deterministic(3):
        bias = SmallCNN(conv_block()).head.bias.detach()
    assert [(seed, parts) for seed, _, parts in starts] == [
        (3, br.binary_parts),
        (3, br.ternary_parts),
        (3, br.binary_parts),
    ]
    assert torch.equal(starts[0][1], bias + 1)
    assert torch.equal(starts[1][1], bias + 1)
    assert torch.equal(starts[2][1], bias), "the shared budget starts from random weights"
    outright = [br.convs(network)[0].quantizer for network, _ in trained[1:]]
    assert [(relaxed.parts, relaxed.strength) for relaxed in outright] == [  # type: ignore[attr-defined]
        (br.binary_parts, math.inf),
        (br.ternary_parts, math.inf),
    ]
    torch.testing.assert_close(trained[1][0].head.bias.detach(), bias + 2)


def test_claims_name_what_is_measured() -> None:
    accepted = read(result_path(br.RECORD)).metrics
    for claim in br.CLAIMS:
        assert claim.metric in accepted
        other = claim.expected if isinstance(claim, Exact) else claim.baseline
        assert not isinstance(other, str) or other in accepted
    assert (range(10), "w1afp") == (br.SEEDS, br.BUDGET_BITS)
    assert {"binary": br.binary_parts, "ternary": br.ternary_parts} == br.METHODS


def test_offered_quantizers_are_those_of_phase_two() -> None:
    assert [(q.name, q.bits) for q in br.QUANTIZERS] == [
        ("binary weights", 1),
        ("ternary weights", 2),
        ("3-bit weights", 3),
    ]
    x = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    for quantizer, levels in zip(br.QUANTIZERS, (2, 3, 7), strict=True):
        integers, scale = quantizer.to_integers(x)
        assert torch.equal(scale * integers, quantizer.quantize(x))
        assert scale.dtype == x.dtype
        assert len(set(integers.flatten().tolist())) == levels
        assert set(curve(quantizer).gradient) == {1.0}


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(br.RECORD))
    with deterministic(0):
        metrics = br.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
    assert metrics["projection_gap"] < 1e-12
