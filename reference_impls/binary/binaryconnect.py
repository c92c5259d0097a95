r"""BinaryConnect (Courbariaux, Bengio, David NeurIPS 2015): binary weights while signals pass, real ones to learn in.

A product with a weight of -1 or +1 is an addition or a subtraction. But gradient steps are too small to flip a weight
that has only two values. The paper keeps a real latent copy that collects the steps; only the propagations see signs.
The error that the signs make is noise on the weights, and so a regularizer of the family of dropout.

Forward (Sec. 2.2, Eq. 1 to 3), deterministic or stochastic:

$$ w_b = \mathrm{sign}(w) \;(+1 \text{ at } 0), \qquad
   w_b = +1 \text{ with probability } \sigma(w) = \mathrm{clip}\!\left(\tfrac{w + 1}{2}, 0, 1\right) $$

and else -1, so that $E[w_b] = w$ on $[-1, 1]$. Gradient and update (Sec. 2.3 and 2.4, Algorithm 1): the
gradient with respect to $w_b$ goes to $w$ whole, and the result is put back between the binary values,

$$ g_w := \frac{\partial C}{\partial w_b}, \qquad w \leftarrow \mathrm{clip}(w - \eta\, g_w, -1, 1) $$

because a latent weight beyond 1 could drift without any effect on its sign. Rates of weights grow with Glorot's
coefficient $1 / \sqrt{1.5 / (n_{in} + n_{out})}$ (Sec. 2.5). At test time (Sec. 2.6) the deterministic form uses the
binary weights, the stochastic one the real weights, which are the mean of what it drew.

Names: `hard_sigmoid` $\sigma$, `DETERMINISTIC`, `STOCHASTIC`, `REAL` the pairs (weight in training, weight at test).
The formulas are those of the authors' Theano code; section numbers (from memory) are those of arXiv 1511.00363 v3.

Differences from the paper

1. (Sec. 3) 8x8 digits, three hidden layers of 64, Adam with a one-cycle schedule, cross-entropy; there MNIST, three of
   1024, SGD, squared hinge, up to 1000 epochs, then CIFAR-10 and SVHN.
2. (Sec. 3) A regularizer can only show where a network overfits, and on clean digits not even dropout helps. So each
   seed trains on 600 images with 30 % of the labels redrawn at random: there dropout, the control, gains much.
3. (Sec. 2.6) Sampling many networks and averaging them, the third way to test, is not here. Batch norm keeps the
   statistics of training also for the real weights, as in the authors' code.
4. (Sec. 2.4) The code can also use binary values $\pm H$ with $H$ Glorot's coefficient; here $H = 1$, as in the paper.
5. `cnn_accuracy` is under the budget that all methods share: deterministic, clipped, rates not scaled.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import Split, digits
from reference_impls.kit.models import QuantConv2d, SmallCNN, conv_block, identity
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, train

WIDTHS = (64, 64, 64, 64, 10)
IMAGES = 600
NOISE = 0.3  # share of the training labels that are redrawn
EPOCHS = 15
LR = 1e-2
DRAWS = 256


def hard_sigmoid(w: Tensor) -> Tensor:
    r"""Return $\mathrm{clip}((w + 1) / 2, 0, 1)$ (Eq. 3), any shape."""
    return torch.clamp((w + 1) / 2, 0, 1)


def binarize(w: Tensor) -> Tensor:
    """Return the signs (Eq. 1), any shape; the gradient at the signs goes to the latent weights whole."""
    return straight_through(w, sign(w))


def binarize_stochastically(w: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return +1 with the probability of the hard sigmoid, else -1 (Eq. 2), with the gradient of `binarize`."""
    up = torch.rand(w.shape, generator=generator, dtype=w.dtype) < hard_sigmoid(w)
    return straight_through(w, 2 * up.to(w.dtype) - 1)


def glorot_coefficient(w: Tensor) -> float:
    r"""Return $\sqrt{1.5 / (n_{in} + n_{out})}$ of a weight (out, in): the scale of Glorot's initialisation."""
    return float((1.5 / (w.shape[0] + w.shape[1])) ** 0.5)


def accumulate(x: Tensor, signs: Tensor) -> Tensor:
    """Multiply by binary weights with additions and subtractions alone: (N, in) and (out, in) to (N, out)."""
    return torch.where(signs > 0, x[:, None, :], -x[:, None, :]).sum(dim=2)


def sampling_error(w: Tensor, draws: int, generator: torch.Generator | None = None) -> float:
    r"""Return how far means of stochastic weights lie from the latent weights, in standard errors.

    The root mean square over all weights inside (-1, 1) of $(\bar w_b - w) / \sqrt{(1 - w^2) / n}$: near 1 for any
    `draws` when the rule is unbiased, growing with $\sqrt n$ when it is not.

    Args:
        w: latent weights, any shape, in [-1, 1].
        draws: how often the weights are drawn, n.
        generator: source of the draws.
    """
    inside = w[w.abs() < 1]
    mean = torch.stack([binarize_stochastically(inside, generator) for _ in range(draws)]).mean(dim=0)
    return float(((mean - inside) / ((1 - inside.square()) / draws).sqrt()).square().mean().sqrt())


Rule = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
DETERMINISTIC: Rule = (binarize, binarize)
STOCHASTIC: Rule = (binarize_stochastically, identity)
REAL: Rule = (identity, identity)


class ConnectedLinear(nn.Linear):
    """A linear layer without bias whose weight passes one function in training and another at test (Sec. 2.6)."""

    def __init__(self, in_features: int, out_features: int, rule: Rule) -> None:
        super().__init__(in_features, out_features, bias=False)
        self.rule = rule

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) to (N, out)."""
        in_training, at_test = self.rule
        return F.linear(x, (in_training if self.training else at_test)(self.weight))


def mlp(rule: Rule, dropout: float = 0.0) -> nn.Sequential:
    """Return layers of `WIDTHS` with ReLU, (N, 1, 8, 8) to logits (N, 10).

    Latent weights start spread over [-1, 1], as in the authors' code; real weights start as PyTorch's do.
    """
    parts: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(WIDTHS):
        product = ConnectedLinear(fan_in, fan_out, rule)
        if rule is not REAL:
            nn.init.uniform_(product.weight, -1, 1)
        parts += [product, nn.BatchNorm1d(fan_out), nn.ReLU(), nn.Dropout(dropout) if dropout else nn.Identity()]
    return nn.Sequential(*parts[:-2])


def latent_weights(network: nn.Module) -> list[Tensor]:
    """Return the real weights behind the binary ones."""
    return [part.weight for part in network.modules() if isinstance(part, ConnectedLinear | QuantConv2d)]


def clip_weights(network: nn.Module, _step: int, _steps: int) -> None:
    """Put latent weights back into [-1, 1] after an update (Sec. 2.4)."""
    for w in latent_weights(network):
        w.data.clamp_(-1, 1)


def largest_weight(network: nn.Module) -> float:
    """Return the greatest magnitude of a latent weight."""
    return max(float(w.detach().abs().max()) for w in latent_weights(network))


def scaled_adam(network: nn.Module) -> torch.optim.Optimizer:
    """Return Adam with the rate of each weight divided by Glorot's coefficient (Sec. 2.5)."""
    rates = [(p, LR / glorot_coefficient(p) if p.dim() == 2 else LR) for p in network.parameters()]
    return torch.optim.Adam([{"params": [p], "lr": rate} for p, rate in rates])


def noisy_digits(seed: int) -> Split:
    """Return `IMAGES` training digits drawn by `seed`, a share `NOISE` of them with a label drawn at random."""
    data, generator = digits(), torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(data.train_x), generator=generator)[:IMAGES]
    labels = data.train_y[chosen]
    redrawn = torch.rand(IMAGES, generator=generator) < NOISE
    labels[redrawn] = torch.randint(10, (int(redrawn.sum()),), generator=generator)
    return Split(data.train_x[chosen], labels, data.test_x, data.test_y)


RECORD = "binaryconnect"
SEEDS = range(16)  # seven networks a seed
BUDGET_BITS = "w1afp"


def variants() -> dict[str, dict[str, Any]]:
    """Return how each network is trained, by metric, as arguments of `kit.train.train`."""
    deterministic = {"build": lambda: mlp(DETERMINISTIC), "optimizer": scaled_adam, "after_step": clip_weights}
    stochastic = {**deterministic, "build": lambda: mlp(STOCHASTIC)}
    return {
        "deterministic": deterministic,
        "stochastic": stochastic,
        "deterministic_without_clipping": {**deterministic, "after_step": None},
        "stochastic_without_clipping": {**stochastic, "after_step": None},
        "no_regularizer": {"build": lambda: mlp(REAL)},
        "dropout": {"build": lambda: mlp(REAL, dropout=0.5)},
    }


def reproduce(seed: int) -> dict[str, float]:
    """Train all variants on noisy digits; multiply by additions; draw weights; test the other way round."""
    data = noisy_digits(seed)
    networks = {key: train(seed=seed, data=data, epochs=EPOCHS, **how) for key, how in variants().items()}
    measured = {key: accuracy(network) for key, network in networks.items()}
    x = digits().test_x.flatten(1)  # multiples of 1/8, so that sums are exact
    signs = binarize(latent_weights(networks["deterministic"])[0].detach())
    drawn = latent_weights(networks["stochastic"])[1].detach()
    cnn = train(lambda: SmallCNN(conv_block(binarize)), seed, after_step=clip_weights)
    measured |= {
        "largest_weight": largest_weight(networks["deterministic"]),
        "largest_unclipped": largest_weight(networks["deterministic_without_clipping"]),
        "sampling_error": sampling_error(drawn, DRAWS, torch.Generator().manual_seed(seed)),
        "accumulate_differences": float((accumulate(x, signs) != x @ signs.T).sum()),
        "cnn_accuracy": accuracy(cnn),
    }
    for part in networks["stochastic"].modules():
        if isinstance(part, ConnectedLinear):
            part.rule = DETERMINISTIC
    return {**measured, "stochastic_tested_binary": accuracy(networks["stochastic"])}


SLOW = "Drawing weights anew in every step slows learning down: in a longer trial the stochastic form wins by far."
CLAIMS: tuple[Claim, ...] = (
    Difference("acts-as-regularizer", "stochastic", "no_regularizer"),
    Difference("deterministic-regularizes", "deterministic", "no_regularizer"),
    Difference("stochastic-beats-deterministic", "stochastic", "deterministic", remark=SLOW),
    Exact("stochastic-is-unbiased", "sampling_error", "<=", 1.0, tolerance=0.1, unit="standard errors"),
    Exact("multiplications-become-additions", "accumulate_differences", "==", 0.0, unit="products"),
    Difference("clipping-bounds-weights", "largest_unclipped", "largest_weight", unit=""),
    Difference("clipping-matters", "stochastic", "stochastic_without_clipping"),
)


def to_integers(w: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs as int64 and the scale 1."""
    return sign(w).to(torch.int64), torch.ones((), dtype=w.dtype)


QUANTIZERS = (Quantizer("weights", 1, binarize, to_integers),)

if __name__ == "__main__":
    raise SystemExit(main())
