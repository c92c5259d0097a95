"""SqueezeNet: its published size, the Fire module by hand, Deep Compression against brute force, the experiment."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.compression import squeezenet as m
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.results import read
from reference_impls.kit.train import deterministic

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=20)
# The released model file: s1, e1 and e3 of fire2 to fire9.
RELEASED = [
    (16, 64, 64),
    (16, 64, 64),
    (32, 128, 128),
    (32, 128, 128),
    (48, 192, 192),
    (48, 192, 192),
    (64, 256, 256),
    (64, 256, 256),
]


def formula(channels: int, s1: int, e1: int, e3: int) -> int:
    """Parameters of a Fire module, counted layer by layer."""
    return channels * s1 + s1 + s1 * e1 + e1 + 9 * s1 * e3 + e3


def test_dimensions_are_those_of_the_released_model() -> None:
    assert m.fire_dimensions(8, 128, 128, 0.125) == RELEASED
    assert m.fire_dimensions(3, 9, 4, 0.5) == [(4, 5, 4), (4, 5, 4), (6, 7, 6)]


def test_squeezenet_has_the_published_parameters_layer_by_layer() -> None:
    network = m.squeezenet()
    fires = [x for x in network.modules() if isinstance(x, m.Fire)]
    widths = [96, *(e1 + e3 for _, e1, e3 in RELEASED)]
    counts = [formula(c, *sizes) for c, sizes in zip(widths, RELEASED, strict=False)]
    assert counts[0] == 11_920  # fire2 in Table 1
    assert [m.parameters(fire) for fire in fires] == counts
    assert m.parameters(network) == 3 * 96 * 49 + 96 + sum(counts) + 513_000 == 1_248_424


def test_squeezenet_makes_the_published_maps() -> None:
    sizes: list[tuple[int, ...]] = []
    with torch.device("meta"):
        network = m.squeezenet()
        for layer in network.modules():
            if isinstance(layer, nn.MaxPool2d | m.Fire) or (isinstance(layer, nn.Conv2d) and layer.kernel_size[0] == 7):
                layer.register_forward_hook(lambda _m, _x, y: sizes.append((*y.shape[1:3],)))
        assert network(torch.zeros(1, 3, 227, 227)).shape == (1, 1000)
    expected = [(96, 111), (96, 55), (128, 55), (128, 55), (256, 55), (256, 27), (256, 27), (384, 27), (384, 27)]
    assert sizes == [*expected, (512, 27), (512, 13), (512, 13)]
    kernels = [x.kernel_size for x in network.modules() if isinstance(x, nn.MaxPool2d)]
    assert kernels == [3, 3, 3]
    dropout = [x.p for x in network.modules() if isinstance(x, nn.Dropout)]
    assert dropout == [0.5]
    assert not any(isinstance(x, nn.BatchNorm2d) for x in network.modules())
    assert all(x.bypass is None for x in network.modules() if isinstance(x, m.Fire))


def test_alexnet_count_is_that_of_its_layers() -> None:
    convolutions = [(96, 3, 11), (256, 48, 5), (384, 256, 3), (384, 192, 3), (256, 192, 3)]
    linear = [(4096, 256 * 6 * 6), (4096, 4096), (1000, 4096)]
    count = sum(o * (i * k * k + 1) for o, i, k in convolutions) + sum(o * (i + 1) for o, i in linear)
    assert count == m.ALEXNET


def fire(channels: int, bypass: m.Bypass = "none", *, normalized: bool = False) -> m.Fire:
    with deterministic(0):
        return m.Fire(channels, 2, 3, 4, bypass, normalized=normalized)


def test_fire_squeezes_expands_and_concatenates() -> None:
    x, module = torch.randn(2, 5, 4, 4), fire(5)
    assert module.squeeze.bias is not None
    squeezed = torch.einsum("nchw,sc->nshw", x, module.squeeze.weight[:, :, 0, 0])
    z = (squeezed + module.squeeze.bias.reshape(-1, 1, 1)).relu()
    small = torch.conv2d(z, module.expand_1x1.weight, module.expand_1x1.bias).relu()
    large = torch.conv2d(z, module.expand_3x3.weight, module.expand_3x3.bias, padding=1).relu()
    y = module(x)
    assert y.shape == (2, 7, 4, 4)
    torch.testing.assert_close(y, torch.cat([small, large], dim=1))
    assert m.parameters(module) == formula(5, 2, 3, 4)
    assert module.saving() == pytest.approx((9 * 5 * 7 + 7) / formula(5, 2, 3, 4))


def test_bypasses_stand_where_they_should() -> None:
    x = torch.randn(2, 7, 4, 4)
    cases: list[tuple[m.Bypass, int, type]] = [
        ("none", 7, type(None)),
        ("none", 5, type(None)),
        ("simple", 7, nn.Identity),
        ("simple", 5, type(None)),
        ("complex", 7, nn.Identity),
        ("complex", 5, nn.Conv2d),
    ]
    for bypass, channels, kind in cases:
        module = fire(channels, bypass)
        assert isinstance(module.bypass, kind), (bypass, channels)
    torch.testing.assert_close(fire(7, "simple")(x), fire(7)(x) + x)
    module = fire(5, "complex")
    assert isinstance(module.bypass, nn.Conv2d)
    assert module.bypass.weight.shape == (7, 5, 1, 1)
    plain = m.Fire(5, 2, 3, 4, "none", normalized=False)
    plain.load_state_dict({k: v for k, v in module.state_dict().items() if not k.startswith("bypass")})
    torch.testing.assert_close(module(x[:, :5]), plain(x[:, :5]) + module.bypass(x[:, :5]))
    assert m.parameters(fire(7, "simple")) == m.parameters(fire(7))


def test_batch_norm_comes_after_the_concatenation_where_asked_for() -> None:
    assert isinstance(fire(5).norm, nn.Identity)
    module = fire(5, normalized=True)
    assert isinstance(module.norm, nn.BatchNorm2d)
    module.norm.bias.data.fill_(-100.0)
    assert not bool(module(torch.randn(4, 5, 3, 3)).any())


def test_toys_have_the_shapes_they_are_compared_by() -> None:
    plain, fires = m.toy_plain(m.PLAIN_WIDTHS), m.toy_fire()
    assert (m.parameters(plain), m.parameters(fires)) == (8916, 8930)
    for network in (plain, fires):
        assert network(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
        kernels = [x.kernel_size for x in network.modules() if isinstance(x, nn.MaxPool2d)]
        assert kernels == [2, 2]
    order = [type(x).__name__ for x in fires.children()]
    stem, tail = ["Conv2d", "BatchNorm2d", "ReLU"], ["Conv2d", "AdaptiveAvgPool2d", "Flatten"]
    assert order == [*stem, "MaxPool2d", "Fire", "Fire", "MaxPool2d", "Fire", "Fire", *tail]
    blocks = [x for x in plain.children() if isinstance(x, nn.Sequential)]
    assert [[type(x).__name__ for x in block] for block in blocks] == 4 * [stem]
    assert [x.padding for x in m.convolutions(plain)] == 5 * [(1, 1)] + [(0, 0)]
    assert [x.out_channels for x in m.convolutions(plain)] == [*m.PLAIN_WIDTHS, 10]
    modules = [x for x in fires.modules() if isinstance(x, m.Fire)]
    assert [(x.squeeze.in_channels, x.squeeze.out_channels) for x in modules] == [(24, 4), (32, 4), (32, 8), (64, 8)]
    assert all(isinstance(x.norm, nn.BatchNorm2d) for x in modules)
    assert m.convolutions(fires)[0].padding == (1, 1)


def test_variants_are_built_as_named() -> None:
    networks = {name: build() for name, build in m.variants().items()}
    sizes = {name: m.parameters(network) for name, network in networks.items()}
    assert sizes == {
        "fire": 8930,
        "simple_bypass": 8930,
        "complex_bypass": 8930 + (24 + 1) * 32 + (32 + 1) * 64,
        "squeeze_three_quarters": m.parameters(m.toy_fire(0.75)),
        "plain_3x3": 8916,
    }
    passes = {
        name: [type(x.bypass) for x in network.modules() if isinstance(x, m.Fire)] for name, network in networks.items()
    }
    none = type(None)
    assert passes["fire"] == passes["squeeze_three_quarters"] == [none] * 4
    assert passes["simple_bypass"] == [none, nn.Identity, none, nn.Identity]
    assert passes["complex_bypass"] == [nn.Conv2d, nn.Identity, nn.Conv2d, nn.Identity]
    wide = networks["squeeze_three_quarters"]
    assert [x.squeeze.out_channels for x in wide.modules() if isinstance(x, m.Fire)] == [24, 24, 48, 48]


def test_masks_keep_the_largest_share_of_3x3_expand_weights_and_all_others() -> None:
    with deterministic(1):
        network = m.toy_fire()
    large = {x.expand_3x3 for x in network.modules() if isinstance(x, m.Fire)}
    for layer, mask in zip(m.convolutions(network), m.prune_masks(network, 0.25), strict=True):
        assert mask.shape == layer.weight.shape
        if layer not in large:
            assert bool(mask.all())
            continue
        assert int(mask.sum()) == layer.weight.numel() // 4
        sizes = layer.weight.detach().abs()
        assert float(sizes[mask].min()) > float(sizes[~mask].max())
    assert all(bool(mask.all()) for mask in m.prune_masks(network, 1.0))


def test_holding_zeroes_what_is_masked_and_nothing_else() -> None:
    with deterministic(1):
        network = m.toy_fire()
    before = [layer.weight.detach().clone() for layer in m.convolutions(network)]
    masks = m.prune_masks(network, 0.5)
    m.hold(network, masks)
    for layer, old, mask in zip(m.convolutions(network), before, masks, strict=True):
        assert torch.equal(layer.weight.detach(), torch.where(mask, old, 0.0))


def test_codebook_starts_evenly_and_moves_to_means() -> None:
    values = torch.tensor([0.0, 0.1, 0.2, 1.0, 3.0])
    entries, codes = m.codebook(values, 2, iterations=0)
    assert entries.tolist() == [0, 1, 2, 3]
    entries, codes = m.codebook(values, 2)
    assert entries.tolist() == pytest.approx([0.1, 1.0, 2.0, 3.0])
    assert codes.tolist() == [0, 0, 0, 1, 3]
    once, _ = m.codebook(torch.tensor([0.0, 0.4, 0.6, 1.0]), 1, iterations=1)
    assert once.tolist() == pytest.approx([0.2, 0.8])
    assert len(m.codebook(values, 6)[0]) == 64


@PROPERTY
@given(st.integers(1, 6), st.integers(0, 99))
def test_codebook_is_a_fixed_point_that_no_reassignment_improves(bits: int, seed: int) -> None:
    values = torch.randn(200, generator=torch.Generator().manual_seed(seed))
    entries, codes = m.codebook(values, bits, iterations=100)
    assert bool((entries.diff() >= 0).all())
    gaps = (values[:, None] - entries).abs()
    torch.testing.assert_close(gaps.min(dim=1).values, (values - entries[codes]).abs())
    for index in set(codes.tolist()):
        assert float(entries[index]) == pytest.approx(float(values[codes == index].mean()), abs=1e-5)
    even = torch.linspace(float(values.min()), float(values.max()), 2**bits)
    assert float((values - entries[codes]).square().sum()) <= float(
        (values[:, None] - even).square().min(dim=1).values.sum() * (1 + 1e-5)
    )


def brute_force_prefix_code(counts: list[int]) -> int:
    """The least total length over all code lengths that satisfy Kraft's inequality."""
    if len(counts) == 1:
        return counts[0]
    lengths = itertools.product(range(1, len(counts)), repeat=len(counts))
    fits = (choice for choice in lengths if sum(2.0**-length for length in choice) <= 1)
    return min(sum(count * length for count, length in zip(counts, choice, strict=True)) for choice in fits)


@PROPERTY
@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_huffman_length_is_the_shortest_there_is(symbols: list[int]) -> None:
    assert m.huffman_bits(symbols) == brute_force_prefix_code(list(Counter(symbols).values()))


def test_huffman_length_by_hand() -> None:
    assert m.huffman_bits("aaaabbcd") == 4 * 1 + 2 * 2 + 3 + 3  # type: ignore[arg-type]
    assert m.huffman_bits([7, 7, 7]) == 3
    assert m.huffman_bits([]) == 0


def test_compressed_network_shares_its_kept_weights_and_counts_its_bits() -> None:
    with deterministic(1):
        network = m.toy_fire()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    masks = m.prune_masks(network, 0.5)
    compressed, size = m.compress(network, masks, 3)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    kept = torch.cat([x.weight.detach()[mask] for x, mask in zip(m.convolutions(network), masks, strict=True)])
    entries, codes = m.codebook(kept, 3)
    shared = torch.cat([x.weight.detach()[mask] for x, mask in zip(m.convolutions(compressed), masks, strict=True)])
    assert torch.equal(shared, entries[codes])
    gaps: list[int] = []
    for layer, mask in zip(m.convolutions(compressed), masks, strict=True):
        assert not bool(layer.weight.detach()[~mask].any())
        if not bool(mask.all()):
            positions = np.flatnonzero(mask.numpy())
            gaps += np.diff(positions, prepend=-1).tolist()
            assert np.array_equal(np.cumsum(gaps[-len(positions) :]) - 1, positions)
    weights = sum(x.weight.numel() for x in m.convolutions(network))
    rest = 32 * (m.parameters(network) - weights + 8)
    assert size == m.huffman_bits(codes.tolist()) + m.huffman_bits(gaps) + rest
    everything = torch.cat([x.weight.detach().flatten() for x in m.convolutions(network)])
    _, dense = m.compress(network, m.prune_masks(network, 1.0), 3)  # no gaps are stored
    assert dense == m.huffman_bits(m.codebook(everything, 3)[1].tolist()) + rest
    shared_layers = {id(x.weight) for x in m.convolutions(compressed)}
    for name, value in compressed.named_parameters():
        assert id(value) in shared_layers or torch.equal(value, before[name])


def test_retraining_holds_pruned_weights_and_leaves_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    with deterministic(1):
        network = m.toy_fire()
    masks = m.prune_masks(network, 0.5)
    before = [layer.weight.detach().clone() for layer in m.convolutions(network)]
    calls: list[int] = []

    def train(
        build: Callable[[], nn.Module],
        seed: int,
        *,
        epochs: int,
        lr: float,
        after_step: Callable[[nn.Module, int, int], None],
    ) -> nn.Module:
        assert (seed, epochs, lr) == (5, m.RETRAIN_EPOCHS, m.RETRAIN_RATE)
        start = build()
        assert start is not network
        for layer, old, mask in zip(m.convolutions(start), before, masks, strict=True):
            assert torch.equal(layer.weight.detach(), torch.where(mask, old, 0.0))
            layer.weight.data += 1.0
        after_step(start, 1, 9)
        for layer, mask in zip(m.convolutions(start), masks, strict=True):
            assert not bool(layer.weight.detach()[~mask].any())
            assert bool(layer.weight.detach()[mask].any())
        calls.append(1)
        return start

    monkeypatch.setattr(m, "train", train)
    assert m.parameters(m.retrain(network, 5, masks)) == m.parameters(network)
    assert calls == [1]
    assert all(torch.equal(x.weight.detach(), old) for x, old in zip(m.convolutions(network), before, strict=True))


def test_experiment_trains_prunes_and_compresses_the_network_without_bypass(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[nn.Module] = []
    retrained: dict[nn.Module, float] = {}

    def train(build: Callable[[], nn.Module], seed: int, *, epochs: int, lr: float) -> nn.Module:
        assert (seed, epochs, lr) == (7, m.EPOCHS, m.RATE)
        built.append(build())
        return built[-1]

    def retrain(network: nn.Module, seed: int, masks: list[Tensor]) -> nn.Module:
        assert (network, seed) == (built[0], 7)
        result = m.toy_fire()
        retrained[result] = sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)
        return result

    def compress(network: nn.Module, masks: list[Tensor], bits: int) -> tuple[nn.Module, int]:
        assert network in retrained
        assert sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks) == retrained[network] < 1
        result = m.toy_fire()
        retrained[result] = float(bits)
        return result, 1000 * bits

    monkeypatch.setattr(m, "train", train)
    monkeypatch.setattr(m, "retrain", retrain)
    monkeypatch.setattr(m, "compress", compress)
    monkeypatch.setattr(m, "accuracy", lambda net: retrained[net] if net in retrained else 100.0 + built.index(net))
    metrics = m.reproduce(7)
    assert metrics == {
        "parameters": 1_248_424,
        "mebibytes": pytest.approx(4.76236, abs=1e-5),
        "alexnet_ratio": pytest.approx(48.8337, abs=1e-4),
        "least_saving": pytest.approx(min(_savings())),
        **{name: 100.0 + index for index, name in enumerate(m.variants())},
        "dense": 1.0,
        "compressed_8": 8.0,
        "ratio_8": pytest.approx(32 * 8930 / 8000),
        "compressed_6": 6.0,
        "ratio_6": pytest.approx(32 * 8930 / 6000),
    }


def _savings() -> list[float]:
    widths = [96, *(e1 + e3 for _, e1, e3 in RELEASED)]
    pairs = zip(widths, RELEASED, strict=False)
    return [(9 * c * (e1 + e3) + e1 + e3) / formula(c, s1, e1, e3) for c, (s1, e1, e3) in pairs]


def test_a_third_of_the_3x3_weights_is_kept() -> None:
    assert pytest.approx(1 / 3) == m.DENSITY


@pytest.mark.slow
def test_seed_zero_gives_the_accepted_result() -> None:
    accepted = read(result_path(m.RECORD))
    with deterministic(0):
        measured = m.reproduce(0)
    exact = ("parameters", "mebibytes", "alexnet_ratio", "least_saving")
    for name, value in measured.items():
        tolerance = 1e-5 * value if name in exact else 0.1 if name.startswith("ratio") else 3.0
        assert value == pytest.approx(accepted.metrics[name][0], abs=tolerance), name
