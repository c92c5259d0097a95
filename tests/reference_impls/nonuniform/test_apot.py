"""APoT: level sets against the paper and the authors' recipe, projection, both gradients, shifts, the experiment."""

from __future__ import annotations

import itertools
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
from reference_impls.nonuniform import apot as m

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
# Terms of the authors' released code, by unsigned bits: the choices besides 0.
RELEASED = {
    2: [[1 / 2, 1 / 4, 1 / 8]],
    3: [[1 / 2, 1 / 4, 1 / 16], [1 / 8]],
    4: [[1 / 2, 1 / 8, 1 / 32], [1 / 4, 1 / 16, 1 / 64]],
    5: [[1 / 2, 1 / 8, 1 / 64], [1 / 4, 1 / 16, 1 / 128], [1 / 32]],
    6: [[1 / 2, 1 / 16, 1 / 128], [1 / 4, 1 / 32, 1 / 256], [1 / 8, 1 / 64, 1 / 512]],
}


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("bits", RELEASED)
def test_levels_are_those_of_the_released_code(bits: int) -> None:
    sums = sorted({sum(choice) for choice in itertools.product(*[[0.0, *term] for term in RELEASED[bits]])})
    levels = m.magnitudes("apot", bits)
    assert levels.dtype == torch.int64
    np.testing.assert_allclose(levels.numpy() / int(levels[-1]), np.array(sums) / max(sums), rtol=1e-15)
    assert len(levels) == 2**bits


def test_levels_of_four_bits_as_the_paper_prints_their_terms() -> None:
    assert m.exponents(4) == [[0, 2, 4], [1, 3, 5]]
    assert m.magnitudes("apot", 4).tolist() == [0, 1, 2, 3, 4, 6, 8, 9, 12, 16, 18, 24, 32, 33, 36, 48]
    assert {level / 32 for level in m.magnitudes("apot", 4).tolist()} == m.PRINTED


def test_one_bit_a_term_is_uniform_and_one_term_is_powers_of_two() -> None:
    assert m.exponents(3, 1) == [[0], [1], [2]]
    assert m.exponents(3, 3) == [[0, 1, 2, 3, 4, 5, 6]]
    assert m.exponents(1) == [[0]]
    assert m.magnitudes("uniform", 3).tolist() == list(range(8))
    assert m.magnitudes("pot", 3).tolist() == [0, 1, 2, 4, 8, 16, 32, 64]
    assert m.magnitudes("apot", 1).tolist() == [0, 1]
    assert m.magnitudes("pot", 2).tolist() == m.magnitudes("apot", 2).tolist()
    assert int(m.magnitudes("pot", 5)[-1]) == 2**30


def test_impossible_level_sets_are_refused() -> None:
    for bits, base in ((4, 3), (0, 2), (-2, 1)):
        with pytest.raises(ValueError, match=rf"^{bits} bits cannot be split into terms of {base} bits$"):
            m.exponents(bits, base)
    cases: list[tuple[m.Kind, int, int]] = [("apot", 7, 6), ("uniform", 0, 6), ("pot", 6, 5)]
    for kind, bits, most in cases:
        with pytest.raises(ValueError, match=rf"^{kind} levels need 1 to {most} bits, got {bits}$"):
            m.magnitudes(kind, bits)
    assert len(m.magnitudes("apot", 6)) == 64


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
def test_every_level_is_a_sum_of_at_most_n_shifts(bits: int) -> None:
    for level in m.magnitudes("apot", bits).tolist():
        counts = m.shifts(level, bits)
        assert len(counts) <= -(-bits // 2)
        assert sum(2**s for s in counts) == level
        assert sum(77 << s for s in counts) == 77 * level


def test_what_is_no_level_has_no_shifts() -> None:
    with pytest.raises(ValueError, match=r"^5 is not a level of 4 bits$"):
        m.shifts(5, 4)


@PROPERTY
@given(st.floats(0.1, 20), st.integers(1, 5), st.booleans(), st.integers(0, 99))
def test_projection_is_to_the_nearest_level_unlike_plain_rounding(
    alpha: float, bits: int, signed: bool, seed: int
) -> None:
    x, top = 2 * alpha * normal(40, seed=seed), torch.tensor(alpha, dtype=torch.float64)
    levels = m.magnitudes("apot", bits)
    values = levels.numpy() * alpha / int(levels[-1])
    grid = np.concatenate([-values[::-1], values]) if signed else values
    expected = np.abs(x.numpy()[:, None] - grid).min(axis=1)
    y = m.quantize(x, top, levels, signed=signed)
    np.testing.assert_allclose(np.abs(y.numpy() - x.numpy()), expected, atol=1e-12)
    np.testing.assert_allclose(np.abs(y.numpy()[:, None] - grid).min(axis=1), 0, atol=1e-12)
    assert torch.equal(m.quantize(y, top, levels, signed=signed), y)
    if signed:
        assert torch.equal(m.quantize(-x, top, levels, signed=True), -y)


@pytest.mark.parametrize("kind", ["apot", "uniform", "pot"])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_every_level_is_kept_and_halves_go_towards_zero(kind: m.Kind, bits: int) -> None:
    levels = m.magnitudes(kind, bits)
    top = levels[-1].double()  # alpha = largest integer: scale 1
    integers, scale = m.to_integers(levels.double(), top, levels, signed=False)
    assert float(scale) == 1
    assert torch.equal(integers, levels)
    halves = (levels[1:] + levels[:-1]).double() / 2
    assert torch.equal(m.to_integers(halves, top, levels, signed=True)[0], levels[:-1])
    assert torch.equal(m.to_integers(-halves, top, levels, signed=True)[0], -levels[:-1])
    assert torch.equal(m.to_integers(halves + 1e-6, top, levels, signed=True)[0], levels[1:])
    assert not bool(m.to_integers(-halves, top, levels, signed=False)[0].any())
    assert m.to_integers(3 * top.reshape(1), top, levels, signed=False)[0].tolist() == [int(top)]


def test_alpha_must_be_positive() -> None:
    for bad in (0.0, -2.0):
        with pytest.raises(ValueError, match=rf"^alpha must be positive, got {bad:g}$"):
            m.quantize(torch.zeros(1), torch.tensor(bad), m.magnitudes("apot", 2), signed=True)


X = [-3.0, -2.0, -1.9, -0.4, 0.0, 0.3, 1.2, 2.0, 2.1]
LEVELS = torch.tensor([0, 1, 2, 4])
PROJECTED = [-2.0, -2.0, -2.0, -0.5, 0.0, 0.5, 1.0, 2.0, 2.0]  # alpha = 2: levels 0, 0.5, 1, 2


def gradients(x: list[float], *, signed: bool, rcf: bool = True) -> tuple[list[float], list[float], Tensor]:
    source, alpha = torch.tensor(x, requires_grad=True), torch.full((len(x),), 2.0, requires_grad=True)
    pieces = [m.quantize(s.reshape(1), a, LEVELS, signed=signed, rcf=rcf) for s, a in zip(source, alpha, strict=True)]
    y = torch.cat(pieces)
    to_x, to_alpha = torch.autograd.grad(y.sum(), (source, alpha))
    return to_x.tolist(), to_alpha.tolist(), y.detach()


def test_weight_gets_its_gradient_whole_and_alpha_one_from_every_weight() -> None:
    to_x, to_alpha, y = gradients(X, signed=True)
    assert y.tolist() == PROJECTED
    assert to_x == [1.0] * len(X)
    inside = [(p - x) / 2 for x, p in zip(X, PROJECTED, strict=True)]
    assert to_alpha == pytest.approx([-1.0, *inside[1:-1], 1.0])


def test_without_rcf_alpha_learns_from_clipped_weights_only() -> None:
    to_x, to_alpha, y = gradients(X, signed=True, rcf=False)
    assert y.tolist() == PROJECTED
    assert to_x == [1.0] * len(X)
    assert to_alpha == [-1.0, *[0.0] * (len(X) - 2), 1.0]


def test_activation_passes_its_gradient_inside_the_range_only() -> None:
    to_x, to_alpha, y = gradients(X, signed=False)
    assert y.tolist() == [max(p, 0.0) for p in PROJECTED]
    assert to_x == [0, 0, 0, 0, 1, 1, 1, 1, 0]
    assert to_alpha == pytest.approx([0, 0, 0, 0, 0, 0.1, -0.1, 0, 1])
    assert gradients(X, signed=False, rcf=False)[1] == [0, 0, 0, 0, 0, 0, 0, 0, 1]


def test_gradient_of_alpha_is_summed_over_the_tensor() -> None:
    alpha = torch.tensor(2.0, requires_grad=True)
    y = m.quantize(torch.tensor(X), alpha, LEVELS, signed=True)
    (gradient,) = torch.autograd.grad(y.sum(), alpha)
    assert float(gradient) == pytest.approx(sum(gradients(X, signed=True)[1]), abs=1e-6)


def test_normalized_weights_have_mean_zero_and_deviation_one_with_constant_statistics() -> None:
    w = (3 * normal(4, 5) + 2).requires_grad_()
    y = m.normalize(w)
    x = w.detach().numpy()
    np.testing.assert_allclose(y.detach().numpy(), (x - x.mean()) / x.std(ddof=1))
    (gradient,) = torch.autograd.grad((normal(4, 5, seed=1) * y).sum(), w)
    np.testing.assert_allclose(gradient.numpy(), normal(4, 5, seed=1).numpy() / x.std(ddof=1))


@pytest.mark.parametrize("quantizer", m.QUANTIZERS, ids=lambda q: f"{q.name} {q.bits}")
def test_offered_quantizers_are_scale_times_integers(quantizer: Quantizer) -> None:
    x = normal(5, 7).float()
    integers, scale = quantizer.to_integers(x)
    assert torch.equal(quantizer.quantize(x), scale * integers)
    signed = quantizer.name.startswith("weights")
    levels = m.magnitudes("apot", quantizer.bits - signed).tolist()
    assert set(integers.flatten().tolist()) <= {*levels, *(-level for level in levels if signed)}
    assert bool((integers < 0).any()) == signed


@pytest.mark.parametrize(("signed", "width"), [(True, 3), (False, 4)])
def test_an_offer_spends_a_bit_on_the_sign_and_has_alpha_one(signed: bool, width: int) -> None:
    offer = m._offer("things", 4, signed=signed)
    assert (offer.name, offer.bits) == ("things (alpha = 1)", 4)
    x, one, levels = normal(6, 6).float(), torch.tensor(1.0), m.magnitudes("apot", width)
    integers, scale = offer.to_integers(x)
    expected, step = m.to_integers(x, one, levels, signed=signed)
    assert torch.equal(integers, expected)
    assert torch.equal(scale, step)
    assert torch.equal(offer.quantize(x), m.quantize(x, one, levels, signed=signed))


@pytest.mark.parametrize(("signed", "normalized"), [(True, True), (True, False), (False, False)])
def test_layer_quantizes_as_it_is_told(signed: bool, normalized: bool) -> None:
    for rcf in (True, False):
        layer = m.LearnedClip("pot", 4, 1.5, signed=signed, rcf=rcf, normalized=normalized)
        assert layer.levels.tolist() == m.magnitudes("pot", 3 if signed else 4).tolist()
        x = normal(6, 5).float().requires_grad_()
        source = m.normalize(x) if normalized else x
        alpha = torch.tensor(1.5, requires_grad=True)
        expected = m.quantize(source, alpha, layer.levels, signed=signed, rcf=rcf)
        y = layer(x)
        assert torch.equal(y, expected)
        want = torch.autograd.grad(expected.square().sum(), (x, alpha), retain_graph=True)
        assert all(
            torch.equal(a, b)
            for a, b in zip(torch.autograd.grad(y.square().sum(), (x, layer.alpha)), want, strict=True)
        )


def clips(net: nn.Module) -> tuple[list[m.LearnedClip], list[m.LearnedClip]]:
    found = [x for x in net.modules() if isinstance(x, m.LearnedClip)]
    return [x for x in found if x.signed], [x for x in found if not x.signed]


@pytest.mark.parametrize(
    ("name", "kind", "rcf", "normalized"),
    [
        ("apot_3", "apot", True, True),
        ("uniform_3", "uniform", True, True),
        ("pot_3", "pot", True, True),
        ("clipped_ste_3", "apot", False, True),
        ("raw_weights_3", "apot", True, False),
    ],
)
def test_variants_differ_in_levels_clipping_and_normalization(
    name: str, kind: m.Kind, rcf: bool, normalized: bool
) -> None:
    net = m.variants()[name]()
    weights, activations = clips(net)
    convolutions = [x for x in net.modules() if isinstance(x, QuantConv2d)]
    assert len(weights) == len(activations) == len(convolutions) == 2
    for layer, convolution in zip(weights, convolutions, strict=True):
        assert convolution.quantizer is layer
        assert (layer.rcf, layer.normalized) == (rcf, normalized)
        assert torch.equal(layer.levels, m.magnitudes(kind, 2))
        start = 3.0 * (1.0 if normalized else float(convolution.weight.detach().std()))
        assert float(layer.alpha.detach()) == pytest.approx(start)
    for layer in activations:
        assert (layer.rcf, layer.normalized, float(layer.alpha.detach())) == (rcf, False, 4.0)
        assert torch.equal(layer.levels, m.magnitudes(kind, 3))
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_full_precision_has_no_quantizer_and_all_variants_are_named() -> None:
    assert clips(m.variants()["full_precision"]()) == ([], [])
    assert list(m.variants()) == [
        "full_precision",
        "apot_3",
        "uniform_3",
        "pot_3",
        "clipped_ste_3",
        "raw_weights_3",
    ]


def test_optimizer_is_faster_for_levels_on_a_scale_of_deviations() -> None:
    net = m.network("apot", 3)
    weights, activations = clips(net)
    others, fast = m.optimizer(net).param_groups
    assert {id(p) for p in fast["params"]} == {id(x.alpha) for x in weights + activations}
    assert (others["lr"], fast["lr"]) == (m.RATE, m.ALPHA_RATE)
    assert len(others["params"]) + len(fast["params"]) == len(list(net.parameters()))
    raw = m.network("apot", 3, normalized=False)
    weights, activations = clips(raw)
    others, fast = m.optimizer(raw).param_groups
    assert {id(p) for p in fast["params"]} == {id(x.alpha) for x in activations}
    assert {id(x.alpha) for x in weights} <= {id(p) for p in others["params"]}
    (only,) = m.optimizer(nn.Linear(2, 2)).param_groups
    assert only["lr"] == m.RATE


def test_projection_error_is_the_least_over_alpha() -> None:
    w = normal(200, seed=3).float()
    levels = m.magnitudes("uniform", 2)
    x = ((w - w.mean()) / w.std()).numpy()
    choices = np.linspace(0.005, 1, 200) * np.abs(x).max()
    errors = []
    for alpha in choices:
        grid = np.concatenate([-levels.numpy(), levels.numpy()]) * alpha / 3
        errors.append(np.sqrt((np.abs(x[:, None] - grid).min(axis=1) ** 2).mean()))
    assert m.projection_error(5 * w - 1, levels) == pytest.approx(100 * min(errors), rel=1e-4)
    assert m.projection_error(torch.tensor([-1.0, 1.0, -1.0, 1.0]), levels) == pytest.approx(0, abs=1e-4)


def test_gradient_gap_is_zero_and_grows_when_the_gradient_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert m.alpha_gradient_gap(3) < 1e-8
    real = m.alpha_slope

    def clipped_only(x: Tensor, alpha: Tensor, value: Tensor, *, rcf: bool) -> Tensor:
        assert rcf
        return real(x, alpha, value, rcf=False)

    monkeypatch.setattr(m, "alpha_slope", clipped_only)
    first = m.alpha_gradient_gap(3)
    assert first > 0.05
    assert m.alpha_gradient_gap(4) != first


def test_shifts_multiply_and_a_wrong_shift_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert m.shift_mismatches() == 0
    assert m.shift_mismatches(3) == 0
    real, asked = m.shifts, set()

    def wrong(level: int, bits: int) -> list[int]:
        asked.add((level, bits))
        return [0, *real(level, bits)]

    monkeypatch.setattr(m, "shifts", wrong)
    assert m.shift_mismatches() == 16 * 255
    assert asked == {(level, 4) for level in m.magnitudes("apot", 4).tolist()}


def test_experiment_trains_each_variant_and_projects_full_precision_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[SmallCNN] = []

    def train(build: Callable[[], SmallCNN], seed: int, **options: object) -> SmallCNN:
        assert seed == 7
        assert options == {"epochs": m.EPOCHS, "optimizer": m.optimizer}
        built.append(build())
        return built[-1]

    monkeypatch.setattr(m, "train", train)
    monkeypatch.setattr(m, "accuracy", lambda net: float(built.index(net)))
    monkeypatch.setattr(m, "projection_error", lambda w, levels: float(w.sum()) + int(levels[-1]))
    metrics = m.reproduce(7)
    layers = [x.weight.detach() for x in built[0].modules() if isinstance(x, QuantConv2d)]
    kinds: list[m.Kind] = ["apot", "uniform", "pot"]
    errors = {
        f"error_{kind}_4": sum(m.projection_error(w, m.magnitudes(kind, 3)) for w in layers) / 2 for kind in kinds
    }
    assert metrics == {
        **{name: index for index, name in enumerate(m.variants())},
        **errors,
        "level_differences": 0,
        "shift_mismatches": 0,
        "alpha_gradient_gap": m.alpha_gradient_gap(7),
    }
    monkeypatch.setattr(m, "PRINTED", {0.0, 1.0})
    assert m.reproduce(7)["level_differences"] == 14


@pytest.mark.slow
def test_seed_zero_gives_the_accepted_result() -> None:
    accepted = read(result_path(m.RECORD))
    with deterministic(0):
        measured = m.reproduce(0)
    for name, value in measured.items():
        exact = name in ("level_differences", "shift_mismatches", "alpha_gradient_gap")
        assert value == pytest.approx(accepted.metrics[name][0], abs=1e-6 if exact else 3.0), name
