from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.binary import bnn_optimisation as bo
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Difference
from reference_impls.kit.data import Split, digits
from reference_impls.kit.models import QuantConv2d, QuantLinear, SmallCNN
from reference_impls.kit.quantizers import Quantizer, curve
from reference_impls.kit.results import read
from reference_impls.kit.train import accuracy, deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
POINTS = [-3.0, -1.001, -1.0, -0.4, -0.0, 0.0, 0.7, 1.0, 1.001, 2.5]
UPSTREAM = torch.arange(1.0, len(POINTS) + 1)


def gradient(y: Tensor, x: Tensor) -> list[float]:
    (result,) = torch.autograd.grad(y, x, UPSTREAM)
    values: list[float] = result.tolist()
    return values


def test_signs_pass_the_gradient_whole_or_only_inside_one_unlike_a_plain_straight_through_estimator() -> None:
    x = torch.tensor(POINTS, requires_grad=True)
    inside = [float(u) if abs(v) <= 1 else 0.0 for u, v in zip(UPSTREAM, POINTS, strict=True)]
    for y, expected in (
        (bo.binarize(x), inside),
        (bo.binarize(x, True), inside),
        (bo.binarize(x, False), UPSTREAM.tolist()),
        (bo.Binarize(True)(x), inside),
        (bo.Binarize(False)(x), UPSTREAM.tolist()),
    ):
        assert y.tolist() == [1.0 if v >= 0 else -1.0 for v in POINTS]
        assert gradient(y, x) == expected


def test_saturation_is_the_derivative_of_the_hard_tanh_by_finite_differences() -> None:
    x = torch.tensor([-2.0, -1.01, -0.99, 0.0, 0.99, 1.01, 3.0], dtype=torch.float64)
    step = 1e-6
    difference = ((x + step).clamp(-1, 1) - (x - step).clamp(-1, 1)) / (2 * step)
    assert torch.allclose(bo.saturation(x), difference)
    assert bo.saturation(x).dtype == torch.float64


@PROPERTY
@given(st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=20), st.booleans())
def test_binarization_is_idempotent_and_blind_to_scale(values: list[float], clips: bool) -> None:
    x = torch.tensor(values)
    signs = bo.binarize(x, clips)
    assert set(signs.tolist()) <= {-1.0, 1.0}
    assert torch.equal(bo.binarize(signs, clips), signs)
    assert torch.equal(bo.binarize(3 * x, clips), signs)


GRADIENTS = np.random.default_rng(4).normal(size=(6, 3))


def stepped(rule: bo.Rule, rates: list[float] | None = None) -> list[float]:
    """Return a parameter that started at 1, 2, 3 after six steps."""
    p = nn.Parameter(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    other = nn.Parameter(torch.ones(2))
    stepper = bo.Moments([p, other], rule)
    for index, g in enumerate(GRADIENTS):
        if rates is not None:
            stepper.param_groups[0]["lr"] = rates[index]
        p.grad = torch.from_numpy(g.copy())
        stepper.step()
    assert other.tolist() == [1.0, 1.0]
    values: list[float] = p.tolist()
    return values


def formula(lr: float, first: float, second: float | None, rates: list[float] | None = None) -> list[float]:
    w, m, v = np.array([1.0, 2.0, 3.0]), np.zeros(3), np.zeros(3)
    for t, g in enumerate(GRADIENTS, start=1):
        m = first * m + (1 - first) * g
        top, bottom = m / (1 - first**t), np.ones(3)
        if second == 1:
            v = v + g * g
            bottom = np.sqrt(v) + 1e-8
        elif second is not None:
            v = second * v + (1 - second) * g * g
            bottom = np.sqrt(v / (1 - second**t)) + 1e-8
        w = w - (lr if rates is None else rates[t - 1]) * top / bottom
    values: list[float] = w.tolist()
    return values


@pytest.mark.parametrize("first", [0.0, 0.9])
@pytest.mark.parametrize("second", [None, 1.0, 0.99])
def test_every_optimizer_of_the_family_is_its_formula(first: float, second: float | None) -> None:
    assert stepped(bo.Rule(0.1, first, second)) == pytest.approx(formula(0.1, first, second), rel=1e-12)
    rates = [0.5, 0.1, 0.2, 0.0, 0.3, 0.01]
    assert stepped(bo.Rule(0.1, first, second), rates) == pytest.approx(formula(0.0, first, second, rates), rel=1e-12)


@pytest.mark.parametrize(
    ("rule", "make"),
    [
        (bo.Rule(0.1), lambda p: torch.optim.SGD(p, lr=0.1)),
        (bo.Rule(0.1, second=1.0), lambda p: torch.optim.Adagrad(p, lr=0.1, eps=1e-8)),
        (bo.Rule(0.1, first=0.9, second=0.999), lambda p: torch.optim.Adam(p, lr=0.1)),
    ],
    ids=["sgd", "adagrad", "adam"],
)
def test_optimizers_agree_with_those_of_the_library(rule: bo.Rule, make: Any) -> None:
    p = nn.Parameter(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    stepper = make([p])
    for g in GRADIENTS:
        p.grad = torch.from_numpy(g.copy())
        stepper.step()
    assert stepped(rule) == pytest.approx(p.tolist(), rel=1e-9)


def test_the_schedule_of_the_kit_leaves_plain_sgd_without_momentum() -> None:
    stepper = bo.Moments([nn.Parameter(torch.ones(1))], bo.RULES["sgd"])
    assert set(stepper.defaults) == {"lr"}
    assert stepper.rule == bo.RULES["sgd"]
    assert stepper.eps == 1e-8


def test_rules_have_the_moments_that_their_names_say() -> None:
    moments = {name: (rule.first, rule.second) for name, rule in bo.RULES.items()}
    assert moments == {
        "sgd": (0.0, None),
        "momentum": (0.9, None),
        "adagrad": (0.0, 1.0),
        "rmsprop": (0.0, 0.999),
        "adam": (0.9, 0.999),
    }
    assert all(1e-3 < rule.lr <= 10 for rule in bo.RULES.values())


def products(network: nn.Module) -> list[QuantLinear]:
    return [part for part in network.modules() if isinstance(part, QuantLinear)]


def switches(network: nn.Module) -> list[bo.Binarize]:
    return [part for part in network.modules() if isinstance(part, bo.Binarize)]


def test_network_equals_its_layers_written_out_and_reads_the_image_unbinarized() -> None:
    with deterministic(3):
        network = bo.mlp(bo.Recipe()).eval()
    x = digits().test_x[:20]
    h = x.reshape(20, 64)
    norms = [part for part in network if isinstance(part, nn.BatchNorm1d)]
    for index, (layer, norm) in enumerate(zip(products(network), norms, strict=True)):
        h = torch.where(h >= 0, 1.0, -1.0) if index else h
        h = norm(h @ torch.where(layer.weight >= 0, 1.0, -1.0).T)
    assert h.shape == (20, 10)
    assert torch.equal(network(x), h)
    assert [tuple(layer.weight.shape) for layer in products(network)] == [(64, 64), (64, 64), (10, 64)]


def test_latent_weights_start_as_glorots() -> None:
    with deterministic(0):
        network = bo.mlp(bo.Recipe())
    for layer in products(network):
        bound = math.sqrt(6 / sum(layer.weight.shape))
        assert 0.97 * bound < float(layer.weight.detach().abs().max()) <= bound


def test_gradients_are_clipped_from_the_start_only_where_the_recipe_says_from_0() -> None:
    for start, expected in ((0.0, True), (0.5, False), (bo.NEVER, False)):
        network = bo.mlp(bo.Recipe(gradients_from=start))
        assert [part.clip_gradient for part in switches(network)] == [expected] * 5
    assert len(bo.mlp(bo.Recipe())) == 9


def test_rates_of_weights_are_divided_by_glorots_coefficient_and_others_are_not() -> None:
    network = bo.mlp(bo.Recipe())
    rule = bo.Rule(0.2, 0.5, 0.25)
    stepper = bo.optimizer(network, rule)
    assert stepper.rule is rule
    rates = {id(p): group["lr"] for group in stepper.param_groups for p in group["params"]}
    assert rates.keys() == {id(p) for p in network.parameters()}
    for layer in products(network):
        assert rates.pop(id(layer.weight)) == pytest.approx(0.2 * math.sqrt(sum(layer.weight.shape) / 1.5))
    assert set(rates.values()) == {0.2}
    assert len(rates) == 6


@pytest.mark.parametrize(
    ("recipe", "step", "weights", "gradients"),
    [
        (bo.Recipe(), 1, True, True),
        (bo.Recipe(gradients_from=bo.NEVER), 100, True, False),
        (bo.Recipe(weights_from=bo.NEVER), 100, False, True),
        (bo.Recipe(weights_from=0.5, gradients_from=0.25), 24, False, False),
        (bo.Recipe(weights_from=0.5, gradients_from=0.25), 25, False, True),
        (bo.Recipe(weights_from=0.5, gradients_from=0.25), 49, False, True),
        (bo.Recipe(weights_from=0.5, gradients_from=0.25), 50, True, True),
        (bo.STAGED, 49, False, False),
        (bo.STAGED, 50, True, True),
    ],
)
def test_clipping_is_switched_at_its_time(recipe: bo.Recipe, step: int, weights: bool, gradients: bool) -> None:
    network = nn.Sequential(bo.mlp(recipe), SmallCNN(lambda i, o: bo.cnn_block(i, o, True)), nn.Linear(2, 1))
    layer, conv = products(network)[0], next(p for p in network.modules() if isinstance(p, QuantConv2d))
    layer.weight.data[0, :3] = torch.tensor([-3.0, 0.5, 1.5])
    conv.weight.data[0, 0, 0, 0] = 7.0
    real = network[2]
    assert isinstance(real, nn.Linear)
    real.weight.data.fill_(4.0)
    bo.clip(network, step, 100, recipe)
    assert layer.weight[0, :3].tolist() == ([-1.0, 0.5, 1.0] if weights else [-3.0, 0.5, 1.5])
    assert float(conv.weight.detach()[0, 0, 0, 0]) == (1.0 if weights else 7.0)
    assert real.weight.tolist() == [[4.0, 4.0]]
    assert [part.clip_gradient for part in switches(network)] == [gradients] * 9


@pytest.mark.parametrize("pool_first", [True, False])
def test_blocks_pool_before_or_after_batch_norm(pool_first: bool) -> None:
    with deterministic(2):
        block = bo.cnn_block(3, 5, pool_first)
        x = torch.randn(4, 3, 6, 6)
    kinds = [type(part) for part in block]
    pair = [nn.MaxPool2d, nn.BatchNorm2d] if pool_first else [nn.BatchNorm2d, nn.MaxPool2d]
    assert kinds == [bo.Binarize, QuantConv2d, *pair]
    conv = block[1]
    assert isinstance(conv, QuantConv2d)
    assert conv.weight.shape == (5, 3, 3, 3)
    assert isinstance(conv.quantizer, bo.Binarize)
    assert [part.clip_gradient for part in switches(block)] == [True, True]
    norm = next(part for part in block if isinstance(part, nn.BatchNorm2d))
    x_signs, w_signs = (torch.where(part >= 0, 1.0, -1.0) for part in (x, conv.weight))
    sums = torch.nn.functional.conv2d(x_signs, w_signs, padding=1)
    pooled = torch.nn.functional.max_pool2d(sums if pool_first else norm(sums), 2)
    assert torch.allclose(block(x), norm(pooled) if pool_first else pooled, atol=1e-6)
    assert block(x).shape == (4, 5, 3, 3)


def test_pooling_after_batch_norm_gives_mostly_plus_one() -> None:
    with deterministic(0):
        x = torch.randn(64, 4, 8, 8)
        shares = [float((bo.cnn_block(4, 8, first)(x) >= 0).float().mean()) for first in (True, False)]
    assert 0.4 < shares[0] < 0.65
    assert shares[1] > 0.75


def test_the_grid_changes_one_thing_at_a_time() -> None:
    cells = bo.grid()
    usual = cells["adam"]
    assert usual == bo.Recipe("adam", 0.0, 0.0)
    assert {name: cells.pop(name) for name in bo.RULES} == {name: bo.Recipe(name) for name in bo.RULES}
    assert cells == {
        "weight_clipping_only": bo.Recipe("adam", 0.0, math.inf),
        "gradient_clipping_only": bo.Recipe("adam", math.inf, 0.0),
        "no_clipping": bo.Recipe("adam", math.inf, math.inf),
        "late_clipping": bo.Recipe("adam", 0.5, 0.5),
    }


def few() -> Split:
    data = digits()
    return Split(data.train_x[:256], data.train_y[:256], data.test_x, data.test_y)


def test_a_run_reads_early_accuracy_after_an_eighth_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    read_at: list[int] = []

    def watched_train(build: Any, seed: int, *, epochs: int, batch: int, optimizer: Any, after_step: Any) -> nn.Module:
        assert (seed, epochs, batch) == (7, 8, 128)
        with deterministic(0):
            network: nn.Module = build()
        assert isinstance(network, nn.Sequential)
        assert optimizer(network).rule == bo.RULES["rmsprop"]
        for step in range(1, 17):
            after_step(network, step, 16)
        return network

    def watched_accuracy(_network: nn.Module) -> float:
        read_at.append(len(seen))
        return float(len(seen))

    monkeypatch.setattr(bo, "train", watched_train)
    monkeypatch.setattr(bo, "clip", lambda _network, step, steps, _recipe: seen.append((step, steps)))
    monkeypatch.setattr(bo, "accuracy", watched_accuracy)
    assert bo.run(bo.Recipe("rmsprop"), 7) == (16.0, 2.0)
    assert read_at == [2, 16]
    assert seen == [(step, 16) for step in range(1, 17)]


def test_late_clipping_trains_like_no_clipping_up_to_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = few()
    monkeypatch.setattr(bo, "EPOCHS", 4)
    monkeypatch.setattr(bo, "EARLY", 3 / 8)
    monkeypatch.setattr(bo, "train", lambda *built, **how: train(*built, data=data, **how))
    results = {name: bo.run(bo.grid()[name], 1) for name in ("adam", "no_clipping", "late_clipping")}
    assert results["late_clipping"][1] == results["no_clipping"][1] != results["adam"][1]
    assert results["late_clipping"][0] != results["no_clipping"][0]


def test_the_convolutional_network_is_trained_by_the_usual_recipe_under_the_shared_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[dict[str, Any]] = []

    def watched(build: Any, seed: int, **how: Any) -> nn.Module:
        seen.append({"seed": seed, **how})
        with deterministic(seed):
            return nn.Sequential(build())

    monkeypatch.setattr(bo, "train", watched)
    built: list[list[type]] = []

    def watched_accuracy(network: nn.Sequential) -> float:
        inner = network[0]
        assert isinstance(inner, SmallCNN)
        built.extend([type(part) for part in block.children()] for block in inner.blocks)
        return float(len(built))

    monkeypatch.setattr(bo, "accuracy", watched_accuracy)
    assert (bo.run_cnn(True, 5), bo.run_cnn(False, 5)) == (2, 4)
    assert built[:2] == [[bo.Binarize, QuantConv2d, nn.MaxPool2d, nn.BatchNorm2d]] * 2
    assert built[2:] == [[bo.Binarize, QuantConv2d, nn.BatchNorm2d, nn.MaxPool2d]] * 2
    for how in seen:
        assert set(how) == {"seed", "after_step"}
        assert how["seed"] == 5
        assert (how["after_step"].func, how["after_step"].keywords) == (bo.clip, {"recipe": bo.Recipe()})


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = bo.grid()
    names = {recipe: float(index) for index, recipe in enumerate(cells.values())}
    monkeypatch.setattr(bo, "run", lambda recipe, seed: (names[recipe] + seed, names[recipe] / 2))
    monkeypatch.setattr(bo, "run_cnn", lambda pool_first, seed: 80.0 + pool_first + seed)
    metrics = bo.reproduce(3)
    assert {name: metrics[name] for name in cells} == {name: names[recipe] + 3 for name, recipe in cells.items()}
    assert metrics["clipping_early"] == names[cells["adam"]] / 2
    assert metrics["no_clipping_early"] == names[cells["no_clipping"]] / 2
    assert (metrics["cnn_accuracy"], metrics["cnn_pool_after_norm"]) == (84.0, 83.0)
    assert len(metrics) == 13
    for claim in bo.CLAIMS:
        assert isinstance(claim, Difference)
        assert {claim.metric, claim.baseline} <= set(metrics)


def test_a_real_run_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bo, "EPOCHS", 2)
    end, early = bo.run(bo.Recipe(), 0)
    assert end > early > 5
    assert end > 60


def test_no_other_network_scores_like_the_trained_one() -> None:
    with deterministic(0):
        assert accuracy(bo.mlp(bo.Recipe())) < 40


@pytest.mark.parametrize("quantizer", bo.QUANTIZERS, ids=lambda q: q.name)
def test_quantizers_are_scale_times_integers_on_two_levels(quantizer: Quantizer) -> None:
    x = torch.randn(7, 5, 3, dtype=torch.float64)
    integers, scale = quantizer.to_integers(x)
    assert integers.dtype == torch.int64
    assert scale.dtype == torch.float64
    assert torch.equal(scale * integers, quantizer.quantize(x))
    drawn = curve(quantizer)
    assert (drawn.bits, set(drawn.y)) == (1, {-1.0, 1.0})
    assert set(drawn.gradient) == ({0.0, 1.0} if "clipped" in drawn.name else {1.0})


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(bo.RECORD))
    with deterministic(0):
        metrics = bo.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
