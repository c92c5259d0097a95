r"""Self-Binarizing Networks (Lahoud et al. arXiv 2019): smooth weights and activations that are sharpened into signs.

A sign has no useful derivative, so other binary networks compute with signs and learn in real numbers, by a gradient
that belongs to neither. Here there is one smooth network, trained by ordinary back-propagation. Only its steepness
changes, until signs can take its place unnoticed. With parameters $\theta$ and one steepness $\nu$ for all layers,

$$ w = \tanh(\nu\, \theta), \qquad a = \tanh(\nu\, x), \qquad \lim_{\nu \to \infty} \tanh(\nu x) = \mathrm{sign}(x) $$

forward. Gradient: the true one, $\partial a / \partial x = \nu\, (1 - \tanh^2(\nu x))$. It narrows to nothing as $\nu$
grows, so the schedule is the method: `sharpness`, $\nu_t = \nu_{end}^{t / T}$, grows from 1 by the same factor in every
step. At inference weights and activations are signs, and batch norm before a sign is one comparison per channel. With
its statistics $\mu$, $s$ and its parameters $\gamma$, $\beta$,

$$ \mathrm{sign}\!\left(\gamma\, \frac{x - \mu}{s} + \beta\right) = +1 \iff x \ge \tau \;(\gamma > 0) \;\text{ or }\;
   x \le \tau \;(\gamma < 0), \qquad \tau = \mu - \frac{s\,\beta}{\gamma} $$

and $\mathrm{sign}(\beta)$ where $\gamma = 0$. Products of signs are integers, so there $\tau$ is rounded to an integer.

Differences from the paper

1. (all sections) No full text was found, so no sections are named. Read were the abstract and a third party's program
   with weights and activations $\tanh(\nu x)$, $\nu$ growing from 1, and signs at the end. $\tau$ is derived here.
2. (schedule) Its form is not known: equal factors are our choice, the end at 1000 is from memory. The program ends at
   10, which is measured as `ends_at_10`.
3. (experiments) 8x8 digits, a CNN with two binary layers of width 4, 8 epochs; there larger sets and networks. First
   and last layer stay real. The baseline, straight-through signs with clipped latent weights, is that of BNN.
4. (experiments) Networks that end smooth get their batch-norm statistics measured anew with signs in place, or the jump
   in scale alone would ruin them. The method itself goes without.
"""

from __future__ import annotations

import copy
import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import QuantConv2d, SmallCNN, conv_block
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, deterministic, train

END, NEAR = 1000.0, 0.01  # the last steepness; how close to -1 or +1 a value counts as binary
LARGEST = 36  # magnitude of a product of 9 times 4 signs


def sharpness(step: int, steps: int, end: float = END) -> float:
    r"""Return $\nu$ after `step` of `steps`: 1 at the start, `end` at the end, by equal factors."""
    return float(end ** (step / steps))


def smooth_sign(x: Tensor, nu: float) -> Tensor:
    r"""Return $\tanh(\nu x)$, any shape, with its own gradient; the plain sign, without any, where nu is infinite."""
    return sign(x) if math.isinf(nu) else torch.tanh(nu * x)


def near_binary(values: Tensor) -> float:
    """Return the share of values within `NEAR` of -1 or +1, in percent."""
    return 100.0 * float((values.abs() >= 1 - NEAR).double().mean())


def comparison(norm: nn.BatchNorm2d, *, integers: bool = False) -> tuple[Tensor, Tensor]:
    r"""Return what replaces batch norm and sign: $\tau$ and the direction, +1 for "at least", -1 for "at most".

    Both have one entry per channel, in double precision. For integer inputs $\tau$ may be rounded, towards the +1 side.
    """
    mean, var = cast("Tensor", norm.running_mean).double(), cast("Tensor", norm.running_var).double()
    gamma, beta = norm.weight.detach().double(), norm.bias.detach().double()
    constant = torch.where(beta >= 0, -math.inf, math.inf).double()  # x >= -inf always holds, x >= inf never
    threshold = torch.where(gamma == 0, constant, mean - (var + norm.eps).sqrt() * beta / gamma)
    if integers:
        threshold = torch.where(gamma < 0, threshold.floor(), threshold.ceil())
    return threshold, torch.where(gamma < 0, -1.0, 1.0).double()


def compare(x: Tensor, threshold: Tensor, direction: Tensor) -> Tensor:
    """Return +1 where a channel of `x`, (N, C, H, W), is on the right side of its threshold, (C,), else -1."""
    low, way = threshold[:, None, None], direction[:, None, None]  # (C, 1, 1)
    return torch.where(way * x >= way * low, 1.0, -1.0).to(x.dtype)


def comparison_differences(norm: nn.BatchNorm2d) -> int:
    """Return for how many pairs of a channel and an integer within `LARGEST` the comparison is not norm and sign."""
    exact = copy.deepcopy(norm).double().eval()
    x = torch.arange(-LARGEST, LARGEST + 1).double()[:, None, None, None].expand(-1, norm.num_features, 1, 1)
    return sum(int((compare(x, *comparison(norm, integers=whole)) != sign(exact(x))).sum()) for whole in (False, True))


def random_norm(generator: torch.Generator, channels: int = 256) -> nn.BatchNorm2d:
    """Return batch norm with random numbers: slopes of both signs, and 0 in the first two channels."""
    norm = nn.BatchNorm2d(channels)
    gamma, beta, mean, root = torch.randn(4, channels, generator=generator)
    gamma[:2] = 0
    norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var = gamma, beta, 9 * mean, 81 * root.square()
    return norm


class Sharpening(nn.Module):
    r"""The function $\tanh(\nu x)$ with a steepness that is set from outside; one object serves a whole network."""

    nu = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return smooth_sign(x, self.nu)


class StraightSign(nn.Module):
    """The baseline's activation: the sign with the gradient of the hard tanh."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return straight_through(x, sign(x), (x.abs() <= 1).to(x.dtype))


def self_binarizing_cnn(nu: float = 1.0) -> SmallCNN:
    """Return the toy network whose inner weights and activations share one steepness."""
    soft = Sharpening()
    soft.nu = nu
    return SmallCNN(conv_block(soft, lambda: soft))


def straight_through_cnn() -> SmallCNN:
    """Return the baseline's network."""
    return SmallCNN(conv_block(lambda w: straight_through(w, sign(w)), StraightSign))


def parts(block: nn.Module) -> tuple[nn.Module, QuantConv2d, nn.Module, nn.BatchNorm2d]:
    """Return activation, convolution, pooling and batch norm of a block."""
    return cast("tuple[nn.Module, QuantConv2d, nn.Module, nn.BatchNorm2d]", tuple(cast("nn.Sequential", block)))


def latent(network: SmallCNN) -> Tensor:
    r"""Return the parameters $\theta$ of both binary layers as one vector."""
    return torch.cat([parts(block)[1].weight.detach().flatten() for block in network.blocks])


def clip_latent(network: nn.Module, _step: int, _steps: int) -> None:
    """Clip the baseline's latent weights to [-1, 1]."""
    for block in cast("SmallCNN", network).blocks:
        parts(block)[1].weight.data.clamp_(-1, 1)


def set_sharpness(network: nn.Module, nu: float) -> None:
    """Set the steepness; infinity turns every smooth sign into the sign."""
    for soft in (part for part in network.modules() if isinstance(part, Sharpening)):
        soft.nu = nu


def with_signs(network: nn.Module, *, settle: bool = False) -> SmallCNN:
    """Return a copy in evaluation mode with signs in place; `settle` measures its batch-norm statistics anew."""
    signs = copy.deepcopy(network)
    set_sharpness(signs, math.inf)
    if settle:
        for norm in (part for part in signs.modules() if isinstance(part, nn.BatchNorm2d)):
            norm.momentum = 1.0  # forget the old statistics in the one pass that follows
        signs.train()(digits().train_x)
    return cast("SmallCNN", signs.eval())


def infer(network: SmallCNN, x: Tensor) -> Tensor:
    """Return the logits of a network of signs, with comparisons in place of its inner batch norms."""
    features, threshold = network.stem[0](x), comparison(cast("nn.BatchNorm2d", network.stem[1]))
    for block in network.blocks:
        _, conv, pool, norm = parts(block)
        signs = compare(features, *threshold)
        features = pool(F.conv2d(signs, sign(conv.weight), padding=1))  # integers
        threshold = comparison(norm, integers=True)
    return cast("Tensor", network.head(F.relu(norm(features)).flatten(1)))  # no sign follows the last batch norm


def sharpen(seed: int, end: float) -> tuple[SmallCNN, dict[str, float]]:
    """Train under the schedule; returns the smooth network and its path at every quarter of the way.

    The path, in percent: weights and inputs to the first binary layer that are near binary; accuracy, and accuracy with
    signs in place; weights that changed their sign within the quarter.
    """
    path: dict[str, float] = {}
    with deterministic(seed):
        signs = [sign(latent(self_binarizing_cnn()))]  # those that training starts from

    def after_step(network: nn.Module, step: int, steps: int) -> None:
        set_sharpness(network, sharpness(step, steps, end))
        if 4 * step % steps == 0:
            now, at = cast("SmallCNN", copy.deepcopy(network).eval()), 100 * step // steps
            theta, soft = latent(now), parts(now.blocks[0])[0]
            signs.append(sign(theta))
            path[f"weights_near_{at}"] = near_binary(soft(theta))
            path[f"activations_near_{at}"] = near_binary(soft(now.stem(digits().test_x)))
            path[f"smooth_{at}"], path[f"signs_{at}"] = accuracy(now), accuracy(with_signs(now, settle=True))
            path[f"flips_{at}"] = 100 * float((signs[-1] != signs[-2]).double().mean())

    return cast("SmallCNN", train(self_binarizing_cnn, seed, after_step=after_step)), path


RECORD, SEEDS, BUDGET_BITS = "self-binarizing", range(10), "w1a1"  # five networks a seed


def reproduce(seed: int) -> dict[str, float]:
    """Train the method, its schedule changed in three ways, and the baseline; compare batch norm with comparison."""
    network, path = sharpen(seed, END)
    signs, smooth = with_signs(network), train(self_binarizing_cnn, seed)
    norms = parts(signs.blocks[0])[3], random_norm(torch.Generator().manual_seed(seed))
    hits = infer(signs, digits().test_x).argmax(dim=1) == digits().test_y
    return {
        "self_binarizing": accuracy(signs),
        "straight_through": accuracy(train(straight_through_cnn, seed, after_step=clip_latent)),
        "smooth": accuracy(smooth),
        "without_sharpening": accuracy(with_signs(smooth, settle=True)),
        "ends_at_10": accuracy(with_signs(sharpen(seed, 10.0)[0], settle=True)),
        "steep_from_start": accuracy(with_signs(train(lambda: self_binarizing_cnn(END), seed), settle=True)),
        **path,
        "comparison_accuracy": 100.0 * float(hits.float().mean()),
        "comparison_differences": sum(comparison_differences(norm) for norm in norms),
        "cnn_accuracy": accuracy(signs),
    }


LEAD = "Once steep, the true gradient is gone, but straight-through signs go on learning; longer trials kept the gap."
CLAIMS: tuple[Claim, ...] = (
    Exact("batch-norm-becomes-comparison", "comparison_differences", "==", 0.0, unit="cases"),
    Exact("no-float-batch-norm", "comparison_accuracy", "==", "self_binarizing", 1e-4, unit="%"),
    Difference("becomes-the-sign", "self_binarizing", "smooth_100", -1.0),
    Difference("sharpening-matters", "self_binarizing", "without_sharpening"),
    Difference("sharpened-to-the-end", "self_binarizing", "ends_at_10"),
    Difference("sharpened-gradually", "self_binarizing", "steep_from_start"),
    Difference("sharpening-beats-alternating", "self_binarizing", "straight_through", remark=LEAD),
)


def final(x: Tensor) -> Tensor:
    r"""Return the signs at the end, with the gradient of $\tanh(4x)$ on the way there."""
    return straight_through(x, sign(x), 4 * (1 - torch.tanh(4 * x).square()))


def to_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs as int64 and the scale 1."""
    return sign(x).to(torch.int64), torch.ones((), dtype=x.dtype)


QUANTIZERS = (Quantizer("weights and activations", 1, final, to_integers),)

if __name__ == "__main__":
    raise SystemExit(main())
