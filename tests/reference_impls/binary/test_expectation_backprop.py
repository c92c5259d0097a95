from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import Tensor

from reference_impls.binary import expectation_backprop as ebp
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import digits
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import read
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import deterministic

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
BINARY, REAL = ebp.binary_posterior, ebp.real_posterior


def beliefs(widths: tuple[int, ...], seed: int = 0) -> list[ebp.Layer]:
    """Layers of random beliefs in double precision, large enough to matter."""
    rng = np.random.default_rng(seed)
    pairs = itertools.pairwise(widths)
    return [(torch.tensor(rng.normal(size=(k, n))), torch.tensor(rng.normal(size=k))) for n, k in pairs]


def examples(inputs: int, outputs: int, count: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(count, inputs))), torch.tensor(rng.choice([-1.0, 1.0], size=(count, outputs)))


def test_posteriors_are_those_of_signs_and_of_normal_weights() -> None:
    h = torch.tensor([-2.0, 0.0, 0.3], dtype=torch.float64)
    up = np.exp(h.numpy()) / (np.exp(h.numpy()) + np.exp(-h.numpy()))
    mean, square = ebp.binary_posterior(h)
    np.testing.assert_allclose(mean, up - (1 - up))
    assert square.tolist() == [1, 1, 1]
    mean, square = ebp.real_posterior(h)
    assert torch.equal(mean, h)
    np.testing.assert_allclose(square, h.numpy() ** 2 + 1)


def test_moments_are_those_of_every_weight_and_input_weighed_by_its_chance() -> None:
    rng = np.random.default_rng(3)
    w, v, bias = rng.uniform(-1, 1, (2, 3)), rng.uniform(-1, 1, (4, 3)), rng.normal(size=2)
    one = torch.ones(2, 3).double(), torch.ones(4, 3).double()
    mu, var = ebp.moments(torch.tensor(w), one[0], torch.tensor(bias), torch.tensor(v), one[1])
    assert mu.shape == var.shape == (4, 2)
    for n, k in itertools.product(range(4), range(2)):
        mean = square = 0.0
        for case in itertools.product((-1, 1), repeat=6):
            chance = np.prod((1 + np.array(case) * np.concatenate([w[k], v[n]])) / 2)
            total = (np.dot(case[:3], case[3:]) + bias[k]) / 2
            mean += chance * total
            square += chance * (total**2 + 1 / 4)  # the bias has variance 1
        assert float(mu[n, k]) == pytest.approx(mean)
        assert float(var[n, k]) == pytest.approx(square - mean**2)


def test_moments_of_known_inputs_keep_only_the_doubt_about_weights() -> None:
    w, x = np.array([[0.5, -0.2]]), np.array([[3.0, -1.0]])
    mu, var = ebp.moments(
        torch.tensor(w), torch.ones(1, 2).double(), torch.zeros(1).double(), torch.tensor(x), torch.tensor(x**2)
    )
    assert float(mu) == pytest.approx(1.7 / math.sqrt(3))
    assert float(var) == pytest.approx((0.75 * 9 + 0.96 + 1) / 3)


def test_normal_functions_are_scipys() -> None:
    mu, var = np.array([-3.0, -0.4, 0.0, 0.7, 2.0]), np.array([0.3, 1.0, 2.0, 0.5, 4.0])
    args, sd = (torch.tensor(mu), torch.tensor(var)), np.sqrt(var)
    np.testing.assert_allclose(ebp.mean_sign(*args), norm.cdf(mu / sd) - norm.cdf(-mu / sd), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(ebp.density(*args), norm.pdf(0, mu, sd), rtol=1e-12)
    for y in (-1.0, 1.0):
        expected = y * norm.pdf(0, mu, sd) / norm.cdf(y * mu / sd)
        np.testing.assert_allclose(ebp.message_from_label(*args, torch.tensor(y)), expected, rtol=1e-10)


def test_message_stays_finite_where_density_and_probability_vanish() -> None:
    for dtype, exact in ((torch.float32, 1e-3), (torch.float64, 1e-3)):
        mu = torch.tensor([-60.0, 60.0], dtype=dtype)
        message = ebp.message_from_label(mu, torch.ones_like(mu), torch.ones_like(mu))
        assert float(message[0]) == pytest.approx(60, rel=exact)  # the limit -mu / var
        assert float(message[1]) == 0


def log_probability(layers: list[ebp.Layer], frozen: list[Any], x: Tensor, y: Tensor, how: Any) -> float:
    """Return log P(labels), in numpy, with the variances of another pass and the means of this one."""
    v = x.numpy()
    for index, ((h, bias), (_, _, var)) in enumerate(zip(layers, frozen, strict=True)):
        mean = np.tanh(h.numpy()) if how is BINARY else h.numpy()
        z = (v @ mean.T + bias.numpy()) / math.sqrt(v.shape[1] + 1) / np.sqrt(var.numpy())
        v = 2 * norm.cdf(z) - 1
        if index == len(layers) - 1:
            return float(norm.logcdf(y.numpy() * z).sum())
    raise AssertionError


@pytest.mark.parametrize("how", [BINARY, REAL])
def test_update_is_the_slope_of_the_log_probability_in_the_mean_weights_at_fixed_variances(how: Any) -> None:
    layers = beliefs((4, 3, 5, 2))
    x, y = examples(4, 2, 3)
    frozen = ebp.forward(layers, x, how)
    after = list(layers)
    ebp.update(after, x, y, how)
    step = 1e-6
    for index, (h, bias) in enumerate(layers):
        change = (after[index][0] - h).numpy()
        assert change.shape == h.shape
        assert np.abs(change).max() > 1e-3
        for k, j in itertools.product(*map(range, h.shape)):
            mean = math.tanh(float(h[k, j])) if how is BINARY else float(h[k, j])
            ends = []
            for moved in (mean - step, mean + step):
                other = h.clone()
                other[k, j] = math.atanh(moved) if how is BINARY else moved
                trial = [(other, bias) if i == index else layer for i, layer in enumerate(layers)]
                ends.append(log_probability(trial, frozen, x, y, how))
            assert change[k, j] == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-5, abs=1e-7)
        for k in range(len(bias)):
            ends = []
            for side in (-1, 1):
                other = bias.clone()
                other[k] += side * step
                trial = [(h, other) if i == index else layer for i, layer in enumerate(layers)]
                ends.append(log_probability(trial, frozen, x, y, how))
            expected = (ends[1] - ends[0]) / (2 * step)
            assert float((after[index][1] - bias)[k]) == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_update_is_not_the_straight_through_gradient_of_signs() -> None:
    layers = beliefs((4, 3, 2))
    x, y = examples(4, 2, 3)
    h, g = (layer[0].clone().requires_grad_() for layer in layers)
    plain = [straight_through(w, sign(w)) for w in (h, g)]
    hidden = x @ plain[0].T
    output = straight_through(hidden, sign(hidden)) @ plain[1].T
    towards = torch.autograd.grad(torch.nn.functional.logsigmoid(y * output).sum(), (h, g))
    after = list(layers)
    ebp.update(after, x, y, BINARY)
    for (new, _), (old, _), other in zip(after, layers, towards, strict=True):
        change = (new - old).flatten()
        assert torch.nn.functional.cosine_similarity(change, other.flatten(), dim=0) < 0.95


def test_one_example_makes_its_label_more_likely_than_before() -> None:
    layers = beliefs((6, 5, 3), seed=4)
    x, y = examples(6, 3, 1)
    before = y * ebp.averaged_output(layers, x, BINARY)
    ebp.update(layers, x, y, BINARY)
    assert bool((y * ebp.averaged_output(layers, x, BINARY) > before).all())


@PROPERTY
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_turning_an_input_and_its_beliefs_round_turns_the_update_round(seed: int, inputs: int) -> None:
    (layer,) = beliefs((inputs, 2), seed)
    x, y = examples(inputs, 2, 3, seed)
    plain, turned = [layer], [(-layer[0], layer[1])]
    ebp.update(plain, x, y, BINARY)
    ebp.update(turned, -x, y, BINARY)
    assert torch.allclose(plain[0][0], -turned[0][0])
    assert torch.allclose(plain[0][1], turned[0][1])
    mu, var = ebp.forward([layer], x, BINARY)[0][1:]
    assert bool((var > 0).all())
    assert bool((ebp.mean_sign(mu, var).abs() <= 1).all())


def test_forward_passes_means_of_signs_down_the_network() -> None:
    layers = beliefs((3, 4, 2))
    x, _ = examples(3, 2, 5)
    (v0, mu0, var0), (v1, mu1, var1) = ebp.forward(layers, x, BINARY)
    assert torch.equal(v0, x)
    np.testing.assert_allclose(v1, 2 * norm.cdf(mu0 / var0.sqrt()) - 1)
    mean = np.tanh(layers[1][0].numpy())
    np.testing.assert_allclose(mu1, (v1.numpy() @ mean.T + layers[1][1].numpy()) / math.sqrt(5))
    np.testing.assert_allclose(var1, (4 - v1.numpy() ** 2 @ (mean**2).T + 1) / 5)
    np.testing.assert_allclose(ebp.averaged_output(layers, x, BINARY), mu1 / var1.sqrt())


def test_averaged_output_ranks_as_an_average_over_drawn_networks_does() -> None:
    layers = beliefs((9, 15, 1), seed=5)
    layers = [(h / 2, torch.zeros_like(bias)) for h, bias in layers]
    x, _ = examples(9, 1, 12)
    rng, total = np.random.default_rng(0), np.zeros((12, 1))
    for _ in range(4000):
        v = x.numpy()
        for h, _ in layers:
            w = np.where(rng.random(h.shape) < 1 / (1 + np.exp(-2 * h.numpy())), 1.0, -1.0)
            v = np.sign(v @ w.T + rng.normal(size=len(h)))
        total += v / 4000
    z = ebp.averaged_output(layers, x, BINARY).numpy()
    np.testing.assert_allclose(2 * norm.cdf(z) - 1, total, atol=0.12)


def test_deterministic_output_is_the_network_of_signs() -> None:
    layers = beliefs((3, 4, 4, 2))
    layers[0][0][0, 0] = 0.0
    x, _ = examples(3, 2, 6)
    v = x.numpy()
    for depth, (h, bias) in enumerate(layers):
        total = v @ np.where(h.numpy() >= 0, 1.0, -1.0).T + bias.numpy()
        v = np.where(total >= 0, 1.0, -1.0)
        assert depth < 3
    np.testing.assert_allclose(ebp.deterministic_output(layers, x), total)


def test_beliefs_start_small_and_uniform() -> None:
    layers = ebp.start((64, 120, 10), torch.Generator().manual_seed(0))
    assert [tuple(h.shape) for h, _ in layers] == [(120, 64), (10, 120)]
    for h, bias in layers:
        n = h.shape[1]
        assert float(h.abs().max()) <= math.sqrt(3 / n)
        assert float(h.max()) > 0.98 * math.sqrt(3 / n)
        assert float(h.min()) < -0.98 * math.sqrt(3 / n)
        assert float(h.var()) == pytest.approx(1 / n, rel=0.1)
        assert bias.tolist() == [0] * len(h)


def test_backprop_step_is_gradient_descent_on_the_mean_logistic_loss() -> None:
    layers = beliefs((4, 3, 2))
    x, y = examples(4, 2, 5)
    flat = [part.clone().requires_grad_() for layer in layers for part in layer]
    hidden = torch.tanh(x @ flat[0].T + flat[1])
    output = hidden @ flat[2].T + flat[3]
    loss = -torch.nn.functional.logsigmoid(y * output).sum() / 5
    gradients = torch.autograd.grad(loss, flat)
    ours = ebp.backprop_output(layers, x)
    assert torch.allclose(ours[0], hidden)
    assert torch.allclose(ours[1], output)
    ebp.backprop_step(layers, x, y, 0.3)
    for new, old, gradient in zip((part for layer in layers for part in layer), flat, gradients, strict=True):
        assert torch.allclose(new, old - 0.3 * gradient)


def test_training_shows_each_image_once_an_epoch_with_its_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ebp, "EPOCHS", 2)
    seen: list[tuple[Tensor, Tensor]] = []

    def step(layers: list[ebp.Layer], x: Tensor, y: Tensor) -> None:
        layers[0] = (layers[0][0] + 1, layers[0][1])
        seen.append((x, y))

    layers = ebp.train(3, step)
    data = digits()
    assert [tuple(x.shape) for x, _ in seen] == [(10, 64)] * 240
    begun = ebp.start(ebp.WIDTHS, torch.Generator().manual_seed(3))[0][0]
    assert torch.allclose(layers[0][0], begun + 240, rtol=0, atol=0.01)
    rows = {
        tuple(image.flatten().tolist()): int(label) for image, label in zip(data.train_x, data.train_y, strict=True)
    }
    for half in (seen[:120], seen[120:]):
        x, y = (torch.cat(parts) for parts in zip(*half, strict=True))
        assert {tuple(image.tolist()) for image in x} == set(rows)
        assert [rows[tuple(image.tolist())] for image in x] == y.argmax(dim=1).tolist()
        assert set(y.flatten().tolist()) == {-1.0, 1.0}
        assert y.sum(dim=1).tolist() == [-8] * 1200
    assert not torch.equal(seen[0][0], seen[120][0])


def test_exact_update_is_bayes_rule_and_ours_comes_near_it() -> None:
    rng = np.random.default_rng(2)
    h, x, y = rng.normal(size=(1, 3)) / 2, rng.normal(size=(1, 3)), np.array([[-1.0]])
    weight: dict[tuple[int, ...], float] = {}
    for w in itertools.product((-1, 1), repeat=3):
        prior = np.prod(np.exp(h[0] * w) / (np.exp(h[0]) + np.exp(-h[0])))
        weight[w] = prior * norm.cdf(-np.dot(w, x[0]))
    mean = sum(p * np.array(w) for w, p in weight.items()) / sum(weight.values())
    exact = ebp.exact_update(*(torch.tensor(t) for t in (h, x, y)))
    np.testing.assert_allclose(exact[0], np.arctanh(mean) - h[0])
    assert exact.shape == (1, 3)
    layers = [(torch.tensor(h), torch.zeros(1).double())]
    ebp.update(layers, torch.tensor(x), torch.tensor(y), BINARY)
    ours = layers[0][0] - torch.tensor(h)
    assert float((ours - exact).norm() / exact.norm()) < 0.4
    assert torch.equal(torch.sign(ours), torch.sign(exact))


def test_update_error_averages_squares_over_beliefs_and_falls_with_the_number_of_inputs() -> None:
    generator = torch.Generator().manual_seed(7)
    gap = size = 0.0
    for _ in range(32):
        h = torch.randn(1, 2, generator=generator).double() / 2
        x = 2.0 * torch.randint(2, (1, 2), generator=generator).double() - 1
        y = 2.0 * torch.randint(2, (1, 1), generator=generator).double() - 1
        layers = [(h, torch.zeros(1).double())]
        ebp.update(layers, x, y, BINARY)
        exact = ebp.exact_update(h, x, y)
        gap += float(((layers[0][0] - h) - exact).pow(2).sum())
        size += float(exact.pow(2).sum())
    assert ebp.update_error(2, 7) == pytest.approx(100 * math.sqrt(gap / size))
    assert ebp.update_error(10, 0) < ebp.update_error(2, 0) < 60


def test_moment_gap_is_nothing_and_sees_a_wrong_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ebp.moment_gap(1) < 1e-12
    right = ebp.moments
    monkeypatch.setattr(ebp, "moments", lambda *a: (right(*a)[0], right(*a)[1] + 0.01))
    assert ebp.moment_gap(1) == pytest.approx(0.01)
    monkeypatch.setattr(ebp, "moments", lambda *a: (right(*a)[0] - 0.02, right(*a)[1] + 0.01))
    assert ebp.moment_gap(1) == pytest.approx(0.02)
    monkeypatch.setattr(ebp, "moments", lambda *a: (a[3].sum()[None, None], right(*a)[1]))
    assert ebp.moment_gap(1) != ebp.moment_gap(2)


def test_reproduce_measures_what_the_claims_name_and_takes_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a gradient was taken")

    monkeypatch.setattr(torch.autograd, "grad", forbidden)
    monkeypatch.setattr(torch.autograd, "backward", forbidden)
    monkeypatch.setattr(torch.Tensor, "backward", forbidden)
    monkeypatch.setattr(ebp, "EPOCHS", 1)
    with deterministic(0):
        metrics = ebp.reproduce(2)
        binary, real = (ebp.train(2, partial(ebp.update, posterior=how)) for how in (BINARY, REAL))
        rivals = [ebp.train(2, partial(ebp.backprop_step, rate=rate)) for rate in (0.03, 0.1, 0.3, 1.0)]
    x, y = digits().test_x.flatten(1), digits().test_y.numpy()

    def percent(output: Tensor) -> float:
        return 100 * float(np.mean(output.numpy().argmax(axis=1) == y))

    assert metrics["binary_averaged"] == pytest.approx(percent(ebp.averaged_output(binary, x, BINARY)))
    assert metrics["binary_deterministic"] == pytest.approx(percent(ebp.deterministic_output(binary, x)))
    assert metrics["real_averaged"] == pytest.approx(percent(ebp.averaged_output(real, x, REAL)))
    assert metrics["best_backprop"] == pytest.approx(max(percent(ebp.backprop_output(r, x)[1]) for r in rivals))
    assert metrics["binary_averaged"] > 80
    assert metrics["update_error_narrow"] == ebp.update_error(3, 2)
    assert metrics["update_error_wide"] == ebp.update_error(12, 2)
    assert metrics["moment_gap"] == ebp.moment_gap(2)
    others = [claim.expected if isinstance(claim, Exact) else claim.baseline for claim in ebp.CLAIMS]
    assert {claim.metric for claim in ebp.CLAIMS} | {name for name in others if isinstance(name, str)} <= set(metrics)


def test_weights_are_signs_that_no_gradient_reaches() -> None:
    (quantizer,) = ebp.QUANTIZERS
    x = torch.randn(7, 5, 3)
    integers, scale = quantizer.to_integers(x)
    assert torch.equal(scale * integers, quantizer.quantize(x))
    assert quantizer.to_integers(x.double())[1].dtype == torch.float64
    drawn = curve(quantizer)
    assert (drawn.name, drawn.bits, set(drawn.y), set(drawn.gradient)) == ("weights", 1, {-1.0, 1.0}, {0.0})


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(ebp.RECORD))
    with deterministic(0):
        metrics = ebp.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
    assert metrics["update_error_wide"] == pytest.approx(accepted.metrics["update_error_wide"][0])
