from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.binary import loss_aware_binarization as lab
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import Split, digits, text
from reference_impls.kit.models import QuantConv2d, QuantLinear, SmallCNN
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import read
from reference_impls.kit.train import accuracy, deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
W = torch.tensor([[-2.0, 0.5, -0.0], [0.25, -0.1, 1.5]])
D = torch.tensor([[0.1, 3.0, 2.0], [0.0, 4.0, 1.0]])


def gradient(y: Tensor, x: Tensor, upstream: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(y, x, upstream)
    return result


def test_curvature_is_the_root_and_never_zero() -> None:
    v = torch.tensor([0.0, 4.0, 1e-4], dtype=torch.float64)
    np.testing.assert_allclose(lab.curvature(v), [1e-8, 2 + 1e-8, 0.01 + 1e-8], rtol=1e-12)


def test_scales_of_a_worked_example() -> None:
    assert float(lab.weighted_scale(W, D)) == pytest.approx((0.2 + 1.5 + 0 + 0 + 0.4 + 1.5) / 10.1)
    assert float(lab.mean_scale(W, D)) == pytest.approx(4.35 / 6)
    assert float(lab.unit_scale(W, D)) == 1
    assert lab.unit_scale(W.double(), D).dtype == torch.float64


def test_binary_weights_are_scaled_signs_which_neither_plain_signs_nor_the_mean_scale_give() -> None:
    w = W.clone().requires_grad_()
    y = lab.binarize(w, D)
    signs = np.where(W.numpy() >= 0, 1.0, -1.0)
    np.testing.assert_allclose(y.detach(), 3.6 / 10.1 * signs, rtol=1e-6)
    assert not torch.allclose(y, lab.binarize(w, D, lab.mean_scale))
    assert torch.equal(lab.binarize(w, D, lab.unit_scale), torch.tensor(signs, dtype=torch.float32))


def test_gradient_goes_to_the_latent_weights_whole_and_not_through_the_scale_or_a_clipped_slope() -> None:
    w, d = W.clone().requires_grad_(), D.clone().requires_grad_()
    upstream = torch.arange(1.0, 7.0).reshape(2, 3)
    y = lab.binarize(w, d)
    assert torch.equal(gradient(y, w, upstream), upstream)  # -2 and 1.5 would get none from a saturating gradient
    (towards_d,) = torch.autograd.grad(lab.binarize(w, d).sum(), d, allow_unused=True)
    assert towards_d is None


@PROPERTY
@given(st.integers(1, 7), st.integers(0, 10_000))
def test_no_scale_and_signs_come_closer_in_the_metric_of_the_curvature(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    w, d = rng.normal(size=n), np.exp(2 * rng.normal(size=n))
    alpha = lab.weighted_scale(torch.tensor(w), torch.tensor(d))
    closed = float(lab.weighted_error(torch.tensor(w), torch.tensor(d), alpha, torch.tensor(np.sign(w))))
    best = math.inf
    for signs in itertools.product((-1.0, 1.0), repeat=n):
        for scale in (np.dot(d * w, signs) / d.sum(), float(alpha), np.abs(w).mean(), 1.0):
            best = min(best, float((d * (scale * np.array(signs) - w) ** 2).sum()))
    assert closed == pytest.approx(best, rel=1e-9)
    assert lab.searched_error(torch.tensor(w), torch.tensor(d)) == pytest.approx(best, rel=1e-9)


def test_the_mean_scale_is_worse_where_the_curvature_differs() -> None:
    w, d = torch.tensor([0.1, 1.0]), torch.tensor([10.0, 0.1])
    errors = [
        float(lab.weighted_error(w, d, scale(w, d), torch.ones(2))) for scale in (lab.weighted_scale, lab.mean_scale)
    ]
    assert errors[0] < 0.1 * errors[1]


@PROPERTY
@given(
    st.lists(st.tuples(st.floats(-3, 3, width=32), st.floats(0.125, 4, width=32)), min_size=1, max_size=20),
    st.sampled_from([0.25, 2.0, 8.0]),
)
def test_scale_lies_in_the_range_of_magnitudes_and_ignores_the_unit_of_curvature(
    pairs: list[tuple[float, float]], factor: float
) -> None:
    w, d = torch.tensor(pairs, dtype=torch.float64).T
    alpha = float(lab.weighted_scale(w, d))
    assert float(w.abs().min()) - 1e-12 <= alpha <= float(w.abs().max()) + 1e-12
    assert float(lab.weighted_scale(w, factor * d)) == pytest.approx(alpha, rel=1e-12)  # so the learning rate cancels
    assert float(lab.weighted_scale(factor * w, d)) == pytest.approx(factor * alpha, rel=1e-12)
    y = lab.binarize(w, d)
    assert torch.allclose(lab.binarize(y, d), y)
    assert float(lab.weighted_scale(w, torch.full_like(w, 0.7))) == pytest.approx(np.abs(w.numpy()).mean(), rel=1e-12)


def test_quantizer_starts_with_the_mean_scale_and_then_follows_the_squares_of_gradients() -> None:
    quantizer, w = lab.LossAware(), nn.Parameter(W.clone())
    signs = torch.where(W >= 0, 1.0, -1.0)
    assert torch.allclose(quantizer(w), W.abs().mean() * signs)
    g = np.array([[1.0, -2.0, 0.0], [0.5, 3.0, -1.0]])
    v = np.zeros_like(g)
    for step in range(1, 4):
        (quantizer(w) * torch.tensor(step * g, dtype=torch.float32)).sum().backward()
        quantizer.update()
        w.grad = None
        v = 0.999 * v + 0.001 * (step * g) ** 2
        np.testing.assert_allclose(quantizer.v, v, rtol=1e-5)
    d = np.sqrt(v) + 1e-8
    alpha = (d * w.detach().abs().numpy()).sum() / d.sum()
    np.testing.assert_allclose(quantizer(w).detach(), alpha * signs, rtol=1e-5)


def test_update_clips_latent_weights_and_needs_a_gradient() -> None:
    quantizer, w = lab.LossAware(), nn.Parameter(torch.tensor([[-3.0, 0.5], [1.5, -0.25]]))
    quantizer.update()
    quantizer(w)
    with pytest.raises(AssertionError):
        quantizer.update()
    quantizer(w).sum().backward()
    quantizer.update()
    assert w.tolist() == [[-1.0, 0.5], [1.0, -0.25]]


def test_stacked_matrices_have_a_scale_each() -> None:
    w = nn.Parameter(torch.tensor([[1.0], [3.0], [-10.0], [30.0]]))
    assert lab.LossAware(parts=2)(w).flatten().tolist() == pytest.approx([2, 2, -20, 20])
    assert lab.LossAware(parts=4)(w).flatten().tolist() == pytest.approx([1, 3, -10, 30])
    assert lab.LossAware()(w).flatten().tolist() == pytest.approx([11, 11, -11, 11])
    assert lab.LossAware(lab.unit_scale, 2)(w).flatten().tolist() == [1, 1, -1, 1]


def test_update_all_reaches_every_quantizer() -> None:
    network = lab.mlp(lab.weighted_scale)
    network(digits().train_x[:64]).square().sum().backward()
    lab.update_all(network, 1, 2)
    found = [part for part in network.modules() if isinstance(part, lab.LossAware)]
    assert len(found) == 4
    for part, layer in zip(found, (p for p in network if isinstance(p, QuantLinear)), strict=True):
        assert part.v.shape == layer.weight.shape
        assert layer.weight.grad is not None
        assert torch.allclose(part.v, 0.001 * layer.weight.grad.square())


def test_network_equals_its_layers_written_out() -> None:
    with deterministic(3):
        network = lab.mlp(lab.mean_scale)
    network.eval()
    products = [part for part in network if isinstance(part, QuantLinear)]
    norms = [part for part in network if isinstance(part, nn.BatchNorm1d)]
    h = digits().test_x[:20].reshape(20, 64)
    for index, (layer, norm) in enumerate(zip(products, norms, strict=True)):
        w = layer.weight
        bound = math.sqrt(1.5 / sum(w.shape))
        assert 0.9 * bound < float(w.detach().abs().max()) <= bound
        h = norm((torch.relu(h) if index else h) @ (w.abs().mean() * torch.where(w >= 0, 1.0, -1.0)).T)
    assert torch.allclose(network(digits().test_x[:20]), h, atol=1e-5)
    assert [tuple(p.weight.shape) for p in products] == [(32, 64), (32, 32), (32, 32), (10, 32)]


def test_single_layer_and_block_have_quantizers_of_their_own() -> None:
    network = lab.single_layer(lab.unit_scale)
    x = digits().test_x[:3]
    layer = network[1]
    assert isinstance(layer, QuantLinear)
    signs = torch.where(layer.weight >= 0, 1.0, -1.0)
    assert signs.shape == (10, 64)
    assert torch.allclose(network(x), x.flatten(1) @ signs.T, atol=1e-5)
    cnn = SmallCNN(lab.block)
    convs = [part for part in cnn.modules() if isinstance(part, QuantConv2d)]
    first, second = (conv.quantizer for conv in convs)
    assert first is not second
    assert isinstance(first, lab.LossAware)
    assert isinstance(second, lab.LossAware)
    assert (first.scale, first.parts) == (lab.weighted_scale, 1)


def lstm_by_hand(network: lab.CharacterLSTM, codes: list[int]) -> np.ndarray:
    """One sequence through the gates of an LSTM, with matrices binarized gate by gate."""
    units = lab.UNITS
    p = {name: value.detach().double().numpy() for name, value in network.lstm.named_parameters()}
    for name in ("weight_ih_l0", "weight_hh_l0"):
        gates = np.split(p[name], 4)
        p[name] = np.concatenate([np.abs(g).mean() * np.where(g >= 0, 1.0, -1.0) for g in gates])
    h, c, outputs = np.zeros(units), np.zeros(units), []
    for code in codes:
        z = p["weight_ih_l0"][:, code] + p["bias_ih_l0"] + p["weight_hh_l0"] @ h + p["bias_hh_l0"]
        i, f, g, o = np.split(z, 4)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        outputs.append(h @ network.head.weight.detach().double().numpy().T + network.head.bias.detach().numpy())
    return np.array(outputs).T


def test_lstm_is_binary_gate_by_gate_and_starts_as_the_authors_do() -> None:
    assert len(text().alphabet) == lab.CODES
    with deterministic(1):
        network = lab.CharacterLSTM(lab.weighted_scale)
    for name, p in network.lstm.named_parameters():
        if name.startswith("weight"):
            assert 0.079 < float(p.detach().max()) <= 0.08
            assert -0.08 <= float(p.detach().min()) < -0.079
    bias = dict(network.lstm.named_parameters())["bias_ih_l0"]
    assert bias.reshape(4, -1).mean(dim=1).tolist() == [0, 1, 0, 0]
    assert set(bias.tolist()) == {0, 1}
    codes = [3, 1, 32, 0, 7]
    logits = network(torch.tensor([codes, codes]))
    assert logits.shape == (2, lab.CODES, 5)
    np.testing.assert_allclose(logits[0].detach(), lstm_by_hand(network, codes), atol=1e-5)
    logits.square().sum().backward()
    lab.update_all(network, 1, 1)
    shapes = [part.v.shape for part in network.modules() if isinstance(part, lab.LossAware)]
    assert shapes == [(4 * lab.UNITS, lab.CODES), (4 * lab.UNITS, lab.UNITS)]
    assert network.binary["weight_hh_l0"].scale is lab.weighted_scale
    assert lab.CharacterLSTM(lab.unit_scale).binary["weight_ih_l0"].scale is lab.unit_scale


def test_badly_conditioned_pixels_run_from_ten_to_a_tenth() -> None:
    data, full = lab.badly_conditioned(4), digits()
    assert data.train_x.shape == full.train_x.shape
    assert data.test_x is data.train_x
    assert data.test_y is data.train_y is full.train_y
    index = full.train_x.abs().amax(dim=0, keepdim=True)
    factors = (data.train_x.abs().amax(dim=0, keepdim=True) / index).flatten()
    expected = np.logspace(-1, 1, 64)
    np.testing.assert_allclose(factors.sort().values, expected, rtol=1e-5)
    assert torch.allclose(data.train_x, full.train_x * factors.reshape(8, 8))
    assert not torch.equal(lab.badly_conditioned(5).train_x, data.train_x)
    assert torch.equal(lab.badly_conditioned(4).train_x, data.train_x)
    assert not torch.equal(factors, factors.sort(descending=True).values)


def test_loss_is_the_mean_cross_entropy_of_the_test_part() -> None:
    x, y = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert lab.loss(nn.Identity(), Split(-x, 1 - y, x, y)) == pytest.approx(expected)


def scale_of(network: nn.Module) -> set[Any]:
    return {part.scale for part in network.modules() if isinstance(part, lab.LossAware)}


def test_variants_differ_in_the_scale_alone() -> None:
    how = lab.variants(3)
    scales = {"lab": lab.weighted_scale, "bwn": lab.mean_scale, "binaryconnect": lab.unit_scale}
    for name, recipe in how.items():
        network = recipe["build"]()
        assert scale_of(network) == {scales.get(name.split("_")[-1], lab.weighted_scale)}
        kind = name.split("_", maxsplit=1)[0]
        if kind == "recurrent":
            assert isinstance(network, lab.CharacterLSTM)
            assert {key: recipe[key] for key in recipe if key not in {"build", "data"}} == {
                "epochs": 2,
                "batch": 32,
                "lr": 0.03,
            }
            x, y = recipe["data"].train_x, recipe["data"].train_y
            assert x.shape[1] == 16
            assert torch.equal(x.flatten()[1:], y.flatten()[:-1])
            assert torch.equal(x.flatten(), text().train[: x.numel()])
            assert torch.equal(recipe["data"].test_x.flatten(), text().test[: recipe["data"].test_x.numel()])
        elif kind == "conditioning":
            assert len(network) == 2
            assert torch.equal(recipe["data"].train_x, lab.badly_conditioned(3).train_x)
        else:
            assert set(recipe) == {"build"}
            assert isinstance(network, SmallCNN if name == "cnn_accuracy" else nn.Sequential)
    assert set(how) == {
        *scales,
        "conditioning_lab",
        "conditioning_bwn",
        "recurrent_lab",
        "recurrent_binaryconnect",
        "cnn_accuracy",
    }


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: dict[str, nn.Module] = {}
    names = iter(lab.variants(2))
    data = digits()
    few = Split(data.train_x[:256], data.train_y[:256], data.test_x, data.test_y)

    def on_few(**how: Any) -> nn.Module:
        assert how["seed"] == 2
        assert how["after_step"] is lab.update_all
        given = how.get("data", few)
        short = Split(given.train_x[:256], given.train_y[:256], given.test_x, given.test_y)
        name = next(names)
        trained[name] = train(**{**how, "data": short, "epochs": 1})
        return trained[name]

    monkeypatch.setattr(lab, "train", on_few)
    metrics = lab.reproduce(2)
    for name, network in trained.items():
        given = lab.variants(2)[name].get("data")
        assert metrics[name] == (accuracy(network) if given is None else lab.loss(network, given))
    binary = [part for part in trained["lab"].modules() if isinstance(part, lab.LossAware)]
    w = binary[1].latent[0].detach().flatten()[:10].double().numpy()
    d = np.sqrt(binary[1].v.flatten()[:10].double().numpy()) + 1e-8
    best = min(
        100 * (d * (np.dot(d * w, s) / d.sum() * np.array(s) - w) ** 2).sum() / (d * w**2).sum()
        for s in itertools.product((-1.0, 1.0), repeat=10)
    )
    assert metrics["closed_error"] == pytest.approx(best, rel=1e-4)
    assert metrics["searched_error"] == pytest.approx(best, rel=1e-4)
    assert metrics["mean_magnitude"] == pytest.approx(np.abs(w).mean(), rel=1e-6)
    assert metrics["equal_curvature_scale"] == pytest.approx(np.abs(w).mean(), rel=1e-6)
    ratios = []
    for part in binary:
        signs = np.where(part.latent[0].detach().numpy() >= 0, 1.0, -1.0)
        ratios.append(np.linalg.svd(signs, compute_uv=False)[0] / math.sqrt(max(signs.shape)))
    assert metrics["singular_ratio"] == pytest.approx(min(ratios), rel=1e-5)
    others = [claim.expected if isinstance(claim, Exact) else claim.baseline for claim in lab.CLAIMS]
    assert {claim.metric for claim in lab.CLAIMS} | {name for name in others if isinstance(name, str)} <= set(metrics)


def test_the_quantizer_is_scale_times_integers_on_two_levels() -> None:
    (quantizer,) = lab.QUANTIZERS
    x = torch.randn(7, 5, 3)
    integers, scale = quantizer.to_integers(x)
    assert integers.dtype == torch.int64
    assert torch.equal(scale * integers, quantizer.quantize(x))
    assert float(scale) == pytest.approx(float(x.abs().mean()))
    drawn = curve(quantizer)
    assert (drawn.bits, len(set(drawn.y)), set(drawn.gradient)) == (1, 2, {1.0})
    assert max(drawn.y) == -min(drawn.y) == pytest.approx(0.753, abs=0.005)  # plain signs would give 1


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(lab.RECORD))
    with deterministic(0):
        metrics = lab.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
    assert metrics["closed_error"] <= metrics["searched_error"] + 1e-4
