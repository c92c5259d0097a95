r"""Bi-Real Net (Liu, Wu, Luo et al. ECCV 2018): a shortcut around every binary convolution keeps real values alive.

A sign throws away all but one bit of what batch norm hands on. The paper adds the real input of the sign to the
output of the layer, so that real values flow past every binary convolution, and tightens both gradients. Forward,
with $*$ the convolution, $BN$ batch norm and $|W|$ the number of weights of a filter (sign is +1 at 0):

$$ a_b = \mathrm{sign}(a_r), \qquad \bar W_b = \frac{\|W_r\|_1}{|W|}\, \mathrm{sign}(W_r), \qquad
   y = BN(\bar W_b * a_b) + a_r $$

Gradient of activations: the sign is replaced by a piecewise quadratic $F$, closer to it than the clip to [-1, 1],

$$ F(a) = a\,(2 - |a|) \text{ on } [-1, 1], \text{ else } \pm 1, \qquad
   \frac{\partial a_b}{\partial a_r} := F'(a_r) = \max(0,\; 2 - 2 |a_r|) $$

which is $2 + 2a$ on [-1, 0), $2 - 2a$ on [0, 1) and 0 elsewhere. Gradient of weights, "magnitude-aware", each mean
held constant:

$$ \frac{\partial \bar W_b}{\partial W_r} := \frac{\|W_r\|_1}{|W|}\, 1_{|W_r| < 1} $$

After training the weights become plain signs and only batch norm is trained, for one epoch, to take over the scale.
Names: `approx_sign` $F$, `approx_sign_slope` $F'$, `weight_scale` $\|W_r\|_1 / |W|$, `carry` the shortcut.

Differences from the paper

1. (Sec. 3) The text of the paper is not stored. Read were a restatement of its formulas, the abstract, and the
   authors' Caffe and PyTorch code with README. Section numbers are from memory; Larq's documentation agrees on 3.3.
2. (Sec. 3.3, weights) The formula above has the mean in the derivative; both official codes leave it out (the Caffe
   code the indicator too). But batch norm divides the gradient by the same mean, so with the formula it cancels and
   plain signs get the same update: see `gradient_growth`. `unscaled_update` has the derivative of the PyTorch code.
3. (Sec. 3.3, initialisation) Networks start at random, not from a real network whose ReLU became a clip; so does the
   PyTorch code, and its README reports the accuracy of the paper. This third part of the training is not measured.
4. (Sec. 3.2) Both blocks of the toy halve the image, by max-pooling and not by a stride; the shortcut is 2x2 average-
   pooled, as in the PyTorch code. Where the width doubles, that code adds a real 1x1 convolution and batch norm; here
   the channels are repeated, so that an identity is measured and not one more real convolution.
5. (Sec. 4) Digits and a one-cycle schedule, not ImageNet; SGD with momentum and no weight decay, as in the README. The
   peak rate is the best of 0.03, 0.1, 0.3 and 1 for the network without any of the three ideas, on other seeds.
6. (Sec. 4) Batch norm alone is retrained, as there, but its running statistics start anew. `cnn_accuracy` is one more
   training under the budget that all methods share: Adam, which the PyTorch code uses, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import QuantConv2d, SmallCNN
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, deterministic, train

LR, MOMENTUM = 0.3, 0.9  # of SGD

Rule = Callable[[Tensor], Tensor]


def approx_sign(x: Tensor) -> Tensor:
    r"""Return the piecewise quadratic $F$ that stands for the sign in the backward pass, any shape."""
    inside = torch.clamp(x, -1, 1)
    return inside * (2 - inside.abs())


def approx_sign_slope(x: Tensor) -> Tensor:
    r"""Return $F'$: a triangle, 2 at 0 and 0 from magnitude 1 on."""
    return torch.clamp(2 - 2 * x.abs(), min=0)


def inside_slope(x: Tensor) -> Tensor:
    r"""Return $1_{|x| < 1}$: the derivative of the clip to [-1, 1], a box."""
    return (x.abs() < 1).to(x.dtype)


def binarize(x: Tensor) -> Tensor:
    """Return the signs of activations, any shape, with the slope of the piecewise quadratic."""
    return straight_through(x, sign(x), approx_sign_slope(x))


def binarize_clipped(x: Tensor) -> Tensor:
    """Return the signs of activations with the slope of the clip: the ablation of the tighter gradient."""
    return straight_through(x, sign(x), inside_slope(x))


def weight_scale(w: Tensor) -> Tensor:
    """Return the mean magnitude of each filter: (out, ...) to (out, 1, ...)."""
    return w.abs().mean(dim=tuple(range(1, w.dim())), keepdim=True)


def binarize_weight(w: Tensor) -> Tensor:
    """Return mean times sign for each filter, (out, ...), with the magnitude-aware slope of the paper."""
    return straight_through(w, weight_scale(w) * sign(w), weight_scale(w) * inside_slope(w))


def binarize_weight_unscaled(w: Tensor) -> Tensor:
    """Return the same values with the slope of the official code, which leaves out the mean."""
    return straight_through(w, weight_scale(w) * sign(w), inside_slope(w))


def sign_weight(w: Tensor) -> Tensor:
    """Return plain signs of weights: the ablation of the magnitude-aware update, and the form after training."""
    return straight_through(w, sign(w), inside_slope(w))


def carry(x: Tensor, channels: int) -> Tensor:
    """Carry real values past a layer that halves the image: (N, c, 2H, 2W) to (N, channels, H, W), no parameters.

    Raises:
        ValueError: if `channels` is no multiple of c.
    """
    copies, rest = divmod(channels, x.shape[1])
    if rest:
        raise ValueError(f"{x.shape[1]} channels cannot be repeated to {channels}")
    return F.avg_pool2d(x, 2).repeat(1, copies, 1, 1)


class BiRealBlock(nn.Module):
    """One binary convolution with its shortcut: sign, 3x3 convolution, 2x2 max-pool, batch norm, plus the input."""

    def __init__(self, in_channels: int, out_channels: int, *, activation: Rule, weight: Rule, shortcut: bool) -> None:
        super().__init__()
        self.activation = activation
        self.conv = QuantConv2d(in_channels, out_channels, weight)
        self.norm = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, 2H, 2W) to (N, out, H, W)."""
        y: Tensor = self.norm(F.max_pool2d(self.conv(self.activation(x)), 2))
        return y + carry(x, y.shape[1]) if self.shortcut else y


def cnn(activation: Rule = binarize, weight: Rule = binarize_weight, shortcut: bool = True) -> SmallCNN:
    """Return the toy network with blocks of the given kind."""
    return SmallCNN(partial(BiRealBlock, activation=activation, weight=weight, shortcut=shortcut))


def momentum_sgd(network: nn.Module) -> torch.optim.Optimizer:
    """Return SGD with momentum and without weight decay."""
    return torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM)


def to_signs(network: nn.Module) -> None:
    """Replace the scaled binary weights by plain signs."""
    for part in network.modules():
        if isinstance(part, QuantConv2d):
            part.quantizer = sign_weight


def norm_sgd(network: nn.Module) -> torch.optim.Optimizer:
    """Return SGD for the scales and shifts of batch norm alone, and start its running statistics anew."""
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the epoch
    return torch.optim.SGD([p for norm in norms for p in norm.parameters()], lr=LR, momentum=MOMENTUM)


def gradient_growth(weight: Rule, seed: int) -> float:
    """Return how many times longer the gradient at the latent weights of a new network is once these are halved.

    All training images, with their own batch statistics. 1: the update does not know magnitudes; 2: it goes as 1/|W|.
    """
    with deterministic(seed):
        network, norms = cnn(weight=weight), []
        latent = [part.weight for part in network.modules() if isinstance(part, QuantConv2d)]
        for factor in (1.0, 0.5):
            for w in latent:
                w.data *= factor
            loss = F.cross_entropy(network(digits().train_x), digits().train_y)
            gradients = torch.autograd.grad(loss, latent)
            norms.append(float(torch.cat([g.flatten() for g in gradients]).norm()))
    return norms[1] / norms[0]


def gap_to_sign(surrogate: Rule) -> float:
    """Return the area between a surrogate and the sign over [-1, 1], by the midpoint rule."""
    x = torch.arange(0.5, 3000, dtype=torch.float64) / 1500 - 1
    return float((surrogate(x) - sign(x)).abs().mean() * 2)


RECORD = "bi-real-net"
SEEDS = range(10)  # six networks a seed
BUDGET_BITS = "w1a1"


def variants() -> dict[str, Callable[[], SmallCNN]]:
    """Return the network behind each accuracy; each differs from `bi_real` in one thing."""
    return {
        "bi_real": cnn,
        "without_shortcut": partial(cnn, shortcut=False),
        "clipped_gradient": partial(cnn, activation=binarize_clipped),
        "sign_weights": partial(cnn, weight=sign_weight),
        "unscaled_update": partial(cnn, weight=binarize_weight_unscaled),
    }


def reproduce(seed: int) -> dict[str, float]:
    """Train all variants, put signs in the place of scaled weights, retrain batch norm; measure gaps and gradients."""
    networks = {key: train(build, seed, optimizer=momentum_sgd) for key, build in variants().items()}
    measured = {key: accuracy(network) for key, network in networks.items()}
    to_signs(signs := networks["bi_real"])
    return {
        **measured,
        "signs_before_retraining": accuracy(signs),
        "signs_retrained": accuracy(train(lambda: signs, seed, epochs=1, optimizer=norm_sgd)),
        "gap_quadratic": gap_to_sign(approx_sign),
        "gap_clip": gap_to_sign(lambda x: torch.clamp(x, -1, 1)),
        "gradient_growth": gradient_growth(binarize_weight, seed),
        "gradient_growth_unscaled": gradient_growth(binarize_weight_unscaled, seed),
        "gradient_growth_signs": gradient_growth(sign_weight, seed),
        "cnn_accuracy": accuracy(train(cnn, seed)),
    }


LITTLE = "Through two binary layers little mismatch of gradients can add up; none shows beyond the spread of the seeds."
CANCELS = "Batch norm divides the gradient by the same mean that the derivative multiplies it with."
SAME = "Batch norm cancels the mean, so up to its epsilon both networks get the same updates; see gradient_growth."
CLOSE = "The loss is smaller than a point on average, but ten seeds do not settle that."
CLAIMS: tuple[Claim, ...] = (
    Difference("shortcut-per-layer", "bi_real", "without_shortcut"),
    Exact("tighter-sign-gradient", "gap_quadratic", "<=", "gap_clip", unit="area"),
    Difference("tighter-gradient-helps", "bi_real", "clipped_gradient", remark=LITTLE),
    Exact("gradient-knows-magnitude", "gradient_growth", ">=", 2.0, tolerance=0.1, unit="x", remark=CANCELS),
    Difference("magnitude-aware-update", "bi_real", "sign_weights", remark=SAME),
    Difference("batch-norm-absorbs-scale", "signs_retrained", "bi_real", -1.0, remark=CLOSE),
)


def activation_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs as int64 and the scale 1."""
    return sign(x).to(torch.int64), torch.ones((), dtype=x.dtype)


def weight_integers(w: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs as int64 and the mean magnitude of each filter."""
    return sign(w).to(torch.int64), weight_scale(w)


QUANTIZERS = (
    Quantizer("weights", 1, binarize_weight, weight_integers),
    Quantizer("activations", 1, binarize, activation_integers),
)

if __name__ == "__main__":
    raise SystemExit(main())
