"""Self-binarizing networks: the smooth sign and its schedule, batch norm as a comparison, and the path in training."""

from __future__ import annotations

import copy
import math
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.binary import self_binarizing as sb
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import Split, digits
from reference_impls.kit.models import SmallCNN
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import read
from reference_impls.kit.ste import sign
from reference_impls.kit.train import accuracy, deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=80)
POINTS = [-3.0, -1.0, -0.4, -0.0, 0.0, 0.25, 0.4, 1.0, 2.5]
reals = st.floats(-20, 20)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def norm_of(gamma: float, beta: float, mean: float, var: float) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(1).double().eval()
    norm.weight.data, norm.bias.data = double(gamma), double(beta)
    norm.running_mean, norm.running_var = double(mean), double(var)
    return norm


def image(*values: float) -> Tensor:
    return double(*values).reshape(-1, 1, 1, 1)


@pytest.fixture
def network() -> SmallCNN:
    """A network with batch norms that are not trivial, half of their slopes negative."""
    with deterministic(0):
        net = sb.self_binarizing_cnn(30.0)
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.weight)
                nn.init.normal_(part.bias)
        net(digits().train_x[:200])
    return net.eval()


def test_value_and_gradient_are_those_of_tanh_and_neither_of_the_sign_nor_straight_through() -> None:
    x = double(*POINTS).requires_grad_()
    upstream = torch.arange(1.0, len(POINTS) + 1).double()
    for nu in (1.0, 3.0, 20.0):
        y = sb.smooth_sign(x, nu)
        np.testing.assert_allclose(y.detach(), np.tanh(nu * np.array(POINTS)), rtol=1e-12)
        (gradient,) = torch.autograd.grad(y, x, upstream)
        slope = nu / np.cosh(nu * np.array(POINTS)) ** 2
        np.testing.assert_allclose(gradient, upstream.numpy() * slope, rtol=1e-6, atol=1e-12)
        h = 1e-6
        middle = (sb.smooth_sign(x.detach() + h, nu) - sb.smooth_sign(x.detach() - h, nu)) / (2 * h)
        np.testing.assert_allclose(gradient, (upstream * middle).numpy(), rtol=1e-4, atol=1e-7)
        assert not torch.equal(y.detach(), sign(x.detach()))
    assert not sb.smooth_sign(x, math.inf).requires_grad


def test_it_becomes_the_sign_with_infinite_steepness() -> None:
    x = double(*POINTS)
    assert sb.smooth_sign(x, math.inf).tolist() == [1 if v >= 0 else -1 for v in POINTS]
    inside = x[x != 0]
    torch.testing.assert_close(sb.smooth_sign(inside, 1e3), sign(inside))


@PROPERTY
@given(reals, st.floats(0.5, 50))
def test_the_smooth_sign_is_odd_bounded_and_sharper_with_nu(value: float, nu: float) -> None:
    x = double(value)
    y = float(sb.smooth_sign(x, nu))
    assert abs(y) <= 1
    assert y == -float(sb.smooth_sign(-x, nu))
    assert abs(float(sb.smooth_sign(x, 2 * nu))) >= abs(y)
    assert y * value >= 0


def test_the_schedule_multiplies_by_the_same_factor_from_one_to_the_end() -> None:
    nus = [sb.sharpness(step, 6) for step in range(7)]
    assert nus == pytest.approx([1, 10**0.5, 10, 10**1.5, 100, 10**2.5, 1000])
    assert sb.sharpness(3, 6, 100.0) == pytest.approx(10)
    assert sb.sharpness(5, 9, 1.0) == 1.0
    assert sb.END == 1000.0


def test_near_binary_counts_what_lies_within_a_hundredth() -> None:
    assert sb.near_binary(double(-1, -0.995, 0.9, 0.989, 0.9901, 1.0, 0.0, 0.5)) == 50.0
    assert sb.near_binary(torch.zeros(3)) == 0.0


@PROPERTY
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-9, 9), st.floats(0, 40), reals)
def test_a_comparison_is_batch_norm_and_sign(gamma: float, beta: float, mean: float, var: float, x: float) -> None:
    norm = norm_of(gamma, beta, mean, var)
    value = gamma * (x - mean) / math.sqrt(var + norm.eps) + beta
    if abs(value) > 1e-9:  # rounding decides nearer to 0
        assert sb.compare(image(x), *sb.comparison(norm)).item() == (1 if value >= 0 else -1)
    whole = round(x)
    value = gamma * (whole - mean) / math.sqrt(var + norm.eps) + beta
    if abs(value) > 1e-9:
        assert sb.compare(image(whole), *sb.comparison(norm, integers=True)).item() == (1 if value >= 0 else -1)


def test_the_threshold_by_hand() -> None:
    # s = 2, so that tau = 3 - 2 * 0.5 / 2 = 2.5; with a negative slope 3 + 0.5 = 3.5.
    threshold, direction = sb.comparison(norm_of(2.0, 0.5, 3.0, 4.0 - 1e-5))
    assert [float(threshold), float(direction)] == pytest.approx([2.5, 1.0])
    assert threshold.dtype == direction.dtype == torch.float64
    threshold, direction = sb.comparison(norm_of(-2.0, 0.5, 3.0, 4.0 - 1e-5))
    assert [float(threshold), float(direction)] == pytest.approx([3.5, -1.0])
    assert float(sb.comparison(norm_of(2.0, 0.5, 3.0, 4.0), integers=True)[0]) == 3.0
    assert float(sb.comparison(norm_of(-2.0, 0.5, 3.0, 4.0), integers=True)[0]) == 3.0


def test_on_the_threshold_it_is_plus_one_whatever_the_direction() -> None:
    for gamma in (2.0, -2.0):
        assert sb.compare(image(4, 5, 6), *sb.comparison(norm_of(gamma, 0.0, 5.0, 1.0))).flatten().tolist() == (
            [-1, 1, 1] if gamma > 0 else [1, 1, -1]
        )


@pytest.mark.parametrize(("beta", "expected"), [(0.5, 1.0), (0.0, 1.0), (-0.5, -1.0)])
@pytest.mark.parametrize("integers", [False, True])
def test_a_channel_without_slope_is_constant(beta: float, expected: float, *, integers: bool) -> None:
    comparison = sb.comparison(norm_of(0.0, beta, 1.0, 1.0), integers=integers)
    assert sb.compare(image(-99, 0, 99), *comparison).flatten().tolist() == [expected] * 3


def test_each_channel_has_its_own_comparison_and_keeps_the_dtype() -> None:
    x = torch.arange(24, dtype=torch.float32).reshape(2, 3, 2, 2)
    y = sb.compare(x, double(2, 9.5, -math.inf), double(1, -1, 1))
    assert y.dtype == torch.float32
    assert sb.compare(x.double(), double(2, 9.5, 0), double(1, -1, 1)).dtype == torch.float64
    expected = torch.stack(
        [torch.where(x[:, 0] >= 2, 1, -1), torch.where(x[:, 1] <= 9.5, 1, -1), torch.ones(2, 2, 2)], 1
    )
    assert torch.equal(y, expected)


def test_differences_are_counted_over_all_integers_and_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    norm = sb.random_norm(torch.Generator().manual_seed(3))
    assert sb.comparison_differences(norm.train()) == 0
    assert norm.weight.dtype == torch.float32, "the given norm stays as it was"
    assert norm.training
    monkeypatch.setattr(sb, "compare", lambda x, _threshold, _direction: sign(x))
    passing = norm_of(1.0, 0.0, 0.0, 1.0)
    assert sb.comparison_differences(passing) == 0
    assert sb.comparison_differences(norm_of(-1.0, 0.0, 0.0, 1.0)) == 2 * 72  # all but 0 are on the wrong side
    assert sb.comparison_differences(norm_of(1.0, 0.0, 35.5, 1.0)) == 2 * 36  # 0 to 35
    assert sb.comparison_differences(norm_of(1.0, 0.0, -35.5, 1.0)) == 2 * 35  # -35 to -1
    monkeypatch.undo()
    kept = sb.comparison
    monkeypatch.setattr(sb, "comparison", lambda _norm, *, integers: kept(norm_of(1.0, 0.5 * integers, 0.0, 1.0)))
    assert sb.comparison_differences(passing) == 0
    monkeypatch.setattr(sb, "comparison", lambda _norm, *, integers: kept(norm_of(1.0, 1.5 * integers, 0.0, 1.0)))
    assert sb.comparison_differences(passing) == 1


def test_random_norms_have_slopes_of_both_signs_and_none() -> None:
    norm, same = (sb.random_norm(torch.Generator().manual_seed(1)) for _ in range(2))
    assert norm.weight.shape == (256,)
    assert norm.weight[:2].tolist() == [0, 0]
    assert 0.3 < float((norm.weight < 0).float().mean()) < 0.7
    assert int((norm.weight == 0).sum()) == 2
    mean, var = cast("Tensor", norm.running_mean), cast("Tensor", norm.running_var)
    assert float(mean.std()) == pytest.approx(9, rel=0.15)
    assert float(var.mean()) == pytest.approx(81, rel=0.25)
    assert float(var.min()) >= 0
    assert torch.equal(norm.bias, same.bias)
    assert not torch.equal(norm.bias, norm.weight)
    assert sb.random_norm(torch.Generator(), 7).bias.shape == (7,)


def test_one_steepness_serves_weights_and_activations_of_the_whole_network() -> None:
    net = sb.self_binarizing_cnn(2.0)
    (soft,) = {part for part in net.modules() if isinstance(part, sb.Sharpening)}
    assert soft.nu == 2.0
    assert all(sb.parts(block)[0] is soft and sb.parts(block)[1].quantizer is soft for block in net.blocks)
    sb.set_sharpness(net, 7.0)
    assert soft.nu == 7.0
    assert torch.equal(soft(double(0.1)), torch.tanh(double(0.7)))
    assert sb.Sharpening().nu == 1.0
    assert cast("sb.Sharpening", sb.parts(sb.self_binarizing_cnn().blocks[0])[0]).nu == 1.0
    x = torch.randn(3, 4, 8, 8)
    weight = sb.parts(net.blocks[0])[1].weight
    expected = nn.functional.conv2d(torch.tanh(7 * x), torch.tanh(7 * weight), padding=1)
    block = cast("nn.Sequential", net.blocks[0])
    torch.testing.assert_close(block[1](block[0](x)), expected)


def test_the_gradient_is_the_true_one_which_straight_through_is_not(network: SmallCNN) -> None:
    x, y, h = digits().train_x[:64].double(), digits().train_y[:64], 1e-5

    def gap(net: SmallCNN) -> float:
        exact = copy.deepcopy(net).double().eval()
        weight = sb.parts(exact.blocks[0])[1].weight
        direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(exact(x), y), weight)
        losses = []
        for move in (h, -2 * h):
            weight.data += move * direction
            losses.append(float(nn.functional.cross_entropy(exact(x), y).detach()))
        return abs(float((gradient * direction).sum()) - (losses[0] - losses[1]) / (2 * h))

    smooth = copy.deepcopy(network)
    sb.set_sharpness(smooth, 3.0)
    assert gap(smooth) < 1e-7
    with deterministic(0):
        assert gap(sb.straight_through_cnn()) > 1e-3


def test_signs_replace_smooth_values_in_a_copy(network: SmallCNN) -> None:
    signs = sb.with_signs(network.train())
    assert not signs.training
    assert network.training
    assert sb.parts(network.blocks[0])[0].nu == 30.0
    assert sb.parts(signs.blocks[0])[0].nu == math.inf
    conv = sb.parts(signs.blocks[0])[1]
    assert set(conv.quantizer(conv.weight).flatten().tolist()) == {-1.0, 1.0}
    old, new = (cast("Tensor", sb.parts(net.blocks[0])[3].running_mean) for net in (network, signs))
    assert torch.equal(old, new)


def test_settled_statistics_are_those_of_signs_on_the_training_images(network: SmallCNN) -> None:
    signs = sb.with_signs(network, settle=True)
    assert not signs.training
    stem = signs.stem
    h = stem[0](digits().train_x).detach()
    torch.testing.assert_close(stem[1].running_mean, h.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(stem[1].running_var, h.var(dim=(0, 2, 3)))
    conv, norm = sb.parts(signs.blocks[0])[1], sb.parts(signs.blocks[0])[3]
    with torch.no_grad():
        normed = copy.deepcopy(stem[1]).train()(h)
        products = nn.functional.max_pool2d(nn.functional.conv2d(sign(normed), sign(conv.weight), padding=1), 2)
    torch.testing.assert_close(cast("Tensor", norm.running_mean), products.mean(dim=(0, 2, 3)), rtol=1e-3, atol=1e-3)
    plain = sb.with_signs(network)
    assert not torch.equal(sb.parts(plain.blocks[0])[3].running_mean, norm.running_mean)  # type: ignore[arg-type]


def test_inference_by_comparisons_agrees_with_batch_norm_and_signs(network: SmallCNN) -> None:
    signs = sb.with_signs(network)
    x = digits().test_x[:100]
    torch.testing.assert_close(sb.infer(signs, x), signs(x))
    assert sb.infer(signs, x).shape == (100, 10)
    slopes = torch.cat([sb.parts(block)[3].weight for block in signs.blocks])
    assert bool((slopes < 0).any()), "a negative slope turns the comparison round"


def test_inference_asks_for_integer_thresholds_behind_binary_layers_only(
    monkeypatch: pytest.MonkeyPatch, network: SmallCNN
) -> None:
    asked: list[tuple[nn.Module, bool]] = []
    kept = sb.comparison

    def watched(norm: nn.BatchNorm2d, *, integers: bool = False) -> tuple[Tensor, Tensor]:
        asked.append((norm, integers))
        return kept(norm, integers=integers)

    monkeypatch.setattr(sb, "comparison", watched)
    signs = sb.with_signs(network)
    sb.infer(signs, digits().test_x[:2])
    stem = signs.stem
    assert asked == [(stem[1], False), *((sb.parts(block)[3], True) for block in signs.blocks)]


def test_the_baseline_is_straight_through_with_clipped_latent_weights() -> None:
    net = sb.straight_through_cnn()
    act, conv, _, _ = sb.parts(net.blocks[1])
    x = torch.tensor([-1.5, -1.0, -0.2, 0.0, 1.0, 1.1], requires_grad=True)
    for function, slope in ((act, [0, 1, 1, 1, 1, 0]), (conv.quantizer, [1] * 6)):
        y = function(x)
        assert y.tolist() == [-1, -1, -1, 1, 1, 1]
        (gradient,) = torch.autograd.grad(y, x, torch.full((6,), 2.0))
        assert gradient.tolist() == [2 * s for s in slope]
    conv.weight.data[0, 0] = torch.tensor([[-3.0, 0.5, 2.0]] * 3)
    stem = cast("nn.Conv2d", net.stem[0])
    stem.weight.data[:] = 5.0
    sb.clip_latent(net, 1, 2)
    assert conv.weight[0, 0, 0].tolist() == [-1.0, 0.5, 1.0]
    assert float(sb.latent(net).abs().max()) == 1.0
    assert float(stem.weight.detach().max()) == 5.0


def test_latent_weights_are_those_of_both_binary_layers() -> None:
    net = sb.self_binarizing_cnn()
    vector = sb.latent(net)
    assert vector.shape == (9 * 4 * 4 + 9 * 4 * 8,)
    assert not vector.requires_grad
    assert torch.equal(vector[:144], sb.parts(net.blocks[0])[1].weight.flatten())


def test_the_path_is_measured_at_every_quarter(monkeypatch: pytest.MonkeyPatch) -> None:
    nus: list[float] = []
    handed: list[object] = []

    def fake_train(build: object, seed: int, *, after_step: object) -> nn.Module:
        handed.extend([build, seed])
        with deterministic(seed):
            net = sb.self_binarizing_cnn()
        assert callable(after_step)
        for step in range(1, 9):
            if step == 5:  # a third of the weights of the first layer change their sign in the third quarter
                weight = sb.parts(net.blocks[0])[1].weight
                weight.data.view(-1)[:48] *= -1
            after_step(net, step, 8)
            nus.append(cast("sb.Sharpening", sb.parts(net.blocks[0])[0]).nu)
            assert net.training
        return net

    monkeypatch.setattr(sb, "train", fake_train)
    with deterministic(0):  # one thread
        network, path = sb.sharpen(2, 100.0)
    assert handed == [sb.self_binarizing_cnn, 2]
    assert nus == pytest.approx([100 ** (k / 8) for k in range(1, 9)])
    assert [path[f"flips_{at}"] for at in (25, 50, 75, 100)] == pytest.approx([0, 0, 100 * 48 / 432, 0])
    assert set(path) == {
        f"{what}_{at}"
        for what in ("weights_near", "activations_near", "smooth", "signs", "flips")
        for at in (25, 50, 75, 100)
    }
    theta = sb.latent(network)
    near = [100 * float((torch.tanh(nu * theta.abs()) >= 0.99).double().mean()) for nu in (10**0.5, 10, 10**1.5, 100)]
    assert [path[f"weights_near_{at}"] for at in (25, 50, 75, 100)] == pytest.approx(near)
    x = network.eval().stem(digits().test_x)
    assert path["activations_near_100"] == pytest.approx(sb.near_binary(torch.tanh(100 * x)))
    assert path["activations_near_25"] == pytest.approx(sb.near_binary(torch.tanh(10**0.5 * x)))
    assert path["smooth_100"] == accuracy(network)
    assert path["signs_100"] == accuracy(sb.with_signs(network, settle=True))


def test_reproduce_measures_each_variant_under_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    data = digits()
    few = Split(data.train_x[:64], data.train_y[:64], data.test_x[:40], data.test_y[:40])
    trained: list[tuple[SmallCNN, int, object]] = []
    ends: list[tuple[int, float]] = []
    shown: list[tuple[float, bool]] = []

    def fake_train(build: object, seed: int, after_step: object = None) -> nn.Module:
        assert callable(build)
        with deterministic(seed):
            net = build()
        trained.append((net, seed, after_step))
        assert isinstance(net, SmallCNN)
        return net.eval()

    def fake_sharpen(seed: int, end: float) -> tuple[SmallCNN, dict[str, float]]:
        ends.append((seed, end))
        with deterministic(seed):
            return sb.self_binarizing_cnn(end).eval(), {"path": end}

    def fake_signs(network: SmallCNN, *, settle: bool = False) -> SmallCNN:
        shown.append((cast("sb.Sharpening", sb.parts(network.blocks[0])[0]).nu, settle))
        return network

    def fake_infer(network: SmallCNN, x: Tensor) -> Tensor:
        assert cast("sb.Sharpening", sb.parts(network.blocks[0])[0]).nu == 1000.0
        assert x is few.test_x
        return nn.functional.one_hot(few.test_y, 10) * (torch.arange(40) < 30)[:, None]

    def fake_norm(generator: torch.Generator) -> nn.BatchNorm2d:
        assert generator.initial_seed() == 4
        return nn.BatchNorm2d(256)

    def fake_accuracy(network: SmallCNN) -> float:
        soft = sb.parts(network.blocks[0])[0]
        return soft.nu if isinstance(soft, sb.Sharpening) else -1.0

    monkeypatch.setattr(sb, "train", fake_train)
    monkeypatch.setattr(sb, "sharpen", fake_sharpen)
    monkeypatch.setattr(sb, "with_signs", fake_signs)
    monkeypatch.setattr(sb, "accuracy", fake_accuracy)
    monkeypatch.setattr(sb, "digits", lambda: few)
    monkeypatch.setattr(sb, "infer", fake_infer)
    monkeypatch.setattr(sb, "random_norm", fake_norm)
    monkeypatch.setattr(sb, "comparison_differences", lambda norm: norm.num_features)
    metrics = sb.reproduce(4)
    assert ends == [(4, 1000.0), (4, 10.0)]
    assert [seed for _, seed, _ in trained] == [4] * 3
    assert shown == [(1000.0, False), (1.0, True), (10.0, True), (1000.0, True)]
    rules = {type(sb.parts(net.blocks[0])[0]): after for net, _, after in trained}
    assert rules == {sb.Sharpening: None, sb.StraightSign: sb.clip_latent}
    hits = 75 + 100 * float((few.test_y[30:] == 0).float().mean()) / 4
    assert metrics == {
        "self_binarizing": 1000.0,
        "straight_through": -1.0,
        "smooth": 1.0,
        "without_sharpening": 1.0,
        "ends_at_10": 10.0,
        "steep_from_start": 1000.0,
        "path": 1000.0,
        "comparison_accuracy": pytest.approx(hits),
        "comparison_differences": 4 + 256,
        "cnn_accuracy": 1000.0,
    }


def test_claims_name_what_is_measured() -> None:
    accepted = read(result_path(sb.RECORD)).metrics
    for claim in sb.CLAIMS:
        assert claim.metric in accepted
        other = claim.expected if isinstance(claim, Exact) else claim.baseline
        assert not isinstance(other, str) or other in accepted
    assert (range(10), "w1a1") == (sb.SEEDS, sb.BUDGET_BITS)


def test_a_short_training_ends_with_signs_in_place_of_smooth_values() -> None:
    data = digits()
    few = Split(data.train_x[:128], data.train_y[:128], data.test_x, data.test_y)

    def after_step(net: nn.Module, step: int, steps: int) -> None:
        sb.set_sharpness(net, sb.sharpness(step, steps))

    net = cast("SmallCNN", train(sb.self_binarizing_cnn, 0, data=few, epochs=4, after_step=after_step))
    nu = cast("sb.Sharpening", sb.parts(net.blocks[0])[0]).nu
    assert nu == pytest.approx(1000)
    assert sb.near_binary(sb.smooth_sign(sb.latent(net), nu)) > 90
    same = net(data.test_x).argmax(dim=1) == sb.with_signs(net)(data.test_x).argmax(dim=1)
    assert float(same.float().mean()) > 0.9


def test_the_quantizer_is_the_sign_at_the_end_with_a_smooth_gradient() -> None:
    (quantizer,) = sb.QUANTIZERS
    assert (quantizer.name, quantizer.bits) == ("weights and activations", 1)
    x = torch.randn(7, 5, 3)
    integers, scale = quantizer.to_integers(x)
    assert integers.dtype == torch.int64
    assert torch.equal(scale * integers, quantizer.quantize(x))
    assert quantizer.to_integers(x.double())[1].dtype == torch.float64
    drawn = curve(quantizer)
    assert set(drawn.y) == {-1.0, 1.0}
    assert drawn.gradient == pytest.approx([4 / math.cosh(4 * v) ** 2 for v in drawn.x], abs=1e-5)


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(sb.RECORD))
    with deterministic(0):
        metrics = sb.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
    assert metrics["comparison_differences"] == 0
