r"""CI-BCNN (Wang et al. CVPR 2019): channels of a binary layer correct each other's signs along a mined graph.

XNOR and bitcount give integers whose signs often differ from those of the real-valued convolution, and only signs go
on. But channels are correlated: one that is far from zero, and so sure of its sign, tells something about another. The
interacted bitcount lets sure channels push others up or down before their signs are taken.

Forward (Sec. 3.2), at every pixel, with $F_t$ the bitcount of channel $t$, weights and activations being signs:

$$ \hat F_s = F_s + U \sum_t K_{ts} \left(1_{F_t \ge T} - 1_{F_t \le -T}\right), \qquad K_{ts} \in \{-1, 0, 1\} $$

with `graph` $K$, `threshold` $T$ and `shift` $U$: comparisons and additions of integers. Gradients: that of a sign is
$1_{|x| \le 1}$, for weights and activations; $g_{\hat F_s}$ goes to $F_s$ whole, and nothing to $F_t$.

The graph (Sec. 3.3) is mined by a policy while the weights rest. An action adds an edge to a layer or removes one. Its
reward on a batch, with $C$ the cross-entropy and the mean over all edges and pixels, is

$$ r = r_C + \overline{\mathrm{sign}(|F_t| - |F_s|)}, \qquad
   r_C = 1 \text{ if } \Delta C < -h, \quad -1 \text{ if } \Delta C > h, \quad 0 \text{ between} $$

so that informative channels influence others. An action without positive reward is taken back. The policy follows
$\theta \leftarrow \theta + \eta\,(r - b)\,\nabla_\theta \log \pi_\theta(a)$. Names: `TOLERANCE` $h$, `RATE` $\eta$.

Differences from the paper

1. (Sec. 3) Only the start of the paper could be read. The formulas are those of the authors' demonstration code, the
   section numbers from memory. Several levels of influence are commented out there; here, too, there is one.
2. (Sec. 3.2) In the code a negative edge adds the two indicators, which looks like a slip; here it subtracts them. Its
   edges act in turn, on counts already shifted; here all act on the bitcounts. T = 200 and U = 100 go with a fan-in of
   720 or more; here they shrink with it, to 10 and 5 at 36.
3. (Sec. 3.3) The code's policy is a recurrent network of 1x1 convolutions, which tells two pairs of channels apart by
   their state alone, and acts epsilon-greedily. For 12 and 56 pairs a `table` of logits serves: edges to add, with
   their sign, are drawn by its softmax, edges to remove by that of its negative. A layer holds as many edges as it has
   channels; the code allows 100 for 80 to 320 channels.
4. (Sec. 4) 8x8 digits, two binary convolutions, one phase of mining; there CIFAR-10, ImageNet and many phases. Signs
   are compared behind batch norm, where the next ones are taken, with those of a reference: hard tanh for sign, real
   weights, trained on from the latent weights of the binary network, so that channels correspond.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import QuantConv2d, SmallCNN, conv_block, identity
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, deterministic, train

EPOCHS, MORE_EPOCHS = 8, 3
STEPS, BATCH = 40, 256  # of mining
TOLERANCE, BASELINE, RATE = 0.003, 0.03, 1.0


def binarize(x: Tensor) -> Tensor:
    r"""Return the signs of weights or activations, any shape, with the gradient $1_{|x| \le 1}$."""
    return straight_through(x, sign(x), (x.abs() <= 1).to(x.dtype))


def interacted_bitcount(counts: Tensor, graph: Tensor, threshold: int, shift: int) -> Tensor:
    """Shift bitcounts (N, C, H, W) of whole numbers where others pass the threshold, with the gradient of no shift.

    The graph (C, C) holds the influence, -1, 0 or 1, of channel t (row) on channel s (column).
    """
    sure = (counts >= threshold).to(counts.dtype) - (counts <= -threshold).to(counts.dtype)
    return straight_through(counts, counts + shift * torch.einsum("nthw,ts->nshw", sure, graph))


def integer_inference(counts: NDArray[np.int64], graph: Tensor, threshold: int, shift: int) -> NDArray[np.int64]:
    """Return the same in integers, edge by edge, by comparisons, additions and subtractions alone."""
    shifted = counts.copy()
    for t, s in graph.nonzero().tolist():
        step = shift if graph[t, s] > 0 else -shift
        shifted[:, s] += np.where(counts[:, t] >= threshold, step, np.where(counts[:, t] <= -threshold, -step, 0))
    return shifted


class InteractedConv2d(QuantConv2d):
    """A binary convolution of signs whose bitcounts interact; `counts` keeps the last ones as they were before."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, binarize)
        self.graph = torch.zeros(out_channels, out_channels)
        self.counts = torch.zeros(1, out_channels, 1, 1)
        self.levels = round(200 * 9 * in_channels / 720), round(100 * 9 * in_channels / 720)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W)."""
        counts = super().forward(binarize(x))
        self.counts = counts.detach()
        return interacted_bitcount(counts, self.graph, *self.levels)


def binary_block(inputs: int, outputs: int) -> nn.Sequential:
    """Return the kit's block with an interacted convolution, which takes the signs of its input itself."""
    return nn.Sequential(nn.Identity(), InteractedConv2d(inputs, outputs), nn.MaxPool2d(2), nn.BatchNorm2d(outputs))


def interacting(network: nn.Module) -> list[InteractedConv2d]:
    """Return the layers that hold a graph."""
    return [part for part in network.modules() if isinstance(part, InteractedConv2d)]


def information(network: nn.Module) -> float:
    r"""Return the mean of $\mathrm{sign}(|F_t| - |F_s|)$ over edges and pixels of the last batch; 0 without edges."""
    edges = [(layer.counts.abs(), *layer.graph.nonzero().T) for layer in interacting(network)]
    signs = torch.cat([torch.sign(size[:, t] - size[:, s]).flatten() for size, t, s in edges])
    return float(signs.mean()) if len(signs) else 0.0


def reward(change: float, informed: float) -> float:
    """Return the reward of an action from the change of the cross-entropy and the information of the graph."""
    return (change < -TOLERANCE) - (change > TOLERANCE) + informed


def propose(table: Tensor, graph: Tensor, *, add: bool) -> tuple[Tensor, Tensor] | None:
    """Draw an edge to add to a graph (C, C), or to remove: the changed graph and the gradient of the log-probability.

    The table (2, C, C) holds the logits of positive and of negative edges; None when there is nothing to draw from.
    """
    size = len(graph)
    room = (graph == 0) & ~torch.eye(size, dtype=torch.bool) & (graph.count_nonzero() < size)
    allowed = torch.stack([room, room] if add else [graph > 0, graph < 0])
    if not allowed.any():
        return None
    p = torch.softmax((table if add else -table).masked_fill(~allowed, -torch.inf).flatten(), dim=0)
    index = int(torch.multinomial(p, 1))
    slope = (F.one_hot(torch.tensor(index), len(p)) - p).reshape(table.shape)
    kind, pair = divmod(index, size * size)
    changed = graph.clone()
    changed.view(-1)[pair] = (1 - 2 * kind) * add
    return changed, slope if add else -slope


def loss_from(network: SmallCNN, start: int, features: Tensor, labels: Tensor) -> float:
    """Return the mean cross-entropy from the input of block `start` on."""
    hidden = F.relu(network.blocks[start:](features)).flatten(1)
    return float(F.cross_entropy(network.head(hidden), labels))


@torch.no_grad()
def mine(network: SmallCNN, rate: float = RATE) -> None:
    """Put a graph found by the policy gradient (Sec. 3.3) into each layer; with rate 0 the policy stays uniform."""
    data, layers, tables = digits(), interacting(network), []
    for layer in layers:
        layer.graph = torch.zeros_like(layer.graph)
        tables.append(torch.zeros(2, *layer.graph.shape))
    for _ in range(STEPS):
        chosen = torch.randperm(len(data.train_x))[:BATCH]
        features, labels = network.stem(data.train_x[chosen]), data.train_y[chosen]
        before = loss_from(network, 0, features, labels)
        for i, (layer, table) in enumerate(zip(layers, tables, strict=True)):
            for add in (True, False):
                kept, proposal = layer.graph, propose(table, layer.graph, add=add)
                if proposal is not None:
                    layer.graph, slope = proposal
                    after = loss_from(network, i, features, labels)
                    r = reward(after - before, information(network))
                    table.add_(slope, alpha=rate * (r - BASELINE))
                    layer.graph, before = (layer.graph, after) if r > 0 else (kept, before)
            features = network.blocks[i](features)


def random_graph(channels: int, edges: int) -> Tensor:
    """Return a graph (C, C) of that many edges, drawn at random with random signs."""
    pairs = (~torch.eye(channels, dtype=torch.bool)).nonzero()
    t, s = pairs[torch.randperm(len(pairs))[:edges]].T
    return torch.zeros(channels, channels).index_put((t, s), 2.0 * torch.randint(2, t.shape) - 1)


@torch.no_grad()
def compare(network: SmallCNN, reference: SmallCNN, suffix: str) -> dict[str, float]:
    """Return test loss and share of signs unlike the reference's, in percent over layers and test images."""
    data, shares = digits(), []
    ours, theirs = network.stem(data.test_x), reference.stem(data.test_x)
    loss = loss_from(network, 0, ours, data.test_y)
    for block, other in zip(network.blocks, reference.blocks, strict=True):
        ours, theirs = block(ours), other(theirs)
        shares.append(float((sign(ours) != sign(theirs)).float().mean()))
    return {f"loss_{suffix}": loss, f"wrong_signs_{suffix}": 100 * sum(shares) / len(shares)}


@torch.no_grad()
def integer_differences(network: SmallCNN) -> float:
    """Count the bitcounts of the first layer, with every edge in place, that come out otherwise in integers."""
    layer = copy.deepcopy(interacting(network)[0])
    layer.graph = random_graph(layer.out_channels, layer.graph.numel())
    floats, counts = layer(network.stem(digits().test_x)).numpy(), layer.counts.numpy().astype(np.int64)
    return float((floats != integer_inference(counts, layer.graph, *layer.levels)).sum())


def full_precision(network: SmallCNN) -> SmallCNN:
    """Return the network with real weights and hard tanh that starts where the binary network stands."""
    reference = SmallCNN(conv_block(identity, nn.Hardtanh))
    reference.load_state_dict(network.state_dict())
    return reference


RECORD = "ci-bcnn"
SEEDS = range(10)  # four networks and two phases of mining a seed
BUDGET_BITS = "w1a1"


def reproduce(seed: int) -> dict[str, float]:
    """Train a binary network and its reference; mine graphs with and without learning; train on with and without."""
    network: Any = train(lambda: SmallCNN(binary_block), seed, epochs=EPOCHS)
    reference: Any = train(lambda: full_precision(network), seed, epochs=EPOCHS)
    result = compare(network, reference, "without") | {"accuracy_without": accuracy(network)}
    result["trained_on_without"] = accuracy(train(lambda: copy.deepcopy(network), seed, epochs=MORE_EPOCHS))
    for suffix, rate in (("unlearned", 0.0), ("mined", RATE)):
        with deterministic(seed):
            mine(network, rate)
        result |= compare(network, reference, suffix)
    result["trained_on_interacted"] = accuracy(train(lambda: copy.deepcopy(network), seed, epochs=MORE_EPOCHS))
    result |= {"cnn_accuracy": accuracy(network), "integer_differences": integer_differences(network)}
    result["edges"] = float(sum(layer.graph.count_nonzero() for layer in interacting(network)))
    with deterministic(seed):
        for layer in interacting(network):
            layer.graph = random_graph(len(layer.graph), int(layer.graph.count_nonzero()))
    return result | compare(network, reference, "random")


FEW = "Only few edges between the channels of two such small layers lower the loss, so the graphs stay nearly empty."
CLAIMS: tuple[Claim, ...] = (
    Exact("shift-by-other-channel", "integer_differences", "==", 0.0, unit="bitcounts"),
    Difference("wrong-signs-fall", "wrong_signs_mined", "wrong_signs_without", 0.0, "below", "%", FEW),
    Difference("mining-lowers-loss", "loss_mined", "loss_without", 0.0, "below", "nats", FEW),
    Difference("graph-matters", "loss_mined", "loss_random", 0.0, "below", "nats"),
    Difference("policy-learns", "loss_mined", "loss_unlearned", 0.0, "below", "nats", FEW),
    Difference("beats-earlier-binary-cnns", "trained_on_interacted", "trained_on_without", remark=FEW),
)


def to_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs as int64 and the scale 1."""
    return sign(x).to(torch.int64), torch.ones((), dtype=x.dtype)


QUANTIZERS = (Quantizer("weights", 1, binarize, to_integers), Quantizer("activations", 1, binarize, to_integers))

if __name__ == "__main__":
    raise SystemExit(main())
