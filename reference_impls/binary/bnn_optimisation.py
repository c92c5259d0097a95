r"""BNN optimisation (Alizadeh et al. ICLR 2019): which of the usual tricks do binary networks need, and at what time?

No new quantizer but an experiment. Recipes for binary networks grew by imitation: Adam, clipped weights, clipped
gradients, pooling before batch norm. The paper changes one ingredient at a time and looks at the whole of training,
not at its end alone. Its recipe (end of Sec. 3): an optimizer with second moments; a first stage with the plain
straight-through estimator at high rates; a second with both clippings, at lower rates, once accuracy stops to rise.

Forward and gradient of weights and activations (Sec. 2), with `clip_gradient` or without:

$$ x_b = \mathrm{sign}(x) \;(+1 \text{ at } 0), \qquad
   g_x = g_{x_b}\, 1_{|x| \le 1} \quad \text{or} \quad g_x = g_{x_b} $$

Weight clipping puts latent weights back after an update, $w \leftarrow \mathrm{clip}(w, -1, 1)$. The optimizers
(Sec. 3.1) are one family, with $g$ the gradient, $t$ the number of the step, `first` $\beta_1$ and `second` $\beta_2$:

$$ m \leftarrow \beta_1 m + (1 - \beta_1)\, g, \qquad v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2, \qquad
   w \leftarrow w - \eta\, \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \varepsilon} $$

Without the denominator it is SGD ($\beta_1 = 0$) or SGD with momentum; with it Adam, or RMSprop where $\beta_1 = 0$.
AdaGrad sums the squares, $v \leftarrow v + g^2$. Either clipping (Sec. 3.2) acts from a share of the steps on.

Differences from the paper

1. The text could not be read, only the abstract, a reader's notes with quotations and the official code (binary
   weights, real activations, pooling before batch norm). Section 2 is a guess, the other numbers are those of the
   notes. That the order of pooling matters stands in the guide of a library for binary networks, after XNOR-Net.
2. (Sec. 3) 8x8 digits, two hidden layers of 64 with binary weights and activations, cross-entropy, 8 epochs, a
   one-cycle schedule; there MNIST and CIFAR-10, three of 2048 and a VGG, up to 500 epochs, squared hinge, decay.
3. (Sec. 3.1) Each optimizer has the best of nine peak rates, 0.001, 0.003, 0.01 to 10, by test accuracy on three seeds
   outside `SEEDS`, with both clippings. All take their averages as Adam does. Nesterov and AdaDelta are not here.
4. (Sec. 3.2) The second stage starts after half of the steps, not when accuracy stalls; the rate falls there anyway.
   Early means after one epoch. Averaging less in batch norm in the second stage is left out.
5. (Sec. 3.2) Latent weights start as Glorot's, as in the code. Their rates are divided by Glorot's coefficient, which
   is an option there: in 8 epochs they would otherwise not come near 1, and clipping them would do nothing.
6. `cnn_accuracy` and its pair follow the usual recipe under the budget that all methods share: no rate is divided.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference
from reference_impls.kit.models import QuantConv2d, QuantLinear, SmallCNN
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, train

BUDGET_BITS = "w1a1"
WIDTHS = (64, 64, 64, 10)
EPOCHS, BATCH = 8, 128
NEVER = math.inf
LATE, EARLY = 1 / 2, 1 / 8  # shares of the steps: when late clipping starts, when early accuracy is read


def saturation(x: Tensor) -> Tensor:
    r"""Return $1_{|x| \le 1}$: 1 inside [-1, 1], bounds included, 0 outside."""
    return (x.abs() <= 1).to(x.dtype)


def binarize(x: Tensor, clip_gradient: bool = True) -> Tensor:
    """Return the signs, any shape; the gradient passes whole, or only inside [-1, 1] if it is clipped (Sec. 2)."""
    return straight_through(x, sign(x), saturation(x) if clip_gradient else None)


class Binarize(nn.Module):
    """`binarize` as a layer whose gradient clipping can be switched in the middle of training."""

    def __init__(self, clip_gradient: bool) -> None:
        super().__init__()
        self.clip_gradient = clip_gradient

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return binarize(x, self.clip_gradient)


@dataclass(frozen=True)
class Rule:
    """An optimizer: its peak rate and the decay of both moments; `second` is 1 for AdaGrad's sum, None for none."""

    lr: float
    first: float = 0.0
    second: float | None = None


RULES = {
    "sgd": Rule(3.0),
    "momentum": Rule(10.0, first=0.9),
    "adagrad": Rule(0.1, second=1.0),
    "rmsprop": Rule(0.03, second=0.999),
    "adam": Rule(0.03, first=0.9, second=0.999),
}


class Moments(torch.optim.Optimizer):
    """Steps by the first moment of the gradient, over the root of the second where a rule has one (Sec. 3.1)."""

    def __init__(self, params: Any, rule: Rule, eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": rule.lr})
        self.rule, self.eps = rule, eps

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update the parameters that have a gradient."""
        first, second = self.rule.first, self.rule.second
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                state = self.state[p]
                if not state:
                    state.update(t=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
                state["t"] += 1
                rate = group["lr"] / (1 - first ** state["t"])
                m = state["m"].lerp_(p.grad, 1 - first)
                if second is None:
                    p.sub_(m, alpha=rate)
                else:
                    fresh, seen = (1.0, 1.0) if second == 1 else (1 - second, 1 - second ** state["t"])
                    v = state["v"].mul_(second).addcmul_(p.grad, p.grad, value=fresh)
                    p.addcdiv_(m, (v / seen).sqrt_().add_(self.eps), value=-rate)


@dataclass(frozen=True)
class Recipe:
    """A cell of the grid: an optimizer, and from which share of the steps on each clipping acts (0 is always)."""

    rule: str = "adam"
    weights_from: float = 0.0
    gradients_from: float = 0.0


STAGED = Recipe(weights_from=LATE, gradients_from=LATE)


def mlp(recipe: Recipe) -> nn.Sequential:
    """Return layers of `WIDTHS` with binary weights and activations, (N, 1, 8, 8) to logits (N, 10)."""
    clips = recipe.gradients_from == 0
    parts: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(WIDTHS):
        product = QuantLinear(fan_in, fan_out, Binarize(clips))
        nn.init.xavier_uniform_(product.weight)
        parts += [product, nn.BatchNorm1d(fan_out), Binarize(clips)]
    return nn.Sequential(*parts[:-1])


def cnn_block(in_channels: int, out_channels: int, pool_first: bool) -> nn.Sequential:
    """Return sign, binary 3x3 convolution, then 2x2 max-pool before batch norm or after it; gradients clipped."""
    pool, norm = nn.MaxPool2d(2), nn.BatchNorm2d(out_channels)
    conv = QuantConv2d(in_channels, out_channels, Binarize(True))
    return nn.Sequential(Binarize(True), conv, *((pool, norm) if pool_first else (norm, pool)))


def optimizer(network: nn.Module, rule: Rule) -> Moments:
    """Return the optimizer; the rate of a weight (out, in) is divided by sqrt(1.5 / (in + out)), Glorot's."""
    pairs = ((p, (1.5 / sum(p.shape)) ** 0.5 if p.dim() == 2 else 1.0) for p in network.parameters())
    return Moments([{"params": [p], "lr": rule.lr / coefficient} for p, coefficient in pairs], rule)


def clip(network: nn.Module, step: int, steps: int, recipe: Recipe) -> None:
    """Clip latent weights if it is time, and switch gradient clipping for the next step (Sec. 3.2)."""
    for part in network.modules():
        if isinstance(part, QuantLinear | QuantConv2d) and step >= recipe.weights_from * steps:
            part.weight.data.clamp_(-1, 1)
        if isinstance(part, Binarize):
            part.clip_gradient = step >= recipe.gradients_from * steps


RECORD = "bnn-optimisation"
SEEDS = range(12)  # eleven networks a seed


def grid() -> dict[str, Recipe]:
    """Return the cells of the grid by metric: `adam` is the usual recipe, the others change what their names say."""
    return {
        **{name: Recipe(name) for name in RULES},
        "weight_clipping_only": Recipe(gradients_from=NEVER),
        "gradient_clipping_only": Recipe(weights_from=NEVER),
        "no_clipping": Recipe(weights_from=NEVER, gradients_from=NEVER),
        "late_clipping": STAGED,
    }


def run(recipe: Recipe, seed: int) -> tuple[float, float]:
    """Train by a recipe and return the test accuracy at the end and early on, in percent."""
    early = 0.0

    def after_step(network: nn.Module, step: int, steps: int) -> None:
        nonlocal early
        clip(network, step, steps, recipe)
        if step == round(EARLY * steps):
            early = accuracy(network)

    make = partial(optimizer, rule=RULES[recipe.rule])
    network = train(partial(mlp, recipe), seed, epochs=EPOCHS, batch=BATCH, optimizer=make, after_step=after_step)
    return accuracy(network), early


def run_cnn(pool_first: bool, seed: int) -> float:
    """Train the convolutional network by the usual recipe under the shared budget; return its test accuracy."""
    build = partial(SmallCNN, partial(cnn_block, pool_first=pool_first))
    return accuracy(train(build, seed, after_step=partial(clip, recipe=Recipe())))


def reproduce(seed: int) -> dict[str, float]:
    """Train every cell of the grid, and the convolutional network with either order of pooling."""
    scores = {name: run(recipe, seed) for name, recipe in grid().items()}
    return {
        **{name: ends for name, (ends, _) in scores.items()},
        "clipping_early": scores["adam"][1],
        "no_clipping_early": scores["no_clipping"][1],
        "cnn_accuracy": run_cnn(True, seed),
        "cnn_pool_after_norm": run_cnn(False, seed),
    }


RATES = "SGD is not stuck at its own best rate, which is far above Adam's; at Adam's it hardly learns in so few steps."
AVERAGE = "A batch is a tenth of all images here, so gradients may have too little noise to average away."
FAST = "An epoch is nine steps, and one run differs from the next by more than clipping changes."
SHORT = "The second stage is 36 steps long, hardly enough to settle once the weights are pulled back."
NARROW = "A network this narrow varies more from seed to seed, and only one of its two blocks feeds a sign."
CLAIMS: tuple[Claim, ...] = (
    Difference("adam-is-needed", "adam", "momentum", 1.0, remark=RATES),
    Difference("second-moment-is-crucial", "rmsprop", "sgd", 1.0, remark=RATES),
    Difference("first-moment-helps", "adam", "rmsprop", remark=AVERAGE),
    Difference("clipping-slows-early", "no_clipping_early", "clipping_early", remark=FAST),
    Difference("clipping-helps-late", "adam", "no_clipping"),
    Difference("late-clipping-loses-nothing", "late_clipping", "adam", -1.0, remark=SHORT),
    Difference("pooling-before-batch-norm", "cnn_accuracy", "cnn_pool_after_norm", remark=NARROW),
)


def to_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs as int64 and the scale 1."""
    return sign(x).to(torch.int64), torch.ones((), dtype=x.dtype)


QUANTIZERS = (
    Quantizer("weights and activations, gradient clipped", 1, binarize, to_integers),
    Quantizer("weights and activations, gradient whole", 1, partial(binarize, clip_gradient=False), to_integers),
)

if __name__ == "__main__":
    raise SystemExit(main())
