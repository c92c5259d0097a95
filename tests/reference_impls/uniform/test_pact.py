"""PACT: the clipped activation against numpy, its two gradients, and the wiring of the experiment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.kit.catalogue import result_path
from reference_impls.kit.models import QuantConv2d, SmallCNN
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic
from reference_impls.uniform import pact as m

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
POINTS = [-3.0, -0.01, 0.0, 0.2, 0.5, 1.49, 1.5, 1.51, 9.0]
TWO_BITS = [0.0, 0.0, 0.0, 0.0, 0.5, 1.5, 1.5, 1.5, 1.5]  # steps of 0.5 up to alpha = 1.5


def alpha(value: float) -> Tensor:
    return torch.tensor(value, requires_grad=True)


def test_steps_count_levels_and_bad_widths_are_refused() -> None:
    assert [m.steps(bits) for bits in (1, 2, 4, 16)] == [1, 3, 15, 65535]
    for bits in (0, 17):
        with pytest.raises(ValueError, match=rf"^bits must lie in 1\.\.16, got {bits}$"):
            m.steps(bits)


def test_clip_of_the_paper_is_clipping() -> None:
    x = torch.tensor(POINTS)
    torch.testing.assert_close(m.clip(x, torch.tensor(1.5)), x.clamp(0, 1.5), rtol=0, atol=1e-6)


def test_two_bits_by_hand() -> None:
    assert m.pact(torch.tensor(POINTS), torch.tensor(1.5), 2).tolist() == TWO_BITS


@pytest.mark.parametrize("bits", range(1, 9))
def test_every_level_is_kept_and_its_cell_rounds_to_it(bits: int) -> None:
    n, top = 2**bits - 1, torch.tensor(2.5)
    levels = torch.arange(n + 1)
    for offset in (-0.49, 0.0, 0.49):
        integers, scale = m.activation_integers((levels + offset) * 2.5 / n, top, bits)
        assert torch.equal(integers, levels)
        assert float(scale) == pytest.approx(2.5 / n)


@PROPERTY
@given(st.floats(0.1, 50), st.integers(1, 8), st.integers(0, 99))
def test_value_equals_numpy_and_differs_from_rounding_to_integers(level: float, bits: int, seed: int) -> None:
    x = 3 * level * torch.randn(50, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    n = 2**bits - 1
    expected = np.round(np.clip(x.numpy(), 0, level) * n / level) * level / n
    y = m.pact(x, torch.tensor(level, dtype=torch.float64), bits).numpy()
    away = np.abs(np.clip(x.numpy(), 0, level) * n / level % 1 - 0.5) > 1e-9  # not on the edge of a cell
    np.testing.assert_allclose(y[away], expected[away], rtol=1e-9)
    again = m.pact(torch.from_numpy(y), torch.tensor(level, dtype=torch.float64), bits).numpy()
    np.testing.assert_array_equal(again, y)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_gradients_are_those_of_eq_3_without_a_term_inside_the_range(bits: int) -> None:
    x, a, weight = torch.tensor(POINTS, requires_grad=True), alpha(1.5), torch.arange(1.0, len(POINTS) + 1)
    to_x, to_alpha = torch.autograd.grad((weight * m.pact(x, a, bits)).sum(), (x, a))
    assert to_x.tolist() == [0, 0, 3, 4, 5, 6, 0, 0, 0]
    assert float(to_alpha) == 7 + 8 + 9
    inside = torch.tensor([0.1, 0.33, 1.2], requires_grad=True)
    _, none = torch.autograd.grad(m.pact(inside, a, bits).sum(), (inside, a))
    assert float(none) == 0.0  # LSQ would give the rounding errors here


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_alpha_must_be_positive(bad: float) -> None:
    with pytest.raises(ValueError, match=rf"^alpha must be positive, got {bad:g}; raise its start or weaken"):
        m.pact(torch.zeros(2), torch.tensor(bad), 2)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weights_follow_dorefa_in_value_and_gradient(bits: int) -> None:
    generator = torch.Generator().manual_seed(bits)
    w = torch.randn(6, generator=generator, dtype=torch.float64, requires_grad=True)
    weight, n = np.arange(1.0, 7), 2**bits - 1

    def smooth(x: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return float((weight * np.tanh(x) / np.abs(np.tanh(x)).max()).sum())

    x = w.detach().numpy()
    y = m.quantize_weight(w, bits)
    unit = np.tanh(x) / (2 * np.abs(np.tanh(x)).max()) + 0.5
    np.testing.assert_allclose(y.detach().numpy(), 2 * np.round(unit * n) / n - 1, rtol=1e-12)
    (gradient,) = torch.autograd.grad((torch.from_numpy(weight) * y).sum(), w)
    numerical = [(smooth(x + h) - smooth(x - h)) / 2e-6 for h in 1e-6 * np.eye(6)]
    np.testing.assert_allclose(gradient.numpy(), numerical, atol=1e-6)


def test_all_zero_weights_stay_finite() -> None:
    assert bool(m.quantize_weight(torch.zeros(3), 2).isfinite().all())


def test_layer_has_one_alpha_that_may_be_held() -> None:
    x = torch.randn(3, 4)
    layer, held = m.Pact(2, 1.5), m.Pact(3, 2.5, learned=False)
    assert (float(layer.alpha.detach()), layer.alpha.requires_grad) == (1.5, True)
    assert (float(held.alpha), held.alpha.requires_grad) == (2.5, False)
    assert torch.equal(layer(x), m.pact(x, layer.alpha, 2))
    assert torch.equal(held(x), m.pact(x, held.alpha, 3))


def test_quantized_relu_follows_the_largest_activation_of_training_only() -> None:
    layer = m.QuantizedReLU(2)
    x = torch.tensor([-1.0, 0.4, 3.0], requires_grad=True)
    y = layer(x)
    assert y.tolist() == [0, 0, 3]
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.tolist() == [0, 1, 1]
    layer(torch.tensor([1.0]))
    assert float(layer.largest) == 3
    layer.eval()
    assert layer(torch.tensor([9.0, 1.2])).tolist() == [3, 1]
    assert float(layer.largest) == 3
    assert float(m.QuantizedReLU(2).largest) == pytest.approx(1e-6)


@pytest.mark.parametrize("quantizer", m.QUANTIZERS, ids=lambda q: str(q.bits))
def test_offered_quantizers_are_scale_times_integers(quantizer: Quantizer) -> None:
    x = torch.randn(5, 7)
    integers, scale = quantizer.to_integers(x)
    assert integers.dtype == torch.int64
    assert torch.equal(quantizer.quantize(x), scale * integers)
    assert set(integers.flatten().tolist()) <= set(range(2**quantizer.bits))


def test_optimizer_and_penalty_see_learned_levels_alone() -> None:
    learned, held = nn.Sequential(m.Pact(2, 3.0), nn.Linear(2, 2), m.Pact(2, 1.0)), m.Pact(2, 5.0, learned=False)
    levels = m.alphas(nn.Sequential(learned, held))
    assert [float(a.detach()) for a in levels] == [3.0, 1.0]
    penalty = m.alpha_penalty(nn.Sequential(learned, held))
    assert float(penalty.detach()) == pytest.approx(m.PENALTY * 10)
    assert torch.autograd.grad(penalty, levels[0])[0] == pytest.approx(m.PENALTY * 6)
    assert float(m.alpha_penalty(held)) == 0
    others, fast = m.optimizer(nn.Sequential(learned, held)).param_groups
    assert [p.shape for p in others["params"]] == [(2, 2), (2,)]
    assert others["lr"] == m.RATE
    assert [p is a for p, a in zip(fast["params"], levels, strict=True)] == [True, True]
    assert fast["lr"] == m.ALPHA_RATE
    (only,) = m.optimizer(nn.Sequential(nn.Linear(2, 2), held)).param_groups
    assert (len(only["params"]), only["lr"]) == (2, m.RATE)


def test_variants_differ_in_activation_and_width_alone() -> None:
    networks = {name: build() for name, build in m.variants().items()}
    found = {}
    for name, net in networks.items():
        kinds: set[type[nn.Module]] = {type(x) for x in net.modules() if isinstance(x, m.Pact | m.QuantizedReLU)}
        (kind,) = kinds or {nn.ReLU}
        layers = [x for x in net.modules() if isinstance(x, kind)]
        bits = {x.bits for x in layers if isinstance(x, m.Pact | m.QuantizedReLU)}
        starts = {(float(x.alpha.detach()), x.alpha.requires_grad) for x in layers if isinstance(x, m.Pact)}
        found[name] = (kind, len(layers), bits, starts)
        (convolution, _) = [x for x in net.modules() if isinstance(x, QuantConv2d)]
        width = next(iter(bits), None)
        w = convolution.weight
        assert torch.equal(convolution.quantizer(w), w if width is None else m.quantize_weight(w, width))
    assert found == {
        "full_precision": (nn.ReLU, 2, set(), set()),
        "pact_4": (m.Pact, 2, {4}, {(4.0, True)}),
        "pact_2": (m.Pact, 2, {2}, {(4.0, True)}),
        "dorefa_2": (m.Pact, 2, {2}, {(1.0, False)}),
        "relu_2": (m.QuantizedReLU, 2, {2}, set()),
        "fixed_alpha_2": (m.Pact, 2, {2}, {(4.0, False)}),
    }


def test_gradient_gap_is_zero_and_grows_when_the_gradient_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert m.alpha_gradient_gap(3) < 1e-9
    monkeypatch.setattr(m, "alpha_slope", lambda x, a: (x > a + 0.1).to(x.dtype))
    first = m.alpha_gradient_gap(3)
    assert first > 5
    assert m.alpha_gradient_gap(4) != first
    monkeypatch.setattr(m, "alpha_slope", lambda x, _a: torch.zeros_like(x))
    x = torch.randn(1000, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert m.alpha_gradient_gap(3) == pytest.approx(int((x > 1).sum()))


def test_experiment_trains_each_variant_and_reports_alpha(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[SmallCNN] = []

    def train(build: Callable[[], SmallCNN], seed: int, **options: object) -> SmallCNN:
        assert seed == 7
        assert options == {"epochs": m.EPOCHS, "optimizer": m.optimizer, "penalty": m.alpha_penalty}
        built.append(build())
        for index, level in enumerate(m.alphas(built[-1])):
            level.data.fill_(1.0 + index + 10 * len(built))
        return built[-1]

    monkeypatch.setattr(m, "train", train)
    monkeypatch.setattr(m, "accuracy", lambda net: float(built.index(net)))
    metrics = m.reproduce(7)
    assert metrics == {
        **{name: index for index, name in enumerate(m.variants())},
        "alpha_start": m.START,
        "alpha_end": 31.5,
        "alpha_gradient_gap": m.alpha_gradient_gap(7),
    }


@pytest.mark.slow
def test_seed_zero_gives_the_accepted_result() -> None:
    accepted = read(result_path(m.RECORD))
    with deterministic(0):
        measured = m.reproduce(0)
    for name, value in measured.items():
        tolerance = 1e-6 if name.startswith("alpha_gradient") else 3.0
        assert value == pytest.approx(accepted.metrics[name][0], abs=tolerance), name
