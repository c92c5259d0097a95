from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.binary import hard_threshold_networks as htn
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Difference
from reference_impls.kit.data import Split, digits
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=40)


def layer(inputs: int, outputs: int, seed: int = 0, scale: float = 1.0) -> htn.Layer:
    """A layer in double precision with random weights and the soft hinge loss."""
    generator = torch.Generator().manual_seed(seed)
    linear = nn.Linear(inputs, outputs).double().requires_grad_(False)
    linear.weight.copy_(scale * torch.randn(outputs, inputs, generator=generator, dtype=torch.float64))
    linear.bias.copy_(torch.randn(outputs, generator=generator, dtype=torch.float64))
    return htn.Layer(linear)


def top(inputs: int, seed: int = 0) -> htn.Layer:
    return htn.Layer(layer(inputs, 4, seed).linear, htn.cross_entropy, htn.cross_entropy_slope)


def signs(*shape: int, seed: int = 1) -> Tensor:
    return 2 * torch.randint(2, shape, generator=torch.Generator().manual_seed(seed)).double() - 1


def test_soft_hinge_is_the_formula_and_its_slope_the_difference_quotient() -> None:
    z, t = np.array([[-2.0, 0.3, 0.0], [1.5, -0.1, 4.0]]), np.array([[1.0, -1.0, 1.0], [1.0, 1.0, -1.0]])
    loss = htn.soft_hinge(torch.tensor(z), torch.tensor(t))
    np.testing.assert_allclose(loss, (1 - np.tanh(z * t)).sum(axis=1))
    slope = htn.soft_hinge_slope(torch.tensor(z), torch.tensor(t))
    np.testing.assert_allclose(slope, (np.tanh(t * (z - 1e-6)) - np.tanh(t * (z + 1e-6))) / 2e-6, atol=1e-9)


def test_cross_entropy_is_torchs_and_its_slope_the_gradient() -> None:
    z, y = torch.randn(3, 5, 4, dtype=torch.float64, requires_grad=True), torch.tensor([0, 3, 1, 1, 2])
    ours = htn.cross_entropy(z, y)
    assert ours.shape == (3, 5)
    for part, row in zip(z, ours, strict=True):
        assert torch.allclose(row, nn.functional.cross_entropy(part, y, reduction="none"))
    (gradient,) = torch.autograd.grad(ours.sum(), z)
    assert torch.allclose(htn.cross_entropy_slope(z[1], y), gradient[1])


@pytest.mark.parametrize("kind", ["hidden", "top"])
def test_loss_and_slope_of_a_layer_are_those_of_its_own_inputs(kind: str) -> None:
    above = layer(5, 4) if kind == "hidden" else top(5)
    goal = signs(6, 4) if kind == "hidden" else torch.tensor([0, 3, 1, 1, 2, 0])
    h = signs(6, 5, seed=2).requires_grad_()
    z = h @ above.linear.weight.T + above.linear.bias
    expected = (
        (1 - torch.tanh(z * goal)).sum(dim=1)
        if kind == "hidden"
        else nn.functional.cross_entropy(z, goal, reduction="none")
    )
    (gradient,) = torch.autograd.grad(expected.sum(), h)
    assert torch.allclose(above.loss_of(h, goal), expected)
    assert torch.allclose(above.slope_of(h.detach(), goal), gradient)
    assert above.loss_of(torch.stack([h, -h]), goal).shape == (2, 6)


def test_gradient_targets_are_the_signs_against_the_gradient_and_nothing_else() -> None:
    above, h, goal = layer(5, 3), signs(8, 5), signs(8, 3, seed=4)
    above.linear.weight[:, 2] = 0
    g = above.slope_of(h, goal)
    t = htn.gradient_targets(above, h, goal)
    keep = g == 0
    assert int(keep.sum()) == 8
    assert torch.equal(t[~keep], -torch.sign(g[~keep]))
    assert torch.equal(t[keep], h[keep])
    assert not torch.equal(t, h)


def test_keep_better_decides_example_by_example_and_only_by_what_is_strictly_lower() -> None:
    above, goal = layer(4, 3), signs(16, 3)
    t, trial = signs(16, 4, seed=5), signs(16, 4, seed=6)
    before, after = above.loss_of(t, goal), above.loss_of(trial, goal)
    kept = htn.keep_better(above, t, trial, goal)
    assert 0 < int((after < before).sum()) < 16
    for row, old, new, lower in zip(kept, t, trial, after < before, strict=True):
        assert torch.equal(row, new if lower else old)
    above.linear.weight.zero_()
    assert torch.equal(htn.keep_better(above, t, trial, goal), t)


def test_flip_turns_each_sign_with_its_own_chance() -> None:
    t = signs(4000, 3)
    with deterministic(0):
        turned = htn.flip(t, torch.tensor([0.0, 0.25, 1.0]).expand(4000, 3))
    share = (turned != t).double().mean(dim=0)
    assert share[0] == 0
    assert share[1] == pytest.approx(0.25, abs=0.03)
    assert share[2] == 1
    assert set(turned.flatten().tolist()) == {-1.0, 1.0}


def test_guided_chance_goes_to_units_whose_flip_promises_most() -> None:
    t = torch.tensor([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, 1.0, 1.0], [-1.0, 1.0, 1.0, 1.0]])
    g = torch.tensor([[0.3, -0.1, -5.0, 2.0], [-1.0, 0.0, -2.0, -3.0], [-4.0, 4.0, 4.0, 4.0]])
    chance = htn.guided_chance(t, g)
    expected = [[2 * 0.3 / 0.4, 2 * 0.1 / 0.4, 0, 0], [0, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]]
    np.testing.assert_allclose(chance, np.minimum(np.array(expected), 1), rtol=1e-6)
    tiny = htn.guided_chance(t[:1], 1e-6 * g[:1])
    assert torch.allclose(tiny, chance[:1])


def brute_force(above: htn.Layer, goal: Tensor, inputs: int) -> tuple[list[list[float]], list[float]]:
    targets, losses = [], []
    for n in range(len(goal)):
        tried = []
        for t in itertools.product((-1.0, 1.0), repeat=inputs):
            z = above.linear.weight.numpy() @ np.array(t) + above.linear.bias.numpy()
            if goal.dim() == 1:
                tried.append((math.log(np.exp(z).sum()) - z[int(goal[n])], list(t)))
            else:
                tried.append(((1 - np.tanh(z * goal[n].numpy())).sum(), list(t)))
        loss, best = min(tried)
        targets.append(best)
        losses.append(float(loss))
    return targets, losses


def test_best_targets_are_those_of_a_search_through_all() -> None:
    for above, goal in ((layer(5, 3), signs(7, 3)), (top(5), torch.tensor([0, 3, 2, 1]))):
        targets, losses = brute_force(above, goal, 5)
        above.linear.float()
        t = htn.best_targets(above, torch.ones(len(goal), 5), goal.float() if goal.dim() == 2 else goal)
        assert t.tolist() == targets
        np.testing.assert_allclose(above.loss_of(t, goal), losses, rtol=1e-5)


@PROPERTY
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_searches_only_ever_lower_the_loss_and_never_below_the_best(seed: int, inputs: int) -> None:
    above, goal, h = layer(inputs, 3, seed), signs(5, 3, seed=seed), signs(5, inputs, seed=seed + 1)
    start = above.loss_of(h, goal)
    best = torch.tensor(brute_force(above, goal, inputs)[1], dtype=torch.float64)
    with deterministic(seed):
        for search in (htn.random_search, htn.guided_search):
            t = search(above, h, goal)
            reached = above.loss_of(t, goal)
            assert set(t.flatten().tolist()) <= {-1.0, 1.0}
            assert bool((reached <= start).all())
            assert bool((reached >= best - 1e-9).all())
            changed = (t != h).any(dim=1)
            assert torch.equal(changed, reached < start)


def test_guided_search_comes_nearer_to_the_best_than_the_gradients_sign_and_than_random_flips() -> None:
    above, goal, h = layer(12, 8, seed=3, scale=0.5), signs(200, 8, seed=7), signs(200, 12, seed=8)
    with deterministic(1):
        loss = {
            search.__name__: float(above.loss_of(search(above, h, goal), goal).mean())
            for search in (htn.guided_search, htn.random_search, htn.gradient_targets)
        }
    assert loss["guided_search"] < loss["random_search"] - 0.2
    assert loss["guided_search"] < loss["gradient_targets"] - 0.2


def test_searches_make_as_many_trials_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    chances: list[Tensor] = []

    def watched(t: Tensor, chance: Tensor) -> Tensor:
        chances.append(chance)
        return t

    monkeypatch.setattr(htn, "flip", watched)
    above, goal, h = layer(8, 3), signs(5, 3), signs(5, 8)
    assert torch.equal(htn.random_search(above, h, goal), h)
    assert len(chances) == 16
    assert all(set(chance.flatten().tolist()) == {0.25} for chance in chances)
    chances.clear()
    assert torch.equal(htn.guided_search(above, h, goal), h)
    assert len(chances) == 8
    assert all(torch.equal(chance, htn.guided_chance(h, above.slope_of(h, goal))) for chance in chances)


def test_forward_hands_signs_from_layer_to_layer() -> None:
    layers = [layer(64, 5, seed=1), layer(5, 3, seed=2), top(3)]
    x = digits().test_x[:9].double()
    inputs = htn.forward(layers, x)
    h = x.flatten(1).numpy()
    for part, given_inputs in zip(layers, inputs, strict=False):
        np.testing.assert_allclose(given_inputs, h)
        z = h @ part.linear.weight.numpy().T + part.linear.bias.numpy()
        h = np.where(z >= 0, 1.0, -1.0)
    np.testing.assert_allclose(inputs[-1], z)
    assert len(inputs) == 4


def test_learning_uses_the_gradient_of_the_mean_local_loss_which_plain_straight_through_is_not() -> None:
    part, h, goal = layer(5, 4), signs(6, 5), signs(6, 4, seed=3)
    htn.learn(part, h, goal)
    ours = part.linear.weight.grad, part.linear.bias.grad
    w, b = (p.clone().requires_grad_() for p in (part.linear.weight, part.linear.bias))
    z = h @ w.T + b
    expected = torch.autograd.grad((1 - torch.tanh(z * goal)).sum(dim=1).mean(), (w, b), retain_graph=True)
    plain = torch.autograd.grad((-z * goal).sum(dim=1).mean(), (w, b))
    for mine, right, other in zip(ours, expected, plain, strict=True):
        assert mine is not None
        assert torch.allclose(mine, right)
        assert not torch.allclose(mine, other, atol=0.05)


def few_digits(monkeypatch: pytest.MonkeyPatch) -> Split:
    data = digits()
    few = Split(data.train_x[:120], data.train_y[:120], data.test_x[:150], data.test_y[:150])
    monkeypatch.setattr(htn, "digits", lambda: few)
    return few


def test_training_gives_each_layer_the_targets_that_the_layer_above_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    data = few_digits(monkeypatch)
    monkeypatch.setattr(htn, "EPOCHS", 2)
    asked: list[tuple[htn.Layer, Tensor, Tensor, Tensor]] = []
    learnt: list[tuple[htn.Layer, Tensor, Tensor]] = []
    learn = htn.learn

    def setter(above: htn.Layer, h: Tensor, goal: Tensor) -> Tensor:
        t = htn.gradient_targets(above, h, goal)
        asked.append((above, h, goal, t))
        return t

    def watched(part: htn.Layer, h: Tensor, goal: Tensor) -> None:
        learnt.append((part, h, goal))
        learn(part, h, goal)

    monkeypatch.setattr(htn, "learn", watched)
    layers = htn.train(5, setter)
    assert [(part.linear.in_features, part.linear.out_features) for part in layers] == [(64, 24), (24, 12), (12, 10)]
    assert [part.loss for part in layers] == [htn.soft_hinge, htn.soft_hinge, htn.cross_entropy]
    assert [part.slope for part in layers][1:] == [htn.soft_hinge_slope, htn.cross_entropy_slope]
    assert [part for part, *_ in learnt] == layers[::-1] * 4
    assert [above for above, *_ in asked] == layers[:0:-1] * 4
    for step in range(4):
        (_, h2, labels), (_, h1, t2), (_, x, t1) = learnt[3 * step : 3 * step + 3]
        (_, seen2, goal2, set2), (_, seen1, goal1, set1) = asked[2 * step : 2 * step + 2]
        assert h2 is seen2
        assert h1 is seen1
        assert labels is goal2
        assert t2 is goal1 is set2
        assert t1 is set1
        assert x.shape == (60, 64)
    rows = {
        tuple(image.flatten().tolist()): int(label) for image, label in zip(data.train_x, data.train_y, strict=True)
    }
    for first, second in ((0, 3), (6, 9)):
        x, y = (torch.cat([learnt[i + j][k] for i in (first, second)]) for j, k in ((2, 1), (0, 2)))  # type: ignore[misc]
        assert {tuple(image.tolist()) for image in x} == set(rows)
        assert [rows[tuple(image.tolist())] for image in x] == y.tolist()


def test_each_batch_is_one_step_of_adam(monkeypatch: pytest.MonkeyPatch) -> None:
    data = few_digits(monkeypatch)
    monkeypatch.setattr(htn, "EPOCHS", 1)
    layers = htn.train(5, htn.gradient_targets)
    with deterministic(5):
        again = [nn.Linear(n, k) for n, k in itertools.pairwise(htn.WIDTHS)]
        optimizer = torch.optim.Adam([p for linear in again for p in linear.parameters()], lr=0.01)
        for chosen in torch.randperm(120).split(60):  # type: ignore[no-untyped-call]
            h0 = data.train_x[chosen].flatten(1)
            h1 = torch.where(again[0](h0) >= 0, 1.0, -1.0).requires_grad_()
            h2 = torch.where(again[1](h1) >= 0, 1.0, -1.0).detach().requires_grad_()
            loss2 = nn.functional.cross_entropy(again[2](h2), data.train_y[chosen], reduction="none").sum()
            t2 = -torch.autograd.grad(loss2, h2, retain_graph=True)[0].sign()
            loss1 = (1 - torch.tanh(again[1](h1) * t2)).sum()
            t1 = -torch.autograd.grad(loss1, h1, retain_graph=True)[0].sign()
            loss0 = (1 - torch.tanh(again[0](h0) * t1)).sum()
            optimizer.zero_grad()
            for loss, linear in ((loss0, again[0]), (loss1, again[1]), (loss2, again[2])):
                for p, g in zip(
                    linear.parameters(), torch.autograd.grad(loss / 60, list(linear.parameters())), strict=True
                ):
                    p.grad = g
            optimizer.step()
    for ours, expected in zip(layers, again, strict=True):
        assert torch.allclose(ours.linear.weight, expected.weight, atol=1e-4)
        assert torch.allclose(ours.linear.bias, expected.bias, atol=1e-4)


def test_without_a_setter_only_the_top_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    few_digits(monkeypatch)
    layers = htn.train(5, None)
    with deterministic(5):
        begun = [nn.Linear(n, k) for n, k in itertools.pairwise(htn.WIDTHS)]
    same = [torch.equal(part.linear.weight, linear.weight) for part, linear in zip(layers, begun, strict=True)]
    assert same == [True, True, False]


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    data = few_digits(monkeypatch)
    monkeypatch.setattr(htn, "EPOCHS", 1)
    with deterministic(0):
        metrics = htn.reproduce(3)
        networks = {name: htn.train(3, setter) for name, setter in htn.SETTERS.items()}
        networks["hidden_untrained"] = htn.train(3, None)
    assert {"guided_search": htn.guided_search, "random_search": htn.random_search} == {
        name: setter for name, setter in htn.SETTERS.items() if name != "gradient_sign"
    }
    assert htn.SETTERS["gradient_sign"] is htn.gradient_targets
    for name, layers in networks.items():
        with torch.no_grad():
            named = htn.forward(layers, data.test_x)[-1].argmax(dim=1).numpy()
        assert metrics[name] == pytest.approx(100 * np.mean(named == data.test_y.numpy()))
    layers, goal = networks["gradient_sign"], data.test_y[:100]
    with torch.no_grad():
        h = htn.forward(layers, data.test_x[:100])[-2]
        best, heuristic = (
            float(layers[-1].loss_of(setter(layers[-1], h, goal), goal).mean())
            for setter in (htn.best_targets, htn.gradient_targets)
        )
    assert metrics["excess_gradient_sign"] == pytest.approx(heuristic - best)
    assert 0 <= metrics["excess_guided_search"] < metrics["excess_random_search"]
    for claim in htn.CLAIMS:
        assert isinstance(claim, Difference)
        assert {claim.metric, claim.baseline} <= set(metrics)


def test_the_quantizer_is_the_sign_with_the_slope_of_the_soft_hinge() -> None:
    (quantizer,) = htn.QUANTIZERS
    x = torch.randn(7, 5, 3)
    integers, scale = quantizer.to_integers(x)
    assert torch.equal(scale * integers, quantizer.quantize(x))
    assert quantizer.to_integers(x.double())[1].dtype == torch.float64
    drawn = curve(quantizer)
    assert (drawn.name, drawn.bits, set(drawn.y)) == ("activations", 1, {-1.0, 1.0})
    np.testing.assert_allclose(drawn.gradient, 1 / np.cosh(drawn.x) ** 2, rtol=1e-4)  # plain straight-through gives 1


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(htn.RECORD))
    with deterministic(0):
        metrics = htn.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
