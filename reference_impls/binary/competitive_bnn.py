r"""Competitive binary networks (Bethge, Bornstein, Loy, Yang, Meinel arXiv 2018): plain training, more connections.

By 2018 binary networks were started from trained real ones, scaled and trained in stages. This paper trains signs from
scratch with none of that; its effort goes into the architecture: what a sign throws away gets a way around it.

Forward, $\circledast$ a convolution of signs, and gradient (those of BNN, cancelled beyond a threshold $t$):

$$ x^b = \mathrm{sign}(x), \quad w^b = \mathrm{sign}(w) \;(+1 \text{ at } 0), \qquad
   g_x = g_{x^b}\, 1_{|x| \le t}, \quad g_w = g_{w^b} $$

A layer with a shortcut around every convolution (ResNetE) and a layer whose output joins its input (DenseNet):

$$ y = \mathrm{BN}(x^b \circledast w^b) + s(x), \qquad y = [\,x,\; \mathrm{BN}(x)^b \circledast w^b\,] $$

Where the image shrinks, $s(x) = \mathrm{BN}(V * \mathrm{pool}(x))$ with real 1x1 filters $V$ and average pooling,
elsewhere $s(x) = x$; dense blocks end in $\mathrm{pool}(V * \mathrm{relu}(\mathrm{BN}(x)))$, a transition, likewise
real. Dense layers have no bottleneck, a 1x1 convolution that would squeeze the input of the 3x3 one.

What is left out, each an ablation here: XNOR-Net's scales, $y = (x^b \circledast w^b) \odot K \alpha$, which pass no
gradient in the authors' code, and a real network to start from.

Names: `threshold` $t$, `input_scale` $K$. The text was not found: formulas and choices are those of the authors' code
(BMXNet 2) at the time and of their results pages.

Differences from the paper

1. (Experiments) 8x8 digits, two blocks of width 4, 8 epochs of batches of 128; there CIFAR-10 and ImageNet with
   ResNetE-18 and -34 and DenseNet-13 to -37. Adam without weight decay, as there.
2. (Networks) Growth is chosen so that all networks compared have about 1,150 binary weights; the dense ones have more
   real ones (176 and 112 against 48) in their transitions. A batch norm follows each transition: the head needs it.
3. (Binary layers) $t = 1$, the code's default, which the published runs kept; the authors took 1.3 later. Their
   convolutions return counts, $(y + n) / 2$; batch norm makes that the same.
4. (Training) `pretrained` spends half of the same budget on the real network, with hard tanh and real weights.
   `cnn_accuracy` is under the budget that all methods share: one layer with a shortcut a block, batches of 64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference
from reference_impls.kit.models import Block, SmallCNN, identity
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, train

EPOCHS = 8
BATCH = 128
GROWTH = {4: 4, 8: 6}  # channels that a dense layer adds, by the channels that its block hands on
BOTTLENECK_GROWTH = {4: 2, 8: 3}
BOTTLENECK = 4  # width of the bottleneck over the growth, as in DenseNet


def binarize(x: Tensor, threshold: float = 1.0) -> Tensor:
    r"""Return the signs of activations, any shape; the gradient passes where $|x| \le$ `threshold`."""
    return straight_through(x, sign(x), (x.abs() <= threshold).to(x.dtype))


def binarize_weight(w: Tensor) -> Tensor:
    """Return the signs of latent weights, any shape; the gradient passes whole."""
    return straight_through(w, sign(w))


def filter_scale(w: Tensor) -> Tensor:
    r"""Return XNOR-Net's $\alpha$, the mean magnitude of each filter: (out, ...) to (out, 1, 1), without gradient."""
    return w.detach().abs().flatten(1).mean(dim=1)[:, None, None]


def input_scale(x: Tensor, size: int, stride: int) -> Tensor:
    """Return XNOR-Net's K, the mean magnitude under each window: (N, c, H, W) to (N, 1, H', W'), without gradient."""
    magnitude = x.detach().abs().mean(dim=1, keepdim=True)
    return F.avg_pool2d(magnitude, size, stride, padding=size // 2)  # zeros beyond the border count


class BinaryConv2d(nn.Conv2d):
    """A convolution of quantized inputs and weights, no bias, padded to keep the image; scaled if asked."""

    def __init__(self, channels: tuple[int, int], size: int, stride: int, design: Design) -> None:
        super().__init__(*channels, size, stride=stride, padding=size // 2, bias=False)
        self.design = design

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / stride, W / stride)."""
        y = F.conv2d(self.design.activation(x), self.design.weight(self.weight), None, self.stride, self.padding)
        if self.design.scaled:
            y = y * filter_scale(self.weight) * input_scale(x, self.kernel_size[0], self.stride[0])
        return y


@dataclass(frozen=True)
class Design:
    """The choices of the paper; what differs from the defaults is an ablation.

    Attributes:
        activation: quantizer of inputs.
        weight: quantizer of weights.
        scaled: with XNOR-Net's scales.
        real_shortcuts: 1x1 convolutions where the image shrinks keep real weights and inputs.
        shortcut_layers: convolutions that a shortcut goes around.
        layers: convolutions a block.
    """

    activation: Callable[[Tensor], Tensor] = binarize
    weight: Callable[[Tensor], Tensor] = binarize_weight
    scaled: bool = False
    real_shortcuts: bool = True
    shortcut_layers: int = 1
    layers: int = 2

    def conv(self, in_channels: int, out_channels: int, size: int = 3, stride: int = 1) -> nn.Module:
        """Return a binary convolution."""
        return BinaryConv2d((in_channels, out_channels), size, stride, self)

    def pointwise(self, in_channels: int, out_channels: int) -> nn.Module:
        """Return the 1x1 convolution of a shortcut or a transition."""
        real = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        return real if self.real_shortcuts else self.conv(in_channels, out_channels, size=1)


class Residual(nn.Module):
    """The sum of a body and a shortcut."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H', W')."""
        return torch.add(self.body(x), self.shortcut(x))


class Concatenation(nn.Module):
    """The input with what a body makes of it behind, channel-wise."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """(N, c, H, W) to (N, c + growth, H, W)."""
        return torch.cat([x, self.body(x)], dim=1)


def residual_block(design: Design) -> Block:
    """Return a block of `design.layers` convolutions with shortcuts; the first one halves the image."""

    def block(in_channels: int, out_channels: int) -> nn.Module:
        pointwise = design.pointwise(in_channels, out_channels)
        shrinking = nn.Sequential(nn.AvgPool2d(2), pointwise, nn.BatchNorm2d(out_channels))
        parts = []
        for first in range(0, design.layers, design.shortcut_layers):
            body: list[nn.Module] = []
            for index in range(first, first + design.shortcut_layers):
                sizes, stride = ((out_channels, out_channels), 1) if index else ((in_channels, out_channels), 2)
                body += [design.conv(*sizes, stride=stride), nn.BatchNorm2d(out_channels)]
            parts.append(Residual(nn.Sequential(*body), nn.Identity() if first else shrinking))
        return nn.Sequential(*parts)

    return block


def dense_block(design: Design, *, bottleneck: bool = False) -> Block:
    """Return a block of `design.layers` dense layers and a transition that halves the image."""

    def block(in_channels: int, out_channels: int) -> nn.Module:
        growth = (BOTTLENECK_GROWTH if bottleneck else GROWTH)[out_channels]
        parts: list[nn.Module] = []
        channels = in_channels
        for _ in range(design.layers):
            wide = BOTTLENECK * growth if bottleneck else channels
            squeeze = [design.conv(channels, wide, size=1), nn.BatchNorm2d(wide)] if bottleneck else []
            body = [nn.BatchNorm2d(channels), *squeeze, design.conv(wide, growth)]
            parts.append(Concatenation(nn.Sequential(*body)))
            channels += growth
        parts += [nn.BatchNorm2d(channels), nn.ReLU(), design.pointwise(channels, out_channels), nn.AvgPool2d(2)]
        return nn.Sequential(*parts, nn.BatchNorm2d(out_channels))

    return block


RECORD = "competitive-bnn"
SEEDS = range(12)  # nine convolutional networks a seed
BUDGET_BITS = "w1a1"
PAPER = Design()
REAL = Design(F.hardtanh, identity)


def variants() -> dict[str, Block]:
    """Return the blocks of the method and of its ablations, by metric."""
    return {
        "resnet_e": residual_block(PAPER),
        "shortcut_a_block": residual_block(replace(PAPER, shortcut_layers=2)),
        "binary_downsampling": residual_block(replace(PAPER, real_shortcuts=False)),
        "scaled": residual_block(replace(PAPER, scaled=True)),
        "unclipped_gradient": residual_block(replace(PAPER, activation=binarize_weight)),
        "densenet": dense_block(PAPER),
        "densenet_bottleneck": dense_block(PAPER, bottleneck=True),
    }


def reproduce(seed: int) -> dict[str, float]:
    """Train the method and its ablations on the digits."""

    def fit(build: Callable[[], nn.Module], epochs: int = EPOCHS) -> nn.Module:
        return train(build, seed, epochs=epochs, batch=BATCH)

    def start() -> nn.Module:
        network = SmallCNN(residual_block(PAPER))
        network.load_state_dict(real.state_dict())
        return network

    real = fit(partial(SmallCNN, residual_block(REAL)), EPOCHS // 2)
    metrics = {key: accuracy(fit(partial(SmallCNN, block))) for key, block in variants().items()}
    single = partial(SmallCNN, residual_block(replace(PAPER, layers=1)))
    return {
        **metrics,
        "pretrained": accuracy(fit(start, EPOCHS // 2)),
        "cnn_accuracy": accuracy(train(single, seed)),
    }


SHALLOW = "Two pairs of convolutions are no great depth for the further shortcuts to bridge."
INFORMED = "With 4 channels, K tells much about the input that its signs have lost, as it does for XNOR-Net here."
CLAIMS: tuple[Claim, ...] = (
    Difference("from-scratch-is-enough", "resnet_e", "pretrained", -1.0),
    Difference("dense-connections", "densenet", "resnet_e"),
    Difference("more-shortcuts", "resnet_e", "shortcut_a_block", remark=SHALLOW),
    Difference("real-downsampling", "resnet_e", "binary_downsampling"),
    Difference("scales-add-nothing", "resnet_e", "scaled", -1.0, remark=INFORMED),
    Difference("cancelled-gradient", "resnet_e", "unclipped_gradient"),
    Difference("no-bottleneck", "densenet", "densenet_bottleneck"),
)


def to_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs as int64 and the scale 1."""
    return sign(x).to(torch.int64), torch.ones((), dtype=x.dtype)


QUANTIZERS = (Quantizer("weights", 1, binarize_weight, to_integers), Quantizer("activations", 1, binarize, to_integers))

if __name__ == "__main__":
    raise SystemExit(main())
