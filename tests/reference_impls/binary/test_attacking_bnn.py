from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.binary import attacking_bnn as attacking
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Difference
from reference_impls.kit.data import Split, digits
from reference_impls.kit.models import SmallMLP
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=40)
POINTS = [-3.0, -1.0, -0.25, -0.0, 0.0, 0.25, 1.0, 2.5]
UPSTREAM = [-4.0, -1.0, -0.5, 0.0, 0.3, 1.0, 1.5, 9.0]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with deterministic(0):
        yield


def gradient(y: Tensor, x: Tensor, upstream: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(y, x, upstream)
    return result


class Linear(nn.Module):
    """Logits that are linear in the image: gradients can be had by hand."""

    def __init__(self, seed: int = 0, size: float = 1.0) -> None:
        super().__init__()
        self.weight = size * torch.randn(10, 64, generator=torch.Generator().manual_seed(seed))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


def images(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 8, 8, generator=generator) * 1.8 - 0.9, torch.randint(10, (count,), generator=generator)


def by_hand(model: Linear, x: Tensor, y: Tensor, temperature: float = 1.0) -> np.ndarray:
    w = model.weight.numpy().astype(np.float64)
    logits = temperature * x.flatten(1).numpy() @ w.T
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(y)), y.numpy()] -= 1
    return np.asarray((temperature * p @ w).reshape(x.shape))


def test_signs_pass_the_gradient_clipped_in_its_own_size_which_a_plain_straight_through_sign_does_not() -> None:
    x, upstream = torch.tensor(POINTS, requires_grad=True), torch.tensor(UPSTREAM)
    y = attacking.binarize(x)
    assert y.tolist() == [1 if v >= 0 else -1 for v in POINTS]  # rounding would give 0 at 0.25
    assert gradient(y, x, upstream).tolist() == pytest.approx([-1, -1, -0.5, 0, 0.3, 1, 1, 1])


def test_stochastic_signs_have_the_clipped_weight_as_mean_and_the_same_gradient() -> None:
    w = torch.tensor([-2.0, -1.0, -0.6, 0.0, 0.3, 1.0, 2.0], dtype=torch.float64)
    many = w.repeat(20_000, 1).requires_grad_()
    y = attacking.binarize_stochastically(many)
    assert y.dtype == torch.float64
    assert set(y.flatten().tolist()) == {-1.0, 1.0}
    mean = y.detach().mean(dim=0)
    assert torch.allclose(mean, w.clamp(-1, 1), atol=0.03)
    assert mean[[0, 1, 5, 6]].tolist() == [-1, -1, 1, 1]
    upstream = 3 * torch.randn(many.shape, dtype=torch.float64)
    assert torch.equal(gradient(y, many, upstream), upstream.clamp(-1, 1))
    assert not torch.equal(attacking.binarize_stochastically(many), y)


def signs(x: Tensor) -> Tensor:
    return torch.where(x >= 0, 1.0, -1.0)


@pytest.mark.parametrize("scaled", [False, True])
def test_a_binary_layer_is_norm_sign_product_relu_and_scale(scaled: bool) -> None:
    layer = attacking.BinaryLinear(6, 4, scaled=scaled)
    factor = 0.05 if scaled else 1.0
    assert float(torch.as_tensor(layer.scale).detach()) == pytest.approx(factor)
    assert len(list(layer.parameters())) == (2 if scaled else 1)
    assert 0.0 < float(layer.weight.detach().abs().max()) <= 0.4
    x = 5 + torch.randn(50, 6)
    normed = (x - x.mean(dim=0)) / x.std(dim=0, correction=0)
    y = layer(x)
    assert torch.allclose(y, factor * torch.relu(signs(normed) @ signs(layer.weight).T))
    assert y.shape == (50, 4)


def test_the_scale_is_learned_and_multiplies() -> None:
    layer = attacking.BinaryLinear(6, 4, scaled=True)
    layer.eval()
    scale = dict(layer.named_parameters())["scale"]
    scale.data = torch.tensor(0.5)
    x = torch.randn(50, 6)
    y = layer(x)
    expected = torch.relu(signs(x) @ signs(layer.weight).T)
    assert torch.equal(y, 0.5 * expected)
    assert torch.allclose(gradient(y, scale, torch.ones_like(y)), expected.sum())


def test_only_a_stochastic_layer_draws_anew_in_every_pass() -> None:
    x = torch.randn(20, 6)
    fixed = attacking.BinaryLinear(6, 4, scaled=False)
    drawn = attacking.BinaryLinear(6, 4, scaled=False, stochastic=True)
    assert torch.equal(fixed(x), fixed(x))
    assert len({tuple(drawn(x).flatten().tolist()) for _ in range(8)}) > 1
    drawn.weight.data = torch.full((4, 6), 3.0)  # nothing is left to chance
    assert torch.equal(drawn(x), drawn(x))
    spread = attacking.BinaryLinear(300, 300, scaled=False).weight.detach()
    assert float(spread.std()) == pytest.approx(0.176, abs=0.01)  # a normal of 0.2 cut at two deviations
    assert float(spread.mean()) == pytest.approx(0, abs=0.01)


def test_real_layers_start_as_random_directions() -> None:
    layer = attacking.unit_linear(64, 30)
    assert len(list(layer.parameters())) == 1
    assert layer.weight.shape == (30, 64)
    assert torch.allclose(layer.weight.norm(dim=1), torch.ones(30))
    assert abs(float(layer.weight.detach().mean())) < 0.02
    x = torch.randn(7, 64)
    real = attacking.real_layer(64, 30)
    assert isinstance(real[0], nn.Linear)
    assert torch.equal(real(x), torch.relu(x @ real[0].weight.T))


def test_variants_are_what_their_names_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacking, "HIDDEN", 12)
    built = {name: build() for name, build in attacking.variants().items()}
    assert list(built) == ["full_precision", "unscaled", "scaled", "stochastic"]
    for name, network in built.items():
        assert isinstance(network, nn.Sequential)
        layers = [part for part in network if isinstance(part, attacking.BinaryLinear)]
        assert len(layers) == (0 if name == "full_precision" else 2)
        assert all(isinstance(layer.scale, nn.Parameter) == (name != "unscaled") for layer in layers)
        rules = [layer.binarize_weight for layer in layers]
        last = attacking.binarize_stochastically if name == "stochastic" else attacking.binarize
        assert rules == [attacking.binarize, last][: len(layers)]
        weights = [tuple(p.shape) for p in network.parameters() if p.dim() == 2]
        assert weights == [(12, 64), (12, 12), (12, 12), (10, 12)]
        assert network(digits().test_x[:5]).shape == (5, 10)
    x = torch.randn(3, 1, 8, 8)
    h = x.flatten(1)
    matrices = [p for p in built["full_precision"].parameters() if p.dim() == 2]
    for index, matrix in enumerate(matrices):
        h = h @ matrix.T if index == 3 else torch.relu(h @ matrix.T)
    assert torch.allclose(built["full_precision"](x), h, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_input_gradient_is_that_of_each_images_own_cross_entropy(temperature: float) -> None:
    model, (x, y) = Linear(size=0.3), images(6)
    found = attacking.input_gradient(model, x, y, temperature)
    np.testing.assert_allclose(found, by_hand(model, x, y, temperature), rtol=1e-4, atol=1e-6)
    assert not found.requires_grad
    assert not x.requires_grad
    if temperature == 1.0:
        assert torch.equal(attacking.input_gradient(model, x, y), found)


@PROPERTY
@given(st.integers(0, 10_000))
def test_projection_is_the_nearest_point_of_both_boxes(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    start = torch.rand(30, generator=generator) * 2 - 1
    x = start + torch.randn(30, generator=generator)
    result = attacking.project(x, start)
    centre = start.numpy()
    low, high = np.maximum(centre - np.float32(0.2), -1), np.minimum(centre + np.float32(0.2), 1)
    np.testing.assert_array_equal(result, np.clip(x.numpy(), low, high))
    assert torch.equal(attacking.project(result, start), result)


def test_fgsm_is_one_full_step_along_the_sign() -> None:
    model, (x, y) = Linear(size=0.3), images(6)
    x[0, 0, 0, 0] = 0.95
    moved = attacking.fgsm(model, x, y)
    expected = np.clip(x.numpy() + np.float32(0.2) * np.sign(by_hand(model, x, y)).astype(np.float32), -1, 1)
    np.testing.assert_allclose(moved, expected, atol=1e-6)
    losses = [float(F.cross_entropy(model(v), y)) for v in (x, moved)]
    assert losses[1] > losses[0] + 0.5


def test_where_the_softmax_saturates_fgsm_is_blind_and_a_softer_one_sees() -> None:
    model, (x, _) = Linear(size=1000.0), images(20)
    y = model(x).argmax(dim=1)
    assert float(model(x).softmax(dim=1).amax(dim=1).min()) == 1
    assert torch.equal(attacking.fgsm(model, x, y), x)
    soft = attacking.pgd(model, x, y, attacking.softening(model(x)))
    assert attacking.percent(model(soft).argmax(dim=1) == y) < 60
    blind = attacking.pgd(model, x, y)
    assert attacking.percent(model(blind).argmax(dim=1) == y) > 80


def test_softening_brings_the_deviation_to_one() -> None:
    logits = 7 * torch.randn(50, 10) + 3
    assert float((attacking.softening(logits) * logits).std()) == pytest.approx(1)


def test_pgd_stays_within_its_bounds_and_beats_fgsm_on_a_curved_loss() -> None:
    torch.manual_seed(1)
    wide = nn.Linear(64, 40)
    nn.init.normal_(wide.weight)
    model = nn.Sequential(nn.Flatten(), wide, nn.Tanh(), nn.Linear(40, 10))
    x, _ = images(60, seed=2)
    y = model(x).argmax(dim=1)
    once, often = attacking.fgsm(model, x, y), attacking.pgd(model, x, y)
    assert float((often - x).abs().max()) <= 0.2 + 1e-6
    assert float(often.abs().max()) <= 1
    with torch.no_grad():
        assert F.cross_entropy(model(often), y) > F.cross_entropy(model(once), y)


def test_pgd_steps_along_the_sign_from_a_random_start(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, y) = Linear(size=0.3), images(4)
    seen: list[Tensor] = []
    asked: list[float] = []

    def watched(_network: nn.Module, at: Tensor, labels: Tensor, temperature: float) -> Tensor:
        seen.append(at)
        asked.append(temperature)
        assert labels is y
        return torch.full_like(at, 0.5)

    monkeypatch.setattr(attacking, "input_gradient", watched)
    result = attacking.pgd(model, x, y, 0.25)
    assert len(seen) == 20
    assert set(asked) == {0.25}
    start = seen[0] - x
    assert float(start.abs().max()) <= 0.2 + 1e-6
    assert float(start.max()) > 0.15
    assert float(start.min()) < -0.15
    assert float(start.mean()) == pytest.approx(0, abs=0.03)
    for before, after in zip(seen, [*seen[1:], result], strict=True):
        assert torch.allclose(after, attacking.project(before + 0.02, x), atol=1e-6)
    assert torch.allclose(result, (x + 0.2).clamp(max=1), atol=1e-5)
    asked.clear()
    attacking.pgd(model, x, y, draws=3)
    assert asked == [1.0] * 60


def test_pgd_adds_up_the_gradients_of_its_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = images(3)
    drawn = iter([torch.full_like(x, g) for _ in range(20) for g in (-1.0, -1.0, 5.0)])
    monkeypatch.setattr(attacking, "input_gradient", lambda *_given: next(drawn))
    assert torch.allclose(attacking.pgd(nn.Identity(), x, y, draws=3), (x + 0.2).clamp(max=1), atol=1e-5)


def test_percent_is_a_share() -> None:
    assert attacking.percent(torch.tensor([True, False, True, True])) == 75.0


def test_attack_reports_every_number_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, _) = Linear(size=0.3), images(80)
    y = model(x).argmax(dim=1)
    y[:8] = (y[:8] + 1) % 10
    other, _ = images(80, seed=9)
    result = attacking.attack(model, other, x, y)
    names = ["clean", "fgsm", "pgd", "unmasked", "transfer", "worst", "saturated", "blind"]
    assert list(result) == names
    assert result["clean"] == 90.0
    assert result["fgsm"] == attacking.percent(model(attacking.fgsm(model, x, y)).argmax(dim=1) == y) < 50
    assert result["transfer"] == attacking.percent(model(other).argmax(dim=1) == y)
    assert result["worst"] == min(result[name] for name in ("fgsm", "pgd", "unmasked", "transfer"))
    assert (result["saturated"], result["blind"]) == (0, 0)
    hard = Linear(size=1000.0)
    masked = attacking.attack(hard, other, x, hard(x).argmax(dim=1))
    assert masked["saturated"] == 100
    assert masked["blind"] == 100
    assert masked["unmasked"] < masked["fgsm"] == 100
    calls: list[tuple[float, int]] = []

    def watched(_network: nn.Module, at: Tensor, labels: Tensor, temperature: float = 1.0, draws: int = 1) -> Tensor:
        assert labels is y
        calls.append((temperature, draws))
        return at

    monkeypatch.setattr(attacking, "pgd", watched)
    assert attacking.attack(model, other, x, y)["pgd"] == 90
    softer, plain = sorted(calls)
    assert plain == (1.0, 1)
    assert softer[0] == pytest.approx(1 / float(model(x).std()))
    assert softer[1] == 1


def test_some_saturated_and_some_blind_images_are_counted_as_shares() -> None:
    class Mixed(nn.Module):
        """A linear network that is sure of the first half of its images and gives them no gradient."""

        def forward(self, x: Tensor) -> Tensor:
            half = len(x) // 2
            first = torch.zeros(half, 10)
            first[:, 3] = 500.0
            return torch.cat([first, Linear(size=0.01)(x[half:])])

    x, _ = images(40)
    result = attacking.attack(Mixed(), x, x, torch.full((40,), 3))
    assert result["saturated"] == 50
    assert result["blind"] == 50


def test_reproduce_attacks_every_network_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    data = digits()
    tiny = Split(data.train_x[:256], data.train_y[:256], data.test_x, data.test_y)
    seen: list[tuple[int, int, int]] = []
    hit: list[tuple[nn.Module, Tensor]] = []
    substitutes: list[SmallMLP] = []
    passes: list[int] = []
    pgd, attack = attacking.pgd, attacking.attack

    def watched(build: Callable[[], nn.Module], seed: int, *, epochs: int = 8, batch: int = 64) -> nn.Module:
        seen.append((seed, epochs, batch))
        return train(build, seed, epochs=1, data=tiny)

    def counted(network: nn.Module, transferred: Tensor, x: Tensor, y: Tensor) -> dict[str, float]:
        assert torch.equal(x, data.test_x[:200])
        assert torch.equal(y, data.test_y[:200])
        hit.append((network, transferred))
        return attack(network, transferred[:20], x[:20], y[:20])

    def noted(network: nn.Module, x: Tensor, y: Tensor, temperature: float = 1.0, draws: int = 1) -> Tensor:
        if isinstance(network, SmallMLP):
            substitutes.append(network)
        passes.append(draws)
        return pgd(network, x, y, temperature, draws)

    monkeypatch.setattr(attacking, "HIDDEN", 16)
    monkeypatch.setattr(attacking, "ITERATIONS", 2)
    monkeypatch.setattr(attacking, "train", watched)
    monkeypatch.setattr(attacking, "attack", counted)
    monkeypatch.setattr(attacking, "pgd", noted)
    metrics = attacking.reproduce(3)
    assert seen == [(1003, 8, 64), *[(3, 12, 128)] * 4]
    assert len(substitutes) == 1
    assert substitutes[0].head.in_features == 64
    assert len({id(transferred) for _, transferred in hit}) == 1
    assert float((hit[0][1] - data.test_x[:200]).abs().max()) == pytest.approx(0.2, abs=0.01)
    assert not any(network.training for network, _ in hit)
    assert [count for count in passes if count != 1] == [2]
    keys = ("clean", "fgsm", "pgd", "unmasked", "transfer", "worst", "saturated", "blind")
    expected = {f"{key}_{name}" for key in keys for name in attacking.variants()} | {"averaged_stochastic"}
    assert set(metrics) == expected
    named = {name for c in attacking.CLAIMS if isinstance(c, Difference) for name in (c.metric, c.baseline)}
    assert named <= set(metrics)
    assert 0 < metrics["averaged_stochastic"] <= 100
    assert attacking.reproduce(3) == metrics


def test_quantizers_are_signs_on_two_levels() -> None:
    x = torch.randn(7, 5, 3)
    for quantizer in attacking.QUANTIZERS:
        integers, scale = quantizer.to_integers(x)
        assert integers.dtype == torch.int64
        assert torch.equal(scale * integers, quantizer.quantize(x))
        assert set(integers.flatten().tolist()) == {-1, 1}
        assert quantizer.to_integers(x.double())[1].dtype == torch.float64
    assert [(q.name, q.bits) for q in attacking.QUANTIZERS] == [("weights", 1), ("activations", 1)]


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(attacking.RECORD))
    with deterministic(0):
        metrics = attacking.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
