from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from reference_impls.binary import ci_bcnn
from reference_impls.kit.catalogue import result_path
from reference_impls.kit.claims import Exact
from reference_impls.kit.data import Split, digits
from reference_impls.kit.models import QuantConv2d, SmallCNN, conv_block
from reference_impls.kit.results import read
from reference_impls.kit.train import accuracy, deterministic, train

PROPERTY = settings(database=None, deadline=None, derandomize=True, max_examples=40)
POINTS = [-1.5, -1.0, -0.75, -0.0, 0.0, 0.4, 1.0, 2.5]


def whole(*shape: int, seed: int = 0, most: int = 18) -> Tensor:
    return torch.randint(-most, most + 1, shape, generator=torch.Generator().manual_seed(seed)).float()


def one_edge(channels: int, t: int, s: int, sign: float) -> Tensor:
    graph = torch.zeros(channels, channels)
    graph[t, s] = sign
    return graph


def by_hand(counts: np.ndarray, graph: np.ndarray, threshold: int, shift: int) -> np.ndarray:
    result = counts.copy()
    for n, s, i, j in np.ndindex(*counts.shape):
        for t in range(len(graph)):
            if counts[n, t, i, j] >= threshold:
                result[n, s, i, j] += graph[t, s] * shift
            elif counts[n, t, i, j] <= -threshold:
                result[n, s, i, j] -= graph[t, s] * shift
    return result


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with deterministic(0):
        yield


@pytest.fixture(scope="module")
def network() -> SmallCNN:
    with deterministic(3):
        built = SmallCNN(ci_bcnn.binary_block)
        built(digits().train_x[:128])
    return built.eval()


def test_signs_have_the_clipped_gradient_and_not_the_plain_one_of_a_straight_through_sign() -> None:
    x = torch.tensor(POINTS, requires_grad=True)
    y = ci_bcnn.binarize(x)
    assert y.tolist() == [1 if v >= 0 else -1 for v in POINTS]  # rounding would give 0 at 0.4
    (slope,) = torch.autograd.grad(y, x, torch.arange(1.0, len(POINTS) + 1))
    assert slope.tolist() == [0, 2, 3, 4, 5, 6, 7, 0]


def test_worked_example_of_the_interacted_bitcount_which_a_plain_bitcount_fails() -> None:
    counts = torch.tensor([12.0, 3.0, -10.0, 9.0]).reshape(1, 4, 1, 1)
    up = ci_bcnn.interacted_bitcount(counts, one_edge(4, 0, 1, 1.0), 10, 5)
    assert up.flatten().tolist() == [12, 8, -10, 9]
    down = ci_bcnn.interacted_bitcount(counts, one_edge(4, 0, 1, -1.0), 10, 5)
    assert down.flatten().tolist() == [12, -2, -10, 9]
    assert ci_bcnn.interacted_bitcount(counts, one_edge(4, 2, 1, 1.0), 10, 5)[0, 1] == -2  # the bound is included
    assert ci_bcnn.interacted_bitcount(counts, one_edge(4, 2, 1, -1.0), 10, 5)[0, 1] == 8
    assert torch.equal(ci_bcnn.interacted_bitcount(counts, one_edge(4, 3, 1, 1.0), 10, 5), counts)  # 9 is not sure
    both = one_edge(4, 0, 1, 1.0) + one_edge(4, 1, 3, 1.0)  # the shifted 8 is below the threshold, and not looked at
    assert ci_bcnn.interacted_bitcount(counts, both, 8, 5).flatten().tolist() == [12, 8, -10, 9]


@PROPERTY
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 9))
def test_floats_and_integers_agree_with_loops_over_every_pixel(seed: int, threshold: int, shift: int) -> None:
    counts, graph = whole(2, 4, 2, 3, seed=seed), whole(4, 4, seed=seed + 1, most=1)
    expected = by_hand(counts.numpy(), graph.numpy(), threshold, shift)
    np.testing.assert_array_equal(ci_bcnn.interacted_bitcount(counts, graph, threshold, shift), expected)
    before = counts.numpy().astype(np.int64)
    integers = ci_bcnn.integer_inference(before, graph, threshold, shift)
    assert integers.dtype == np.int64
    np.testing.assert_array_equal(integers, expected)
    np.testing.assert_array_equal(before, counts.numpy())
    np.testing.assert_array_equal(-expected, ci_bcnn.interacted_bitcount(-counts, graph, threshold, shift))


def test_the_shift_passes_the_gradient_to_the_influenced_channel_only() -> None:
    counts = whole(2, 3, 4, 4).requires_grad_()
    upstream = torch.randn(2, 3, 4, 4)
    y = ci_bcnn.interacted_bitcount(counts, one_edge(3, 0, 1, 1.0), 5, 3)
    (slope,) = torch.autograd.grad(y, counts, upstream)
    assert torch.equal(slope, upstream)
    assert not torch.equal(y, counts)


def test_threshold_and_shift_are_those_of_the_code_at_its_fan_in_and_shrink_with_it() -> None:
    assert ci_bcnn.InteractedConv2d(80, 2).levels == (200, 100)
    assert ci_bcnn.InteractedConv2d(4, 8).levels == (10, 5)
    assert ci_bcnn.InteractedConv2d(1600, 1).levels == (4000, 2000)
    assert ci_bcnn.InteractedConv2d(1, 1).levels == (2, 1)


def test_the_layer_is_a_convolution_of_signs_with_interaction() -> None:
    torch.manual_seed(0)
    layer = ci_bcnn.InteractedConv2d(2, 3)
    assert layer.graph.shape == (3, 3)
    assert layer.graph.count_nonzero() == 0
    assert layer.counts.shape == (1, 3, 1, 1)
    assert float(layer.counts.abs().sum()) == 0
    x = torch.randn(5, 2, 6, 6)
    signs, filters = (torch.where(v >= 0, 1.0, -1.0) for v in (x, layer.weight))
    counts = F.conv2d(signs, filters, padding=1)
    assert torch.equal(layer(x), counts)
    layer.graph = one_edge(3, 2, 0, -1.0)
    y = layer(x)
    assert torch.equal(y.detach(), ci_bcnn.interacted_bitcount(counts, layer.graph, 5, 2).detach())
    assert not torch.equal(y, counts)
    assert torch.equal(layer.counts, counts)
    assert not layer.counts.requires_grad


def test_the_network_differs_from_the_reference_in_signs_only_and_shares_its_weights(network: SmallCNN) -> None:
    reference = ci_bcnn.full_precision(network)
    ours, theirs = network.state_dict(), reference.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert not ci_bcnn.interacting(reference)
    layers = ci_bcnn.interacting(network)
    assert [tuple(layer.weight.shape) for layer in layers] == [(4, 4, 3, 3), (8, 4, 3, 3)]
    x = digits().test_x[:9]
    stem, block = network.stem(x), network.blocks[0]
    assert isinstance(block, nn.Sequential)
    norm = block[3]
    assert torch.equal(network.blocks[0](stem), norm(F.max_pool2d(layers[0](stem), 2)))
    conv = F.conv2d(stem.clamp(-1, 1), layers[0].weight, padding=1)
    assert torch.allclose(reference.eval().blocks[0](stem), norm(F.max_pool2d(conv, 2)), atol=1e-5)


def test_information_is_the_mean_over_edges_and_pixels_of_all_layers(network: SmallCNN) -> None:
    changed = copy.deepcopy(network)
    assert ci_bcnn.information(changed) == 0.0
    first, second = ci_bcnn.interacting(changed)
    first.counts, second.counts = whole(3, 4, 2, 2), whole(3, 8, 1, 1, seed=1)
    first.graph, second.graph = one_edge(4, 2, 0, 1.0), one_edge(8, 1, 5, -1.0)
    second.graph[3, 4] = 1.0
    a, b = np.abs(first.counts.numpy()), np.abs(second.counts.numpy())
    found = [np.sign(a[:, 2] - a[:, 0]).flatten()]
    found += [np.sign(b[:, t] - b[:, s]).flatten() for t, s in ((1, 5), (3, 4))]
    assert ci_bcnn.information(changed) == pytest.approx(float(np.concatenate(found).mean()))
    assert len(np.concatenate(found)) == 18
    second.graph = torch.zeros(8, 8)
    first.counts = torch.tensor([1.0, 0.0, -7.0, 0.0]).reshape(1, 4, 1, 1)
    assert ci_bcnn.information(changed) == 1.0
    first.graph = first.graph.T
    assert ci_bcnn.information(changed) == -1.0


@pytest.mark.parametrize(
    ("change", "sign"), [(-0.01, 1), (-0.0031, 1), (-0.0029, 0), (0.0, 0), (0.0029, 0), (0.004, -1)]
)
def test_reward_is_the_sign_of_a_change_beyond_the_tolerance_plus_information(change: float, sign: int) -> None:
    assert ci_bcnn.reward(change, 0.25) == sign + 0.25
    assert ci_bcnn.reward(change, -0.5) == sign - 0.5


def test_the_tolerance_itself_earns_nothing() -> None:
    assert ci_bcnn.reward(-ci_bcnn.TOLERANCE, 0.0) == ci_bcnn.reward(ci_bcnn.TOLERANCE, 0.0) == 0.0
    assert (ci_bcnn.TOLERANCE, ci_bcnn.BASELINE) == (0.003, 0.03)


def log_probability(table: Tensor, graph: Tensor, changed: Tensor, *, add: bool) -> Tensor:
    pairs = [(t, s) for t in range(len(graph)) for s in range(len(graph)) if t != s]
    free = [(k, t, s) for k in (0, 1) for t, s in pairs if graph[t, s] == 0]
    held = [(0 if graph[t, s] > 0 else 1, t, s) for t, s in pairs if graph[t, s] != 0]
    ((t, s),) = (changed - graph).nonzero().tolist()
    kind = 0 if (changed if add else graph)[t, s] > 0 else 1
    signed = table if add else -table
    return signed[kind, t, s] - torch.stack([signed[k, a, b] for k, a, b in (free if add else held)]).exp().sum().log()


@pytest.mark.parametrize("add", [True, False])
def test_a_proposal_changes_one_pair_and_its_slope_is_the_gradient_of_the_log_probability(add: bool) -> None:
    graph = one_edge(4, 0, 2, 1.0) + one_edge(4, 3, 1, -1.0) + one_edge(4, 1, 0, -1.0)
    for seed in range(12):
        torch.manual_seed(seed)
        table = torch.randn(2, 4, 4, requires_grad=True)
        kept = graph.clone()
        proposal = ci_bcnn.propose(table.detach(), graph, add=add)
        assert proposal is not None
        changed, slope = proposal
        assert torch.equal(graph, kept)
        assert changed.count_nonzero() == (4 if add else 2)
        assert (changed != graph).sum() == 1
        assert changed.diagonal().count_nonzero() == 0
        assert set(changed.flatten().tolist()) <= {-1.0, 0.0, 1.0}
        (expected,) = torch.autograd.grad(log_probability(table, graph, changed, add=add), table)
        assert torch.allclose(slope, expected, atol=1e-6)


def test_likely_edges_are_added_and_unlikely_ones_removed() -> None:
    table = torch.zeros(2, 3, 3)
    table[1, 2, 0], table[0, 0, 1] = 40.0, 20.0
    added = ci_bcnn.propose(table, torch.zeros(3, 3), add=True)
    assert added is not None
    assert torch.equal(added[0], one_edge(3, 2, 0, -1.0))
    graph = added[0] + one_edge(3, 0, 1, 1.0)
    removed = ci_bcnn.propose(table, graph, add=False)
    assert removed is not None
    assert torch.equal(removed[0], added[0])
    again = ci_bcnn.propose(table, added[0], add=True)
    assert again is not None
    assert torch.equal(again[0], graph)


def test_all_edges_of_both_signs_can_be_drawn_and_the_actions_are_random() -> None:
    torch.manual_seed(0)
    seen = set()
    for _ in range(300):
        proposal = ci_bcnn.propose(torch.zeros(2, 3, 3), torch.zeros(3, 3), add=True)
        assert proposal is not None
        seen.add(tuple(proposal[0].flatten().tolist()))
    assert len(seen) == 12


def test_nothing_is_proposed_where_the_graph_is_full_or_empty() -> None:
    full = one_edge(3, 0, 1, 1.0) + one_edge(3, 1, 2, 1.0) + one_edge(3, 2, 0, -1.0)
    assert ci_bcnn.propose(torch.zeros(2, 3, 3), full, add=True) is None
    assert ci_bcnn.propose(torch.zeros(2, 3, 3), torch.zeros(3, 3), add=False) is None
    assert ci_bcnn.propose(torch.zeros(2, 3, 3), full, add=False) is not None
    full[0, 1] = 0
    assert ci_bcnn.propose(torch.zeros(2, 3, 3), full, add=True) is not None


def test_loss_from_a_block_is_that_of_the_whole_network(network: SmallCNN) -> None:
    x, y = digits().test_x[:50], digits().test_y[:50]
    with torch.no_grad():
        features = network.stem(x)
        whole_loss = float(F.cross_entropy(network(x), y))
        assert ci_bcnn.loss_from(network, 0, features, y) == pytest.approx(whole_loss)
        assert ci_bcnn.loss_from(network, 1, network.blocks[0](features), y) == pytest.approx(whole_loss)


def test_the_policy_gradient_learns_which_edge_is_rewarded(monkeypatch: pytest.MonkeyPatch, network: SmallCNN) -> None:
    """Only the edge 1 -> 3 of the first layer pays; a uniform policy proposes it less often than a learned one."""
    mined, proposals, propose = copy.deepcopy(network), [torch.zeros(4, 4)], ci_bcnn.propose

    def forgetful(table: Tensor, graph: Tensor, *, add: bool) -> tuple[Tensor, Tensor] | None:
        if not add or len(graph) == 8:
            return None
        proposal = propose(table, torch.zeros_like(graph), add=True)
        assert proposal is not None
        proposals.append(proposal[0])
        return proposal

    monkeypatch.setattr(ci_bcnn, "propose", forgetful)
    monkeypatch.setattr(ci_bcnn, "loss_from", lambda *_given: 1.0)
    monkeypatch.setattr(ci_bcnn, "reward", lambda *_given: 5.0 if proposals[-1][1, 3] > 0 else -0.5)
    monkeypatch.setattr(ci_bcnn, "STEPS", 300)
    monkeypatch.setattr(ci_bcnn, "BATCH", 1)
    hits = []
    for rate in (0.0, 1.0):
        with deterministic(0):
            ci_bcnn.mine(mined, rate)
        hits.append(sum(int(proposal[1, 3] > 0) for proposal in proposals[-100:]))
    assert len(proposals) == 601
    assert hits[0] < 15
    assert hits[1] > 60


def test_mining_takes_back_what_is_not_rewarded_and_keeps_what_is(
    monkeypatch: pytest.MonkeyPatch, network: SmallCNN
) -> None:
    mined = copy.deepcopy(network)
    monkeypatch.setattr(ci_bcnn, "STEPS", 6)
    monkeypatch.setattr(ci_bcnn, "BATCH", 16)
    before = {key: value.clone() for key, value in mined.state_dict().items()}
    for layer in ci_bcnn.interacting(mined):
        layer.graph = torch.ones_like(layer.graph)  # mining starts from an empty graph
    monkeypatch.setattr(ci_bcnn, "reward", lambda _change, _informed: 0.0)
    ci_bcnn.mine(mined)
    assert all(layer.graph.count_nonzero() == 0 for layer in ci_bcnn.interacting(mined))
    edges: list[float] = []

    def pays(_change: float, _informed: float) -> float:
        edges.append(0.1)
        return edges[-1]

    monkeypatch.setattr(ci_bcnn, "reward", pays)
    ci_bcnn.mine(mined)
    assert len(edges) == 6 * 4  # an edge is added, then one removed, in both layers
    assert all(layer.graph.count_nonzero() == 0 for layer in ci_bcnn.interacting(mined))
    assert all(torch.equal(value, before[key]) for key, value in mined.state_dict().items())


def test_mining_really_lowers_the_loss_on_the_images_it_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    full = digits()
    data = Split(full.train_x[:256], full.train_y[:256], full.test_x, full.test_y)
    built = train(lambda: SmallCNN(ci_bcnn.binary_block), 1, epochs=6, data=data)
    assert isinstance(built, SmallCNN)
    monkeypatch.setattr(ci_bcnn, "digits", lambda: data)
    monkeypatch.setattr(ci_bcnn, "information", lambda _network: 0.0)
    with torch.no_grad():
        before = ci_bcnn.loss_from(built, 0, built.stem(data.train_x), data.train_y)
        with deterministic(1):
            ci_bcnn.mine(built)
        edges = sum(int(layer.graph.count_nonzero()) for layer in ci_bcnn.interacting(built))
        after = ci_bcnn.loss_from(built, 0, built.stem(data.train_x), data.train_y)
    assert edges > 0
    assert after < before - edges * ci_bcnn.TOLERANCE * 0.99


def test_random_graphs_have_the_edges_asked_for_no_loops_and_both_signs() -> None:
    torch.manual_seed(1)
    graphs = [ci_bcnn.random_graph(4, 5) for _ in range(60)]
    assert all(graph.shape == (4, 4) for graph in graphs)
    assert all(graph.count_nonzero() == 5 for graph in graphs)
    assert set(torch.stack(graphs).flatten().tolist()) == {-1.0, 0.0, 1.0}
    reached = torch.stack(graphs).abs().sum(dim=0)
    assert reached.diagonal().count_nonzero() == 0
    assert reached.count_nonzero() == 12
    assert not torch.equal(graphs[0], graphs[1])
    assert ci_bcnn.random_graph(4, 16).count_nonzero() == 12
    assert ci_bcnn.random_graph(4, 0).count_nonzero() == 0


def test_comparison_gives_test_loss_and_the_share_of_other_signs_over_layers(network: SmallCNN) -> None:
    reference = ci_bcnn.full_precision(network).eval()
    data = digits()
    result = ci_bcnn.compare(network, reference, "name")
    assert list(result) == ["loss_name", "wrong_signs_name"]
    with torch.no_grad():
        assert result["loss_name"] == pytest.approx(float(F.cross_entropy(network(data.test_x), data.test_y)))
        ours, theirs, shares = network.stem(data.test_x), reference.stem(data.test_x), []
        for block, other in zip(network.blocks, reference.blocks, strict=True):
            ours, theirs = block(ours), other(theirs)
            shares.append(float(((ours >= 0) != (theirs >= 0)).float().mean()))
    assert result["wrong_signs_name"] == pytest.approx(100 * (shares[0] + shares[1]) / 2)
    assert ci_bcnn.compare(network, network, "self")["wrong_signs_self"] == 0


def test_integer_differences_are_none_and_see_a_slip_in_either(
    monkeypatch: pytest.MonkeyPatch, network: SmallCNN
) -> None:
    assert ci_bcnn.integer_differences(network) == 0
    assert ci_bcnn.interacting(network)[0].graph.count_nonzero() == 0
    right: Callable[..., np.ndarray] = ci_bcnn.integer_inference
    monkeypatch.setattr(ci_bcnn, "integer_inference", lambda counts, graph, t, u: right(counts, graph, t, u + 1))
    assert ci_bcnn.integer_differences(network) > 1000
    monkeypatch.setattr(ci_bcnn, "integer_inference", lambda counts, _graph, _t, _u: counts)
    assert ci_bcnn.integer_differences(network) > 1000


def test_reproduce_measures_what_the_claims_name(monkeypatch: pytest.MonkeyPatch) -> None:
    data = digits()
    tiny = Split(data.train_x[:256], data.train_y[:256], data.test_x, data.test_y)
    seen: list[tuple[int, int, nn.Module]] = []
    mined: list[float] = []

    def watched(build: Callable[[], nn.Module], seed: int, *, epochs: int) -> nn.Module:
        network = train(build, seed, epochs=1, data=tiny)
        seen.append((seed, epochs, network))
        return network

    def placed(network: SmallCNN, rate: float) -> None:
        mined.append(rate)
        for layer in ci_bcnn.interacting(network):
            layer.graph = one_edge(len(layer.graph), 0, 1, 1.0 if rate else -1.0)

    monkeypatch.setattr(ci_bcnn, "train", watched)
    monkeypatch.setattr(ci_bcnn, "mine", placed)
    with deterministic(5):
        metrics = ci_bcnn.reproduce(5)
    assert [(seed, epochs) for seed, epochs, _ in seen] == [(5, 8), (5, 8), (5, 3), (5, 3)]
    base, reference, without, interacted = (network for _, _, network in seen)
    assert [len(ci_bcnn.interacting(network)) for _, _, network in seen] == [2, 0, 2, 2]
    assert not any(isinstance(part, nn.ReLU) for part in reference.modules())
    assert all(layer.graph.count_nonzero() == 0 for layer in ci_bcnn.interacting(without))
    for layer in ci_bcnn.interacting(interacted):
        assert torch.equal(layer.graph, one_edge(len(layer.graph), 0, 1, 1.0))
    assert all(layer.graph.count_nonzero() == 1 for layer in ci_bcnn.interacting(base))  # the random control
    assert mined == [0.0, 1.0]
    named = {claim.metric for claim in ci_bcnn.CLAIMS} | {
        other for c in ci_bcnn.CLAIMS if isinstance(other := c.expected if isinstance(c, Exact) else c.baseline, str)
    }
    assert named <= set(metrics)
    assert metrics["edges"] == 2
    assert metrics["integer_differences"] == 0
    assert len({metrics[f"loss_{name}"] for name in ("without", "unlearned", "mined", "random")}) == 4
    assert metrics["trained_on_without"] != metrics["trained_on_interacted"]
    for layer, graph in zip(ci_bcnn.interacting(base), (4, 8), strict=True):
        layer.graph = one_edge(graph, 0, 1, 1.0)
    assert isinstance(base, SmallCNN)
    assert isinstance(reference, SmallCNN)
    assert ci_bcnn.compare(base, reference, "mined")["loss_mined"] == metrics["loss_mined"]
    assert metrics["cnn_accuracy"] == accuracy(base)
    for layer in ci_bcnn.interacting(base):
        layer.graph = torch.zeros_like(layer.graph)
    assert ci_bcnn.compare(base, reference, "without")["wrong_signs_without"] == metrics["wrong_signs_without"]
    assert metrics["accuracy_without"] == accuracy(base)


def test_quantizers_are_signs_on_two_levels() -> None:
    x = torch.randn(7, 5, 3)
    for quantizer in ci_bcnn.QUANTIZERS:
        integers, scale = quantizer.to_integers(x)
        assert integers.dtype == torch.int64
        assert torch.equal(scale * integers, quantizer.quantize(x))
        assert set(integers.flatten().tolist()) == {-1, 1}
        assert quantizer.to_integers(x.double())[1].dtype == torch.float64
    assert [(q.name, q.bits) for q in ci_bcnn.QUANTIZERS] == [("weights", 1), ("activations", 1)]


def test_the_reference_network_is_the_kits_in_full_precision(network: SmallCNN) -> None:
    reference = ci_bcnn.full_precision(network)
    weight = next(part for part in reference.modules() if isinstance(part, QuantConv2d)).weight
    assert {type(part) for part in reference.blocks.modules()} == {
        type(part) for part in SmallCNN(conv_block(activation=nn.Hardtanh)).blocks.modules()
    }
    assert len(set(weight.flatten().tolist())) > 100
    assert math.isfinite(float(weight.detach().sum()))


@pytest.mark.slow
def test_seed_0_gives_the_accepted_numbers() -> None:
    accepted = read(result_path(ci_bcnn.RECORD))
    with deterministic(0):
        metrics = ci_bcnn.reproduce(0)
    assert metrics.keys() == accepted.metrics.keys()
    for name, value in metrics.items():
        assert value == pytest.approx(accepted.metrics[name][0], abs=3), name
    assert metrics["integer_differences"] == 0
