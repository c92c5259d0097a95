r"""XNOR-Net (Rastegari et al. ECCV 2016): binary convolutions with real scales, alone for weights or for inputs too.

A convolution of signs is XNOR and popcount, but replacing a filter by its signs throws its magnitude away. The paper
puts the least-squares best magnitude back: one scale per filter (Binary-Weight-Network, BWN) and, where inputs are
binary as well, one per position of the input (XNOR-Net). It also orders a block so that little is lost to the signs.

Weights (Sec. 3.1, Eq. 2 to 6), per filter $W$ of $n = c\,w\,h$ values:

$$ \min_{\alpha, B} \|W - \alpha B\|^2 \;\Rightarrow\; B = \mathrm{sign}(W), \quad \alpha = \tfrac1n \|W\|_{\ell_1} $$

Inputs (Sec. 3.2, Eq. 10 and 11): the scale of every window is a box filter over the channel mean of $|I|$,

$$ I * W \approx \big(\mathrm{sign}(I) \circledast B\big) \odot K\,\alpha, \qquad
   K = A * k,\quad A = \tfrac1c \sum_i |I_{:,:,i}|,\quad k_{ij} = \tfrac{1}{w h} $$

Gradients: $g_W = g_{\tilde W}\,(1/n + \alpha\, 1_{|W| \le 1})$ with $\tilde W = \alpha B$ (Sec. 3.1; $1/n$ is the
derivative of $\alpha$ by $|W_i|$), and $g_I = g_{\mathrm{sign}(I)}\, 1_{|I| \le 1}$.

Blocks (Sec. 3.2, Fig. 3): batch norm, binary activation, convolution, pooling (B-A-C-P), where an ordinary network has
C-B-A-P: pooling signs makes nearly all of them +1. Names: `filter_scale` $\alpha$, `input_scale` $K$, `weight_slope`
the bracket above, `signs` $B$. Section, equation and table numbers are those of arXiv 1603.05279 v4.

Differences from the paper

1. (Sec. 4.2) 8x8 digits, two binary convolutions of width 4, 8 epochs of Adam for all; there ImageNet with AlexNet and
   ResNet-18, SGD for binary weights alone, Adam for binary inputs. First and last layer stay real, as there.
2. (Sec. 3.2) The text does not say whether the gradient flows through $K$; here it does, as it does through $\alpha$.
   The authors' Torch code leaves $K$ out.
3. (Sec. 3.1) The Torch code also centres each filter over its channels, clips weights to [-1, 1] and multiplies the
   gradient by $n(1 - 1/c)$; the paper has none of this and neither has this file. Adam is blind to such factors.
4. (Sec. 4.2) BinaryConnect and BNN here are this network without scales, the gradient straight through for weights:
   the comparison is of scales alone. BNN's own order, C-P-B-A, is B-A-C-P entered elsewhere.
5. (Sec. 3.2) Binary gradients and k-bit activations are not here. (Table 3a) The layer starts its factors at 1.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import Block, QuantConv2d, SmallCNN, conv_block
from reference_impls.kit.models import Quantizer as Function
from reference_impls.kit.packing import pack_signs
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, train

EPOCHS = 8


def filter_scale(W: Tensor) -> Tensor:
    r"""Return $\alpha = \|W\|_{\ell_1} / n$ of each filter (Eq. 6): (out, ...) to (out, 1, ...)."""
    return W.abs().mean(dim=tuple(range(1, W.dim())), keepdim=True)


def weight_slope(W: Tensor) -> Tensor:
    r"""Return $1/n + \alpha\, 1_{|W| \le 1}$ (Sec. 3.1), the factor of the gradient; (out, ...), as `W`."""
    return 1 / W[0].numel() + filter_scale(W) * (W.abs() <= 1)


def binarize_weight(W: Tensor) -> Tensor:
    r"""Return $\alpha\, \mathrm{sign}(W)$ per filter, (out, ...), with the gradient of `weight_slope`."""
    return straight_through(W, filter_scale(W) * sign(W), weight_slope(W))


def signs_only(W: Tensor) -> Tensor:
    """Return the signs of weights, unscaled, the gradient straight through: BinaryConnect and BNN."""
    return straight_through(W, sign(W))


def binarize_activation(x: Tensor) -> Tensor:
    r"""Return the signs of inputs, any shape; the gradient passes where $|x| \le 1$."""
    return straight_through(x, sign(x), (x.abs() <= 1).to(x.dtype))


def input_scale(x: Tensor, size: int = 3) -> Tensor:
    """Return K, the mean magnitude of every window, 0 beyond the border (Sec. 3.2): (N, c, H, W) to (N, 1, H, W)."""
    magnitude = x.abs().mean(dim=1, keepdim=True)  # A, (N, 1, H, W)
    box = torch.full((1, 1, size, size), 1 / size**2, dtype=x.dtype)
    return F.conv2d(magnitude, box, padding=size // 2)


class XnorConv2d(QuantConv2d):
    """BinActiv and BinConv: signs of the input times quantized weights, times K where `scaled` (Eq. 11)."""

    def __init__(self, in_channels: int, out_channels: int, quantizer: Function, *, scaled: bool) -> None:
        super().__init__(in_channels, out_channels, quantizer)
        self.scaled = scaled

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W)."""
        y = super().forward(binarize_activation(x))
        return y * input_scale(x) if self.scaled else y


class LearnedScaleConv2d(QuantConv2d):
    """Signs of the weights, and a factor per filter that is trained (Table 3a, "separate layer")."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, signs_only)
        self.scale = nn.Parameter(torch.ones(out_channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W)."""
        return super().forward(x) * self.scale


class BinaryActivation(nn.Module):
    """`binarize_activation` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return binarize_activation(x)


def xnor_block(weight: Function = binarize_weight, *, scaled: bool = True, typical: bool = False) -> Block:
    """Return a block with binary weights and inputs, in the order B-A-C-P, or C-B-A-P where `typical`.

    `SmallCNN` begins with a batch norm, so B-A-C-P is built as A-C-P-B; the last B is before the head, as in the code.
    """

    def block(in_channels: int, out_channels: int) -> nn.Module:
        conv = XnorConv2d(in_channels, out_channels, weight, scaled=scaled)
        norm, pool = nn.BatchNorm2d(out_channels), nn.MaxPool2d(2)
        return nn.Sequential(conv, norm, BinaryActivation(), pool) if typical else nn.Sequential(conv, pool, norm)

    return block


def learned_scale_block(in_channels: int, out_channels: int) -> nn.Module:
    """`conv_block` with real inputs and learned scales."""
    conv = LearnedScaleConv2d(in_channels, out_channels)
    return nn.Sequential(nn.ReLU(), conv, nn.MaxPool2d(2), nn.BatchNorm2d(out_channels))


def speedup(channels: int, area: int) -> float:
    r"""Return $64\, c N_W / (c N_W + 64)$ (Sec. 4.1): a clock does 64 binary operations or one real one."""
    return 64 * channels * area / (channels * area + 64)


def memory_saving(W: Tensor) -> float:
    """Return bytes of a layer's real filters (out, ...) over those of packed signs and one scale per filter."""
    return W.nbytes / (pack_signs(sign(W).flatten(1).numpy()).nbytes + filter_scale(W).nbytes)


def closed_form_error(w: Tensor) -> float:
    r"""Return $\|w - \alpha\, \mathrm{sign}(w)\|^2$ of one filter, (n,)."""
    return float((w - binarize_weight(w[None])[0]).square().sum())


def brute_force_error(w: Tensor, steps: int = 1000) -> float:
    r"""Return the least $\|w - \alpha B\|^2$ over all $2^n$ sign vectors and evenly spaced $\alpha$ up to $\max|w|$."""
    patterns = np.array(list(itertools.product((-1.0, 1.0), repeat=len(w))))  # (2^n, n)
    scales = np.linspace(0, float(w.abs().max()), steps + 1)[:, None]  # (steps + 1, 1)
    values = w.double().numpy()
    return float((values @ values - 2 * scales * (patterns @ values) + scales**2 * len(w)).min())


def window_scales(x: Tensor) -> Tensor:
    r"""Return $\beta$ of every 3x3 window, taken window by window (Eq. 10): (N, c, H, W) to (N, 1, H, W)."""
    windows = F.unfold(x, 3, padding=1)  # (N, 9 c, H W)
    return windows.abs().mean(dim=1).reshape(len(x), 1, *x.shape[2:])


RECORD, BUDGET_BITS = "xnor-net", "w1a1"
SEEDS = range(10)  # eight convolutional networks a seed


def variants() -> dict[str, Block]:
    """Return the blocks of the methods and of what they are compared with, by metric."""
    return {
        "xnor_net": xnor_block(),
        "without_input_scale": xnor_block(scaled=False),
        "bnn": xnor_block(signs_only, scaled=False),
        "typical_order": xnor_block(typical=True),
        "bwn": conv_block(binarize_weight),
        "binaryconnect": conv_block(signs_only),
        "learned_scale": learned_scale_block,
        "full_precision": conv_block(),
    }


def reproduce(seed: int) -> dict[str, float]:
    """Train all variants on the digits, then hold the closed forms against search on the trained XNOR-Net."""
    networks = {name: train(partial(SmallCNN, block), seed, epochs=EPOCHS) for name, block in variants().items()}
    rates = {name: accuracy(network) for name, network in networks.items()}
    with torch.no_grad():
        trained = cast("SmallCNN", networks["xnor_net"])
        conv = next(part for part in trained.modules() if isinstance(part, XnorConv2d))
        kernels = conv.weight.flatten(0, 1).flatten(1)  # (out in, 9): small enough to try all signs
        inputs = trained.stem(digits().test_x)
        gap = (input_scale(inputs) - window_scales(inputs)).abs().max()
        return {
            **rates,
            "cnn_accuracy": rates["xnor_net"],
            "cnn_full_precision": rates["full_precision"],
            "closed_form_error": sum(closed_form_error(w) for w in kernels),
            "brute_force_error": sum(brute_force_error(w) for w in kernels),
            "input_scale_gap": float(gap / window_scales(inputs).max()),
            "theoretical_speedup": speedup(channels=256, area=9),
            "memory_saving": memory_saving(torch.randn(256, 256, 3, 3)),
        }


ABSORBED = "Batch norm follows each convolution and undoes any scale of a filter: only gradients differ."
NARROW = "At width 4 there is no capacity to spare."
THANKS_TO_K = "K brings it: without K (metric without_input_scale) no gain is seen."
MUCH = "With 4 channels of signs, K is much of what a convolution learns about its input."
CLAIMS: tuple[Claim, ...] = (
    Exact("scale-is-optimal", "closed_form_error", "<=", "brute_force_error", tolerance=1e-5),
    Exact("box-filter-gives-window-scales", "input_scale_gap", "<=", 0.0, tolerance=1e-5),
    Difference("beats-binaryconnect", "bwn", "binaryconnect", remark=ABSORBED),
    Difference("scale-beats-learned-layer", "bwn", "learned_scale", remark=ABSORBED),
    Difference("matches-full-precision", "bwn", "full_precision", -1.0, remark=NARROW),
    Difference("beats-bnn", "xnor_net", "bnn", remark=THANKS_TO_K),
    Difference("input-scale-matters-little", "xnor_net", "without_input_scale", 1.0, "below", remark=MUCH),
    Difference("block-order", "xnor_net", "typical_order"),
    Exact("theoretical-speedup", "theoretical_speedup", "==", 62.27, tolerance=0.005, unit="x"),
    Exact("memory-32x", "memory_saving", "==", 32.0, tolerance=0.5, unit="x"),
)


def weight_integers(W: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs as int64 and the scale of each filter."""
    return sign(W).to(torch.int64), filter_scale(W)


def activation_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs as int64 and the scale 1: K multiplies the products, not the input."""
    return sign(x).to(torch.int64), torch.ones((), dtype=x.dtype)


QUANTIZERS = (
    Quantizer("weights", 1, binarize_weight, weight_integers),
    Quantizer("activations", 1, binarize_activation, activation_integers),
)

if __name__ == "__main__":
    raise SystemExit(main())
