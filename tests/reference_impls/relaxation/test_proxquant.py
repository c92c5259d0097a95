"""ProxQuant's prox operators against brute force, and its training step by step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor, nn

from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.models import SmallCNN, conv_block, identity
from reference_impls.kit.results import read
from reference_impls.kit.ste import sign
from reference_impls.kit.train import deterministic
from reference_impls.relaxation import proxquant as pq
from reference_impls.relaxation.proxquant import Method

reals = st.floats(-3, 3)
strengths = st.floats(0, 3)
GRID = np.linspace(-4, 4, 80001)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def objective(theta: np.ndarray, start: float, strength: float, *, squared: bool) -> np.ndarray:
    distance = np.minimum(np.abs(theta - 1), np.abs(theta + 1))
    penalty = distance**2 / 2 if squared else distance
    result: np.ndarray = (theta - start) ** 2 / 2 + strength * penalty
    return result


@pytest.mark.parametrize("squared", [False, True])
@settings(max_examples=80, deadline=None)
@given(start=reals, strength=strengths)
def test_the_binary_prox_is_the_minimiser_found_by_brute_force(start: float, strength: float, squared: bool) -> None:
    prox = pq.prox_binary_squared if squared else pq.prox_binary
    found = float(prox(double(start), strength))
    best = GRID[objective(GRID, start, strength, squared=squared).argmin()]
    reached = objective(np.array(found), start, strength, squared=squared)
    assert reached <= objective(best, start, strength, squared=squared) + 1e-9
    if abs(start) > 0.01:  # at 0 both signs are as good
        assert found == pytest.approx(best, abs=2e-4)


def test_the_binary_prox_by_hand() -> None:
    theta = double(-2.0, -1.1, -1.0, -0.5, 0.0, 0.1, 0.9, 1.0, 1.4)
    assert pq.prox_binary(theta, 0.25).tolist() == pytest.approx([-1.75, -1, -1, -0.75, 0.25, 0.35, 1, 1, 1.15])
    assert pq.prox_binary_squared(theta, 1.0).tolist() == pytest.approx(
        [-1.5, -1.05, -1, -0.75, 0.5, 0.55, 0.95, 1, 1.2]
    )
    assert torch.equal(pq.prox_binary(theta, 0.0), theta)
    assert torch.equal(pq.prox_binary(theta, 3.0), sign(theta)), "a strong pull is the projection"


@settings(max_examples=50, deadline=None)
@given(st.lists(reals, min_size=1, max_size=6), strengths)
def test_the_binary_prox_keeps_signs_and_is_a_soft_pull_where_plain_rounding_jumps(row: list[float], s: float) -> None:
    theta = double(*row)
    moved = pq.prox_binary(theta, s)
    assert torch.equal(sign(moved), sign(theta))
    assert (moved - theta).abs().max() <= s + 1e-12
    assert (pq.binary_regularizer(moved) <= pq.binary_regularizer(theta) + 1e-12).all()
    torch.testing.assert_close(pq.prox_binary(-theta, s)[theta != 0], -moved[theta != 0])


def test_the_regularizer_is_a_w_with_minima_at_plus_and_minus_one() -> None:
    assert pq.binary_regularizer(double(-1.5, -1, -0.25, 0, 0.5, 1, 3)).tolist() == [0.5, 0, 0.75, 1, 0.5, 0, 2]


def test_ternary_weights_take_the_mean_of_their_side() -> None:
    theta = double(0.9, 0.7, -0.5, -0.1, 0.05, 0.0)  # mean magnitude 0.375, threshold 0.2625
    integers, scale = pq.ternary_parts(theta)
    assert integers.tolist() == [1, 1, -1, 0, 0, 0]
    assert integers.dtype == torch.int64
    assert (scale * integers).tolist() == pytest.approx([0.8, 0.8, -0.5, 0, 0, 0])
    assert torch.equal(pq.ternary(theta), scale * integers)


def test_a_weight_on_the_threshold_is_not_zero() -> None:
    theta = double(0.35, -0.35, 0.8, -0.5)  # mean magnitude 0.5
    assert float(0.7 * theta.abs().mean()) == 0.35
    assert pq.ternary_parts(theta)[0].tolist() == [1, -1, 1, -1]


@pytest.mark.parametrize(
    ("row", "expected"), [([0.0, 0.0], [0, 0]), ([1.0, 3.0], [0, 3]), ([-2.0, -2.0], [-2, -2]), ([-1.0, 0.1], [-1, 0])]
)
def test_an_empty_side_makes_no_trouble(row: list[float], expected: list[float]) -> None:
    assert pq.ternary(double(*row)).tolist() == expected
    assert pq.ternary_parts(double(*row))[0].tolist() == np.sign(expected).tolist()


def test_all_three_ternary_levels_are_walked() -> None:
    integers, scale = pq.ternary_parts(torch.linspace(-1, 2, 301))
    assert torch.unique(integers).tolist() == [-1, 0, 1]
    assert len(torch.unique(scale * integers)) == 3


def test_the_ternary_prox_alternates_twice_between_levels_and_weights() -> None:
    theta = torch.randn(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    strength = 0.8
    moved = theta.numpy()
    for _ in range(2):
        threshold = 0.7 * np.abs(moved).mean()
        levels = np.zeros(2000)
        levels[moved >= threshold] = moved[moved >= threshold].mean()
        levels[moved <= -threshold] = moved[moved <= -threshold].mean()
        moved = (theta.numpy() + 2 * strength * levels) / (1 + 2 * strength)
    np.testing.assert_allclose(pq.prox_ternary(theta, strength), moved)
    once = (theta + 1.6 * pq.ternary(theta)) / 2.6
    torch.testing.assert_close(pq.prox_ternary(theta, strength, rounds=1), once)
    torch.testing.assert_close(pq.prox_ternary(theta, strength), once)  # no weight changes its side
    torch.testing.assert_close(pq.prox_ternary(theta, 0.0), theta)


def test_the_ternary_prox_with_fixed_levels_is_the_minimiser_of_the_squared_distance() -> None:
    theta, strength = double(0.7, -0.2, 0.1, -1.3), 0.6
    levels = pq.ternary(theta)
    moved = pq.prox_ternary(theta, strength, rounds=1)
    for i in range(4):
        cost = (GRID - float(theta[i])) ** 2 / 2 + strength * (GRID - float(levels[i])) ** 2
        assert float(moved[i]) == pytest.approx(GRID[cost.argmin()], abs=2e-4)


def test_the_straight_through_sign_passes_the_gradient_of_binaryconnect() -> None:
    theta = torch.tensor([-3.0, -0.1, 0.0, 2.0], requires_grad=True)
    value = pq.straight_sign(theta)
    assert value.tolist() == [-1, -1, 1, 1]
    (gradient,) = torch.autograd.grad((value * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum(), theta)
    assert gradient.tolist() == [1, 2, 3, 4]


def test_sign_change_is_a_share_in_percent() -> None:
    assert pq.sign_change(double(1, -1, 0.5, 0), double(2, 1, -1, 0)) == 50.0
    assert pq.sign_change(double(1, -2), double(3, -4)) == 0.0


@pytest.mark.parametrize("start", [-0.99, -0.4, 0.0, 0.3, 1.0])
def test_binaryconnect_cannot_tell_the_toy_functions_apart_and_proxquant_can(start: float) -> None:
    assert pq.solve_toy(start, 1.0, lazy=True) == pq.solve_toy(start, -1.0, lazy=True)
    assert pq.solve_toy(start, 1.0, lazy=False) == -1.0
    assert pq.solve_toy(start, -1.0, lazy=False) == 1.0


def test_the_toy_follows_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, float]] = []

    def record(theta: Tensor, strength: float) -> Tensor:
        seen.append((float(theta), strength))
        return theta

    monkeypatch.setattr(pq, "prox_binary", record)
    assert pq.solve_toy(0.05, 1.0, lazy=False, steps=4, eta=0.2) == -1.0
    assert [theta for theta, _ in seen] == pytest.approx([-0.15, -0.35, -0.55, -0.35])  # downhill, and over -1/2
    assert [strength for _, strength in seen] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert pq.solve_toy(0.05, 1.0, lazy=True, steps=1, eta=0.2) == -1.0
    assert pq.solve_toy(0.05, 1.0, lazy=True, steps=2, eta=0.2) == 1.0  # back: the gradient at -1 points the other way
    assert len(seen) == 4, "BinaryConnect takes no prox"
    seen.clear()
    pq.solve_toy(0.5, -1.0, lazy=False)
    assert len(seen) == 200
    assert seen[0][0] == pytest.approx(0.5)
    assert seen[-1][1] == pytest.approx(0.05 * 2 * 199 / 200)


@pytest.mark.parametrize(("strength", "eta"), [(0.2, 0.1), (0.5, 0.5), (0.7, 0.3)])
def test_the_lazy_prox_swings_between_two_points_for_ever_and_the_other_settles(strength: float, eta: float) -> None:
    swing = 2 * (eta * strength / (2 - eta) + strength)  # theta flips between +-eta lambda / (2 - eta)
    assert pq.last_move(0.37, strength, eta, lazy=True) == pytest.approx(swing, abs=1e-9)
    assert pq.last_move(0.37, strength, eta, lazy=False) < 1e-9


def test_the_moves_of_both_prox_methods_by_hand() -> None:
    # Lazy from 0.3: prox 0.3 + 0.2 = 0.5, theta 0.3 - 0.05 = 0.25, prox 0.45.
    assert pq.last_move(0.3, 0.2, 0.1, lazy=True, steps=2) == pytest.approx(0.05)
    # Not lazy: 0.27 + 0.02 = 0.29, then 0.261 + 0.02 = 0.281.
    assert pq.last_move(0.3, 0.2, 0.1, lazy=False, steps=2) == pytest.approx(0.009)
    assert pq.last_move(0.3, 0.2, 0.1, lazy=False) == pytest.approx(0.0, abs=1e-12)
    assert pq.last_move(0.3, 0.2, 0.01, lazy=False) == pytest.approx(0.1 * 0.01 * 0.99**299, rel=1e-6)


def test_the_gap_is_zero_for_a_prox_and_positive_for_anything_else() -> None:
    def sign_only(theta: Tensor, _strength: float) -> Tensor:
        return sign(theta)

    def gap(prox: pq.Prox) -> float:
        return pq.prox_gap(prox, pq.binary_regularizer, torch.Generator().manual_seed(0))

    assert gap(pq.prox_binary) == 0.0
    assert gap(sign_only) == gap(sign_only)
    assert gap(sign_only) > 0.1
    assert gap(lambda theta, _strength: theta) > 0.1
    assert gap(lambda theta, strength: pq.prox_binary(theta, 0.9 * strength)) > 1e-3
    assert gap(pq.prox_binary_squared) > 1e-3


def test_the_gap_is_the_worst_over_cases_of_both_signs_and_all_strengths() -> None:
    cases: list[tuple[float, float]] = []

    def record(theta: Tensor, strength: float) -> Tensor:
        cases.append((float(theta), strength))
        return theta + 1

    tried: list[Tensor] = []

    def penalty(theta: Tensor) -> Tensor:
        tried.append(theta)
        return theta.abs()

    gap = pq.prox_gap(record, penalty, torch.Generator().manual_seed(1))
    assert len(cases) == 40
    assert -3 <= min(theta for theta, _ in cases) < -2
    assert 2 < max(theta for theta, _ in cases) <= 3
    assert 0 <= min(strength for _, strength in cases) < 1
    assert 5 < max(strength for _, strength in cases) <= 6
    assert (float(tried[0][1]), float(tried[0][-1]), len(tried[0])) == (-4.0, 4.0, 20002)

    def cost(x: float, theta: float, strength: float) -> float:
        return (x - theta) ** 2 / 2 + strength * abs(x)

    def best(theta: float, strength: float) -> float:
        return math.copysign(max(abs(theta) - strength, 0), theta)  # soft threshold, the prox of |x|

    expected = max(cost(t + 1, t, s) - cost(best(t, s), t, s) for t, s in cases)
    assert gap == pytest.approx(expected, abs=1e-6)


def test_methods_are_those_of_the_metrics() -> None:
    theta = torch.tensor([-1.5, -0.2, 0.4])
    assert {name: after_step(theta, 0.1).tolist() for name, (_, after_step, _) in pq.METHODS.items()} == {
        "proxquant": pytest.approx([-1.4, -0.3, 0.5]),
        "proxquant_ternary": pytest.approx(pq.prox_ternary(theta, 0.1).tolist()),
        "binaryconnect": pytest.approx([-1, -0.2, 0.4]),
        "without_prox": pytest.approx([-1.5, -0.2, 0.4]),
        "projected_at_once": [-1, -1, 1],
    }
    assert {name: final for name, (_, _, final) in pq.METHODS.items()} == {
        "proxquant": sign,
        "proxquant_ternary": pq.ternary,
        "binaryconnect": sign,
        "without_prox": sign,
        "projected_at_once": sign,
    }
    assert [name for name, (forward, _, _) in pq.METHODS.items() if forward is not identity] == ["binaryconnect"]
    assert pq.METHODS["binaryconnect"][0] is pq.straight_sign


def test_the_weights_of_the_two_blocks_alone_are_quantized() -> None:
    net = SmallCNN(conv_block(), 4)
    assert len(pq.convs(net)) == 2
    assert torch.equal(pq.weights(net), torch.cat([conv.weight.flatten() for conv in pq.convs(net)]))
    assert pq.weights(net).shape == (432,)
    assert not pq.weights(net).requires_grad


def test_gaps_are_distances_from_quantized_values_a_layer_at_a_time() -> None:
    net = SmallCNN(conv_block(), 4)
    expected = [(conv.weight - pq.ternary(conv.weight)).abs().flatten() for conv in pq.convs(net)]
    assert torch.equal(pq.gaps(net, pq.ternary), torch.cat(expected))
    assert not pq.gaps(net, sign).requires_grad
    torch.testing.assert_close(pq.gaps(net, sign), pq.binary_regularizer(pq.weights(net)))


def test_fine_tuning_pulls_by_the_step_size_and_freezes_after_two_thirds(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    trained = SmallCNN(conv_block(), 4).eval()
    start = pq.weights(trained).clone()
    pulls: list[float] = []
    measured: list[Tensor] = []

    def pull(theta: Tensor, strength: float) -> Tensor:
        assert not theta.requires_grad
        pulls.append(strength)
        value = len(pulls) if len(pulls) <= 36 else -len(pulls)  # all signs are turned round half way to the freeze
        return torch.full_like(theta, float(value))

    def watched(net: nn.Module) -> float:
        measured.append(pq.weights(net))
        return 10.0 * len(measured)

    monkeypatch.setattr(pq, "EPOCHS", 3)
    monkeypatch.setattr(pq, "accuracy", watched)
    net, path = pq.finetune(trained, (pq.straight_sign, pull, lambda theta: 100 * theta), 0)
    assert len(pulls) == 2 * 36  # 54 steps, two layers
    assert pulls[0::2] == pulls[1::2]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=1e-2), max_lr=1e-2, total_steps=54
    )
    for step, strength in enumerate(pulls[::2], 1):
        schedule.optimizer.step()
        schedule.step()
        assert strength == pytest.approx(schedule.get_last_lr()[0] * pq.RATE * step)
    assert sorted(set(measured[0].tolist())) == [-72, -71], "before rounding"
    assert sorted(set(measured[1].tolist())) == [-7200, -7100], "after rounding"
    assert sorted(set(pq.weights(net).tolist())) == [-7200, -7100], "rounded, and untouched since"
    assert (path["unrounded"], path["rounded"], path["largest"]) == (10, 20, 99 * 72)
    turned = 100 * float((start < 0).double().mean())
    assert [path[f"changed_{at}"] for at in (25, 50, 75, 100)] == pytest.approx(
        [turned, turned, 100 - turned, 100 - turned]
    )
    assert [path[f"flips_{at}"] for at in (25, 50, 75, 100)] == pytest.approx([turned, 0, 100, 0])
    means = [99 * (first * 144 + (first + 1) * 288) / 432 for first in (17, 35, 53, 71)]
    assert [path[f"distance_{at}"] for at in (25, 50, 75, 100)] == pytest.approx(means)
    assert len(path) == 4 * 3 + 3
    assert all(conv.quantizer is pq.straight_sign and not conv.weight.requires_grad for conv in pq.convs(net))
    assert torch.equal(pq.weights(trained), start), "the given network stays as it was"
    assert all(conv.quantizer is identity and conv.weight.requires_grad for conv in pq.convs(trained))
    assert not trained.training


def test_the_pull_adds_up_to_that_of_the_paper() -> None:
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=pq.LR), max_lr=pq.LR, total_steps=18 * pq.EPOCHS
    )
    total = 0.0
    for step in range(1, 18 * pq.EPOCHS * 2 // 3 + 1):
        schedule.optimizer.step()
        schedule.step()
        total += float(schedule.get_last_lr()[0]) * pq.RATE * step
    papers = sum(0.01 * 1e-4 * epoch * (50_000 // 128 + 1) for epoch in range(200))
    assert total == pytest.approx(papers, rel=0.01)


def test_fine_tuning_starts_from_the_trained_network_and_trains_it(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    trained = SmallCNN(conv_block(), 4).eval()
    built: list[nn.Module] = []

    def fake(build: object, seed: int, **options: object) -> nn.Module:
        assert callable(build)
        net = build()
        assert isinstance(net, nn.Module)
        assert net.training
        built.append(net)
        assert (seed, options["epochs"]) == (9, pq.EPOCHS)
        make, after = options["optimizer"], options["after_step"]
        assert callable(make)
        assert callable(after)
        optimizer = make(net)
        assert isinstance(optimizer, torch.optim.Adam)
        assert optimizer.defaults["lr"] == pq.LR
        ours = {id(parameter) for parameter in net.parameters()}
        assert {id(parameter) for parameter in optimizer.param_groups[0]["params"]} == ours
        for step in range(1, 145):
            after(net, step, 144)
        return net

    monkeypatch.setattr(pq, "train", fake)
    with deterministic(0):
        net, path = pq.finetune(trained, pq.METHODS["proxquant"], 9)
    assert net is built[0]
    assert net is not trained
    assert torch.equal(pq.weights(net), sign(pq.weights(trained)))
    assert (path["changed_100"], path["largest"]) == (0, 0)
    start = float(pq.binary_regularizer(pq.weights(trained)).mean())
    pulled = start - pq.LR * pq.RATE * sum(range(1, 25))
    assert path["distance_25"] == pytest.approx(pulled, abs=1e-6), "all weights move to their signs at the same speed"


def test_reproduce_names_what_it_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, int]] = []
    starts: list[Tensor] = []

    def fake_train(build: object, seed: int, epochs: int) -> nn.Module:
        assert callable(build)
        with deterministic(77):
            net = build()
        assert isinstance(net, SmallCNN)
        assert sum(len(conv.weight) for conv in pq.convs(net)) == 4 + 8
        calls.append(("train", seed))
        assert epochs == pq.EPOCHS
        return net

    def fake_finetune(start: nn.Module, method: Method, seed: int) -> tuple[nn.Module, dict[str, float]]:
        calls.append((method, seed))
        starts.append(pq.weights(start))
        return nn.Identity(), {"changed_25": float(len(starts))}

    def fake_accuracy(net: nn.Module) -> float:
        return {SmallCNN: 90.0, nn.Identity: 80.0}[type(net)]

    def fake_toy(start: float, side: float, *, lazy: bool) -> float:
        assert -1 <= start <= 1
        assert side in (-1, 1)
        return 1.0 if lazy else -side

    def fake_move(start: float, strength: float, eta: float, *, lazy: bool) -> float:
        assert -1 <= start <= 1
        assert 0.1 <= strength <= 0.8
        assert 0.1 <= eta <= 0.5
        return 7.0 if lazy else 3.0

    def fake_gap(prox: pq.Prox, penalty: pq.Function, generator: Generator) -> float:
        assert generator.initial_seed() == 5
        assert prox in (pq.prox_binary, pq.prox_binary_squared)
        assert float(penalty(double(0.5))) == (0.5 if prox is pq.prox_binary else 0.125)
        return 0.1 if prox is pq.prox_binary else 0.2

    monkeypatch.setattr(pq, "train", fake_train)
    monkeypatch.setattr(pq, "finetune", fake_finetune)
    monkeypatch.setattr(pq, "accuracy", fake_accuracy)
    monkeypatch.setattr(pq, "solve_toy", fake_toy)
    monkeypatch.setattr(pq, "last_move", fake_move)
    monkeypatch.setattr(pq, "prox_gap", fake_gap)
    metrics = pq.reproduce(5)
    assert calls == [("train", 5), (pq.METHODS["proxquant"], 5), *((method, 5) for method in pq.METHODS.values())]
    with deterministic(5):
        fresh = pq.weights(SmallCNN(conv_block(), 4))
    assert torch.equal(starts[0], fresh), "the shared budget starts from random weights"
    with deterministic(77):
        trained = pq.weights(SmallCNN(conv_block(), 4))
    assert all(torch.equal(start, trained) for start in starts[1:])
    assert (metrics["full_precision"], metrics["cnn_accuracy"]) == (90, 80)
    for count, name in enumerate(pq.METHODS, 2):
        assert metrics[name] == 80.0
        assert metrics[f"changed_25_{name}"] == count
    assert (metrics["toy_missed_binaryconnect"], metrics["toy_missed_proxquant"]) == (1, 0)
    assert (metrics["lazy_last_move"], metrics["prox_last_move"], metrics["prox_gap"]) == (7.0, 3.0, 0.2)
    assert len(metrics) == 2 + 2 * 5 + 5


def test_claims_name_what_is_measured() -> None:
    accepted = read(result_path(pq.RECORD)).metrics
    for claim in pq.CLAIMS:
        assert claim.metric in accepted
        other = claim.expected if isinstance(claim, Exact) else claim.baseline
        assert not isinstance(other, str) or other in accepted
    assert (range(10), "w1afp") == (pq.SEEDS, pq.BUDGET_BITS)


def test_the_small_examples_start_anew_for_each_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[float, float, float]] = []

    def fake_move(start: float, strength: float, eta: float, *, lazy: bool) -> float:
        drawn.append((start, strength, eta))
        return float(lazy)

    monkeypatch.setattr(pq, "train", lambda *_, **_options: nn.Identity())
    monkeypatch.setattr(pq, "finetune", lambda _net, _method, _seed: (nn.Identity(), {}))
    monkeypatch.setattr(pq, "accuracy", lambda _net: 0.0)
    monkeypatch.setattr(pq, "prox_gap", lambda *_: 0.0)
    monkeypatch.setattr(pq, "last_move", fake_move)
    for seed in [0, *range(60)]:
        pq.reproduce(seed)
    assert drawn[0] == drawn[1] == drawn[2] != drawn[4]
    starts, powers, etas = zip(*drawn, strict=True)
    assert (min(starts), max(starts)) == (pytest.approx(-1, abs=0.1), pytest.approx(1, abs=0.1))
    assert (min(powers), max(powers)) == (pytest.approx(0.1, abs=0.04), pytest.approx(0.8, abs=0.04))
    assert (min(etas), max(etas)) == (pytest.approx(0.1, abs=0.03), pytest.approx(0.5, abs=0.03))


def test_offered_quantizers_pass_no_gradient() -> None:
    assert [(q.name, q.bits) for q in pq.QUANTIZERS] == [("binary weights", 1), ("ternary weights", 2)]
    theta = torch.linspace(-1.5, 1.5, 61).requires_grad_()
    for quantizer, final in zip(pq.QUANTIZERS, (sign, pq.ternary), strict=True):
        value = quantizer.quantize(theta)
        integers, scale = quantizer.to_integers(theta.detach())
        assert torch.equal(value.detach(), scale * integers)
        assert torch.equal(value.detach(), final(theta.detach()))
        assert integers.dtype == torch.int64
        assert not torch.equal(value.detach(), torch.round(theta.detach())), "plain rounding"
        (gradient,) = torch.autograd.grad(value.sum(), theta)
        assert not gradient.any()
    assert pq.binary_parts(torch.zeros(1))[0].tolist() == [1]
    assert pq.binary_parts(double(1))[1].dtype == torch.float64


@pytest.mark.slow
def test_seed_0_repeats_the_accepted_result() -> None:
    accepted = read(result_path(pq.RECORD))
    for key, value in pq.reproduce(0).items():
        exact = key.startswith(("toy", "lazy", "prox_last", "prox_gap"))
        assert value == pytest.approx(accepted.metrics[key][0], abs=1e-4 if exact else 3), key
