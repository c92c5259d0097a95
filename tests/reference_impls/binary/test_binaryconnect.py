from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.binary import binaryconnect as bc
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import QuantConv2d, SmallCNN, conv_block, identity
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import read
from reference_impls.kit.ste import sign
from reference_impls.kit.train import deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=60)
POINTS = [-3.0, -1.0, -0.75, -0.4, -0.0, 0.0, 0.25, 0.4, 1.0, 2.5]
UPSTREAM = torch.arange(1.0, len(POINTS) + 1)


def gradient(y: Tensor, x: Tensor, upstream: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(y, x, upstream)
    return result


def test_hard_sigmoid_is_the_clipped_line() -> None:
    w = torch.tensor(POINTS, dtype=torch.float64)
    np.testing.assert_allclose(bc.hard_sigmoid(w), np.clip((np.array(POINTS) + 1) / 2, 0, 1), rtol=0, atol=0)


def test_binary_weights_differ_from_rounding_and_pass_the_gradient_whole_even_beyond_one() -> None:
    w = torch.tensor(POINTS, requires_grad=True)
    y = bc.binarize(w)
    assert y.tolist() == [1 if v >= 0 else -1 for v in POINTS]  # rounding would give 0 at 0.25 and 3 levels more
    assert torch.equal(gradient(y, w, UPSTREAM), UPSTREAM)  # a saturating gradient would be 0 at -3 and 2.5


def test_stochastic_weights_have_the_latent_weight_as_mean_which_plain_signs_have_not() -> None:
    w = torch.tensor([-2.0, -1.0, -0.6, -0.1, 0.0, 0.3, 1.0, 2.0], dtype=torch.float64)
    many = w.repeat(20_000, 1).requires_grad_()
    y = bc.binarize_stochastically(many, torch.Generator().manual_seed(1))
    assert y.dtype == torch.float64
    assert set(y.flatten().tolist()) == {-1.0, 1.0}
    mean = y.detach().mean(dim=0)
    assert torch.allclose(mean, w.clamp(-1, 1), atol=0.03)
    assert mean[[0, 1, 6, 7]].tolist() == [-1, -1, 1, 1]  # from magnitude 1 on nothing is left to chance
    upstream = torch.randn(many.shape, dtype=torch.float64)
    assert torch.equal(gradient(y, many, upstream), upstream)


def test_stochastic_weights_repeat_with_the_generator_only_and_draw_each_weight_for_itself() -> None:
    w = torch.zeros(10, 40)
    draws = [bc.binarize_stochastically(w, torch.Generator().manual_seed(seed)) for seed in (7, 7, 8)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert all(len(row.unique()) == 2 for row in draws[0])
    torch.manual_seed(3)
    first, second = bc.binarize_stochastically(w), bc.binarize_stochastically(w)
    assert not torch.equal(first, second)


@PROPERTY
@given(st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=30))
def test_both_rules_give_signs_that_stay_and_agree_where_nothing_is_left_to_chance(values: list[float]) -> None:
    w = torch.tensor(values)
    signs = bc.binarize(w)
    assert set(signs.tolist()) <= {-1.0, 1.0}
    assert torch.equal(bc.binarize(signs), signs)
    assert torch.equal(bc.binarize(3 * w), signs)
    assert torch.equal(bc.binarize_stochastically(signs), signs)
    sure = w.abs() >= 1
    assert torch.equal(bc.binarize_stochastically(w)[sure], signs[sure])


def test_glorot_coefficient_is_that_of_the_authors_code() -> None:
    assert bc.glorot_coefficient(torch.zeros(32, 64)) == pytest.approx(math.sqrt(1.5 / 96))


def test_accumulation_equals_the_matrix_product() -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(-16, 17, size=(5, 9)).astype(np.float32) / 8
    signs = rng.choice([-1.0, 1.0], size=(4, 9)).astype(np.float32)
    y = bc.accumulate(torch.from_numpy(x), torch.from_numpy(signs))
    assert y.shape == (5, 4)
    np.testing.assert_array_equal(y, x @ signs.T)


def test_sampling_error_is_one_for_the_rule_and_grows_for_a_biased_one(monkeypatch: pytest.MonkeyPatch) -> None:
    w = torch.linspace(-1.0, 1.0, 1001)
    for draws in (16, 256):
        assert bc.sampling_error(w, draws, torch.Generator().manual_seed(0)) == pytest.approx(1, abs=0.1)
    monkeypatch.setattr(bc, "binarize_stochastically", lambda x, _generator: sign(x))
    few, many = bc.sampling_error(w, 16), bc.sampling_error(w, 64)
    inside = w[w.abs() < 1]
    gap = (sign(inside) - inside) / (1 - inside.square()).sqrt()
    assert few == pytest.approx(4 * float(gap.square().mean().sqrt()), rel=1e-4)
    assert many == pytest.approx(2 * few, rel=1e-4)


def test_sampling_error_uses_its_generator_and_leaves_out_weights_at_the_ends() -> None:
    w = torch.tensor([-1.0, -0.5, 0.25, 1.0])
    once, again, other = (bc.sampling_error(w, 8, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert once == again
    assert once != other
    assert math.isfinite(once)


@pytest.mark.parametrize("rule", [bc.DETERMINISTIC, bc.STOCHASTIC, bc.REAL])
def test_layers_use_one_weight_in_training_and_another_at_test(rule: bc.Rule) -> None:
    torch.manual_seed(0)
    layer = bc.ConnectedLinear(6, 3, rule)
    assert "bias" not in dict(layer.named_parameters())
    assert layer.weight.shape == (3, 6)
    eye = torch.eye(6)
    w = layer.weight.detach()
    trained, tested = layer(eye).T, layer.eval()(eye).T
    assert tested.shape == (3, 6)
    signs = torch.where(w >= 0, 1.0, -1.0)
    assert torch.equal(tested, signs if rule is bc.DETERMINISTIC else w)
    assert torch.equal(trained, w) == (rule is bc.REAL)
    assert torch.equal(trained, signs) == (rule is bc.DETERMINISTIC)
    assert set(trained.unique().tolist()) == {-1.0, 1.0} or rule is bc.REAL


def test_the_rules_are_the_papers() -> None:
    assert (bc.binarize, bc.binarize) == bc.DETERMINISTIC
    assert (bc.binarize_stochastically, identity) == bc.STOCHASTIC
    assert (identity, identity) == bc.REAL


def layers(network: nn.Module) -> list[bc.ConnectedLinear]:
    return [part for part in network.modules() if isinstance(part, bc.ConnectedLinear)]


def test_network_equals_its_layers_written_out() -> None:
    with deterministic(3):
        network = bc.mlp(bc.DETERMINISTIC)
        network(digits().train_x[:50])
    network.eval()
    norms = [part for part in network if isinstance(part, nn.BatchNorm1d)]
    x = digits().test_x[:20]
    h = x.reshape(20, 64)
    for index, (layer, norm) in enumerate(zip(layers(network), norms, strict=True)):
        h = norm((torch.relu(h) if index else h) @ torch.where(layer.weight >= 0, 1.0, -1.0).T)
    assert torch.equal(network(x), h)
    assert h.shape == (20, 10)
    assert [tuple(layer.weight.shape) for layer in layers(network)] == [(64, 64)] * 3 + [(10, 64)]


def test_dropout_stands_behind_each_hidden_relu_only() -> None:
    kinds = [type(part).__name__ for part in bc.mlp(bc.REAL, dropout=0.4)]
    assert kinds == ["Flatten", *["ConnectedLinear", "BatchNorm1d", "ReLU", "Dropout"] * 3, *kinds[1:3]]
    assert {part.p for part in bc.mlp(bc.REAL, dropout=0.4) if isinstance(part, nn.Dropout)} == {0.4}
    assert not [part for part in bc.mlp(bc.REAL) if isinstance(part, nn.Dropout)]


def test_latent_weights_start_spread_over_the_whole_range_and_real_ones_as_torch_starts_them() -> None:
    with deterministic(0):
        for rule in (bc.DETERMINISTIC, bc.STOCHASTIC):
            for layer in layers(bc.mlp(rule)):
                assert 0.95 < float(layer.weight.detach().max()) <= 1
                assert -1 <= float(layer.weight.detach().min()) < -0.95
        assert bc.largest_weight(bc.mlp(bc.REAL)) <= 1 / 8
        assert all(layer.rule is bc.REAL for layer in layers(bc.mlp(bc.REAL)))


def test_clipping_touches_only_latent_weights_and_of_those_only_what_lies_outside() -> None:
    network = nn.Sequential(bc.mlp(bc.STOCHASTIC), SmallCNN(conv_block(bc.binarize)))
    first, conv = layers(network)[0], next(part for part in network.modules() if isinstance(part, QuantConv2d))
    norm = next(part for part in network.modules() if isinstance(part, nn.BatchNorm1d))
    first.weight.data[0, :3] = torch.tensor([-3.0, 0.5, 1.5])
    conv.weight.data[1, 2, 0, 0] = -7.0
    norm.weight.data[0] = 5.0
    assert bc.largest_weight(network) == 7.0
    before = first.weight.detach().clone()
    bc.clip_weights(network, 1, 2)
    assert first.weight[0, :3].tolist() == [-1.0, 0.5, 1.0]
    assert torch.equal(first.weight[1:], before[1:])
    assert float(conv.weight.detach()[1, 2, 0, 0]) == -1.0
    assert float(norm.weight.detach()[0]) == 5.0
    assert bc.largest_weight(network) == 1.0
    assert len(bc.latent_weights(network)) == 6


def test_rates_of_weights_grow_with_glorots_coefficient() -> None:
    network = bc.mlp(bc.DETERMINISTIC)
    optimizer = bc.scaled_adam(network)
    assert type(optimizer) is torch.optim.Adam
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates.keys() == {id(p) for p in network.parameters()}
    for layer in layers(network):
        out, fan_in = layer.weight.shape
        assert rates[id(layer.weight)] == pytest.approx(0.01 * math.sqrt((out + fan_in) / 1.5))
    assert {rates[id(p)] for p in network.parameters() if p.dim() == 1} == {0.01}


def test_noisy_digits_are_a_subset_with_some_labels_redrawn() -> None:
    data, full = bc.noisy_digits(4), digits()
    assert data.train_x.shape == (600, 1, 8, 8)
    assert data.test_x is full.test_x
    assert data.test_y is full.test_y
    rows = {
        tuple(image.flatten().tolist()): int(label) for image, label in zip(full.train_x, full.train_y, strict=True)
    }
    right = [rows[tuple(image.flatten().tolist())] for image in data.train_x]
    wrong = float((torch.tensor(right) != data.train_y).float().mean())
    assert 0.2 < wrong < 0.33  # of the 30 % redrawn, a tenth hit the right label again
    assert set(data.train_y.tolist()) == set(range(10))
    again, other = bc.noisy_digits(4), bc.noisy_digits(5)
    assert torch.equal(again.train_y, data.train_y)
    assert torch.equal(again.train_x, data.train_x)
    assert not torch.equal(other.train_x, data.train_x)
    changed = {label for label, true in zip(data.train_y.tolist(), right, strict=True) if label != true}
    assert changed == set(range(10))


def test_variants_differ_from_the_method_in_what_their_names_say() -> None:
    how = bc.variants()
    rules = {"deterministic": bc.DETERMINISTIC, "stochastic": bc.STOCHASTIC}
    for name, recipe in how.items():
        network = recipe["build"]()
        expected = rules.get(name.split("_", maxsplit=1)[0], bc.REAL)
        assert all(layer.rule is expected for layer in layers(network))
        drops = [part.p for part in network if isinstance(part, nn.Dropout)]
        assert drops == ([0.5] * 3 if name == "dropout" else [])
        real = expected is bc.REAL
        assert recipe.get("optimizer") is (None if real else bc.scaled_adam)
        clips = not real and not name.endswith("without_clipping")
        assert recipe.get("after_step") is (bc.clip_weights if clips else None)
        assert set(recipe) <= {"build", "optimizer", "after_step"}
    assert len(how) == 6


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, object]] = []

    def watched(*built: object, seed: int = -1, **how: object) -> nn.Module:
        if built:
            build, seed = built  # type: ignore[assignment]
            how["build"] = build
        seen.append({"seed": seed, **how})
        return train(seed=seed, **{"data": bc.noisy_digits(1), **how, "epochs": 1})  # type: ignore[arg-type]

    monkeypatch.setattr(bc, "train", watched)
    monkeypatch.setattr(bc, "accumulate", lambda x, signs: x @ signs.T + (torch.arange(64) < 3))  # 3 of 64 are wrong
    metrics = bc.reproduce(3)
    *mlps, cnn = seen
    assert [how["seed"] for how in seen] == [3] * 7
    assert all(how["epochs"] == 15 for how in mlps)
    data = bc.noisy_digits(3)
    assert all(torch.equal(how["data"].train_y, data.train_y) for how in mlps)  # type: ignore[attr-defined]
    assert set(cnn) == {"seed", "build", "after_step"}
    assert cnn["after_step"] is bc.clip_weights
    with deterministic(0):
        network = cnn["build"]()  # type: ignore[operator]
    assert isinstance(network, SmallCNN)
    assert {part.quantizer for part in network.modules() if isinstance(part, QuantConv2d)} == {bc.binarize}
    named = {name for claim in bc.CLAIMS for name in (claim.metric, *_baseline(claim))}
    assert named <= set(metrics)
    assert set(bc.variants()) | {"cnn_accuracy", "stochastic_tested_binary"} <= set(metrics)
    assert metrics["accumulate_differences"] == 3 * len(digits().test_x)
    assert metrics["largest_weight"] == 1 < metrics["largest_unclipped"]
    assert metrics["sampling_error"] == pytest.approx(1, abs=0.1)
    assert metrics["stochastic"] != metrics["stochastic_tested_binary"]
    assert all(0 < metrics[name] <= 100 for name in [*bc.variants(), "cnn_accuracy", "stochastic_tested_binary"])


def _baseline(claim: object) -> list[str]:
    named = claim.expected if isinstance(claim, Exact) else getattr(claim, "baseline", None)
    return [named] if isinstance(named, str) else []


def test_the_quantizer_is_scale_times_integers_on_two_levels() -> None:
    (quantizer,) = bc.QUANTIZERS
    x = torch.randn(7, 5, 3)
    integers, scale = quantizer.to_integers(x)
    assert integers.dtype == torch.int64
    assert torch.equal(scale * integers, quantizer.quantize(x))
    assert scale.dtype == x.dtype
    assert quantizer.to_integers(x.double())[1].dtype == torch.float64
    drawn = curve(quantizer)
    assert (drawn.name, drawn.bits, set(drawn.y), set(drawn.gradient)) == ("weights", 1, {-1.0, 1.0}, {1.0})


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(bc.RECORD))
    with deterministic(0):
        metrics = bc.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
    assert (metrics["accumulate_differences"], metrics["largest_weight"]) == (0, 1)
