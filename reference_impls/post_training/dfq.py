r"""DFQ (Nagel et al. ICCV 2019): quantizes a trained network without data, by rescaling channels and correcting biases.

One step size serves a whole weight tensor. After batch norm is folded in, the channels of depthwise networks differ so
much in range that the small ones vanish, and rounding shifts the mean of every output. DFQ repairs both from weights
and batch-norm parameters alone. Rounding is per tensor and affine,
$\hat W = \Delta\,(\mathrm{clip}(\mathrm{round}(W / \Delta) + z, 0, 2^b - 1) - z)$; gradient: none, nothing is trained.

1. Equalization (Sec. 4.1). ReLU has $f(s x) = s f(x)$ for $s > 0$, so $W^{(1)} \to S^{-1} W^{(1)}$,
   $b^{(1)} \to S^{-1} b^{(1)}$, $W^{(2)} \to W^{(2)} S$ changes nothing. With $r_i = 2 \max |W_i|$, the range of
   channel $i$ as output of layer 1 and as input of layer 2,
   $$ s_i = \frac{1}{r_i^{(2)}} \sqrt{r_i^{(1)} r_i^{(2)}} $$
   makes the two ranges equal and maximises $\sum_i p_i^{(1)} p_i^{(2)}$, where $p_i = r_i / \max_j r_j$ is the
   precision of a channel (Appendix A). Pairs of layers are visited until nothing changes.
2. Absorption of high biases (Sec. 4.1). A pre-activation has mean `beta` and standard deviation `gamma`, the shift and
   scale of its batch norm. $c = \max(0, \beta - 3 \gamma)$ moves from $b^{(1)}$ to $b^{(2)} + W^{(2)} c$; exact where
   the pre-activation exceeds $c$, as 99.865 % of a normal one do.
3. Activations are quantized over $[0, \max(\beta + 6 \gamma)]$ (Sec. 5).
4. Bias correction (Sec. 4.2): $E[\hat W x] - E[W x] = \epsilon\, E[x]$, $\epsilon = \hat W - W$, is subtracted from the
   bias. $E[x]$ is the mean of a clipped normal variable (Appendix C), for ReLU
   $$ E[x] = \gamma\, \phi(-\beta / \gamma) + \beta \left(1 - \Phi(-\beta / \gamma)\right) . $$

Differences from the paper

1. (Sec. 5) MobileNetV2 on ImageNet becomes a depthwise separable network of five convolutions on the 8x8 digits, and
   8-bit weights become 6-bit ones: few layers suffer at 6 bits what 53 suffer at 8. Activations keep 8 bits.
2. (Sec. 3.1) A short training does not spread channels as those of MobileNetV2 are. Batch-norm scales therefore start
   log-uniform in [0.01, 1] and shifts uniform in [0, 1]; everything is then trained as usual.
3. (Sec. 4.1, Appendix B) Convolutions are not padded: with padding, absorption and correction err at the border.
4. (Sec. 4.2) The first layer is not corrected: without data the mean of its input is unknown.
5. (Sec. 4) Read in detailed notes, the authors' later white paper and public code; of the text itself, in parts only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.grid import Grid, affine_grid
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import straight_through
from reference_impls.kit.train import train


@dataclass(frozen=True)
class Layer:
    """A folded convolution: weight (out, in / groups, h, w); bias, and outputs' beta and gamma before ReLU, (out,)."""

    weight: Tensor
    bias: Tensor
    beta: Tensor
    gamma: Tensor
    groups: int = 1  # 1, or the number of channels of a depthwise layer

    def respond(self, x: Tensor) -> Tensor:
        """Return the output, less the bias, for an input that is constant in space (Appendix B): (in,) to (out,)."""
        kernel = self.weight.sum(dim=(2, 3))  # (out, in / groups)
        return (kernel * x.reshape(self.groups, -1).repeat_interleave(len(kernel) // self.groups, dim=0)).sum(dim=1)


def fold(weight: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, *, groups: int) -> Layer:
    """Fold batch norm, whose vectors are (out,), into the convolution without bias before it."""
    gain = scale / torch.sqrt(variance + 1e-5)
    return Layer(weight * gain.reshape(-1, 1, 1, 1), shift - mean * gain, shift, scale.abs(), groups)


def ranges(first: Layer, second: Layer) -> tuple[Tensor, Tensor]:
    r"""Return $2 \max |W|$ of the channels between two layers: as outputs of one and as inputs of the other, (out,)."""
    inputs = (1, 2, 3) if second.groups > 1 else (0, 2, 3)  # depthwise, input channel i feeds output channel i alone
    return 2 * first.weight.abs().amax(dim=(1, 2, 3)), 2 * second.weight.abs().amax(dim=inputs)


def equalizing_scale(r1: Tensor, r2: Tensor) -> Tensor:
    r"""Return $s = \sqrt{r_1 r_2} / r_2$; 1 for a channel that is all zero on a side."""
    return torch.where(r1 * r2 > 0, torch.sqrt(r1 * r2) / r2, 1.0)


def rescale(first: Layer, second: Layer, s: Tensor) -> tuple[Layer, Layer]:
    """Divide the outputs of a layer by s (out,) and multiply the inputs of the next: the function stays the same."""
    column = s.reshape(-1, 1, 1, 1)
    scaled = Layer(first.weight / column, first.bias / s, first.beta / s, first.gamma / s, first.groups)
    return scaled, replace(second, weight=second.weight * (column if second.groups > 1 else s.reshape(1, -1, 1, 1)))


def equalize(layers: Sequence[Layer], tolerance: float = 1e-6) -> list[Layer]:
    """Equalize consecutive layers in turn until no scale differs from 1 by more than the tolerance."""
    done, largest = list(layers), math.inf
    while largest > tolerance:
        largest = 0.0
        for i in range(1, len(done)):
            s = equalizing_scale(*ranges(done[i - 1], done[i]))
            done[i - 1], done[i] = rescale(done[i - 1], done[i], s)
            largest = max(largest, float((s - 1).abs().max()))
    return done


def absorb(layers: Sequence[Layer]) -> list[Layer]:
    r"""Move $c = \max(0, \beta - 3 \gamma)$ from each bias into the next."""
    done = list(layers)
    for i in range(1, len(done)):
        c = torch.clamp(done[i - 1].beta - 3 * done[i - 1].gamma, min=0)
        done[i - 1] = replace(done[i - 1], bias=done[i - 1].bias - c, beta=done[i - 1].beta - c)
        done[i] = replace(done[i], bias=done[i].bias + done[i].respond(c))
    return done


def clipped_normal_mean(beta: Tensor, gamma: Tensor, low: float = 0.0, high: float = math.inf) -> Tensor:
    r"""Return $E[\mathrm{clip}(x, low, high)]$ for $x \sim N(\beta, \gamma^2)$ (Appendix C); ReLU is (0, inf)."""
    a, b = (low - beta) / gamma, (high - beta) / gamma
    below, above = torch.special.ndtr(a), torch.special.ndtr(-b)
    bells = (torch.exp(-a.square() / 2) - torch.exp(-b.square() / 2)) / math.sqrt(2 * math.pi)
    mean: Tensor = low * below + beta * (1 - below - above) + gamma * bells
    return mean if math.isinf(high) else mean + high * above


def weight_grid(weight: Tensor, bits: int, *, per_channel: bool = False) -> Grid:
    """Return the affine grid from least to greatest weight: one for the tensor, or one for each output channel."""
    dims = tuple(range(int(per_channel), weight.dim()))
    return affine_grid(weight.amin(dim=dims, keepdim=True), weight.amax(dim=dims, keepdim=True), bits)


def activation_grid(layer: Layer, bits: int) -> Grid:
    r"""Return the grid over $[0, \max(\beta + 6 \gamma)]$ (Sec. 5)."""
    return affine_grid(torch.zeros(()), torch.clamp((layer.beta + 6 * layer.gamma).amax(), min=0), bits)


def quantize(layers: Sequence[Layer], bits: int, *, per_channel: bool = False, correct: bool = False) -> list[Layer]:
    """Quantize the weights; where asked, correct all biases but the first with $E[x]$ of the layer before."""
    done = [replace(x, weight=weight_grid(x.weight, bits, per_channel=per_channel).quantize(x.weight)) for x in layers]
    for i in range(1, len(done) if correct else 0):
        error = replace(layers[i], weight=done[i].weight - layers[i].weight)
        shift = error.respond(clipped_normal_mean(layers[i - 1].beta, layers[i - 1].gamma))
        done[i] = replace(done[i], bias=done[i].bias - shift)
    return done


def run(layers: Sequence[Layer], x: Tensor, bits: int | None = None) -> Tensor:
    """Return the logits (N, 10) of images; activations are quantized to `bits` if given. The last layer is the head."""
    for layer in layers[:-1]:
        x = F.relu(F.conv2d(x, layer.weight, layer.bias, groups=layer.groups))
        x = x if bits is None else activation_grid(layer, bits).quantize(x)
    return F.conv2d(x.mean(dim=(2, 3), keepdim=True), layers[-1].weight, layers[-1].bias).flatten(1)


def precision(r1: Tensor, r2: Tensor) -> Tensor:
    r"""Return $\sum_i p_i^{(1)} p_i^{(2)}$ for ranges along the last axis (Appendix A)."""
    return (r1 / r1.amax(dim=-1, keepdim=True) * r2 / r2.amax(dim=-1, keepdim=True)).sum(dim=-1)


def searched_precision(r1: Tensor, r2: Tensor, generator: Generator, tries: int = 4000) -> float:
    """Return the best precision among random scales: wide around 1, and narrow around those of the closed form."""
    wide, narrow = torch.randn(2, tries, len(r1), generator=generator, dtype=r1.dtype)
    scales = torch.cat([wide.exp(), equalizing_scale(r1, r2) * (0.1 * narrow).exp()])
    return float(precision(r1 / scales, r2 * scales).max())


RECORD, SEEDS = "dfq", range(20)
BITS, ACTIVATION_BITS = 6, 8
SHAPES = ((1, 8, 3, 1), (8, 8, 3, 8), (8, 16, 1, 1), (16, 16, 3, 16), (16, 16, 1, 1))  # in, out, kernel, groups


def network() -> nn.Sequential:
    """Return a stem and two depthwise separable blocks, (N, 1, 8, 8) to logits; batch-norm scales start far apart."""
    parts: list[nn.Module] = []
    for inputs, outputs, kernel, groups in SHAPES:
        norm = nn.BatchNorm2d(outputs)
        nn.init.uniform_(norm.bias, 0, 1)
        norm.weight.data = 10 ** nn.init.uniform_(norm.weight.data, -2, 0)
        parts += [nn.Conv2d(inputs, outputs, kernel, groups=groups, bias=False), norm, nn.ReLU()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(SHAPES[-1][1], 10))


def folded(net: nn.Module) -> list[Layer]:
    """Return the layers of `network()` in float64; the head is a 1x1 convolution whose statistics nobody asks for."""
    tensors = [tensor.double() for tensor in net.state_dict().values()]  # six for a convolution and its norm
    layers = [fold(*tensors[6 * i : 6 * i + 5], groups=groups) for i, (*_, groups) in enumerate(SHAPES)]
    return [*layers, Layer(tensors[-2][:, :, None, None], *tensors[-1:] * 3)]


def reproduce(seed: int) -> dict[str, float]:
    """Train once; quantize with and without each step. Accuracies in percent."""
    x, y = digits().test_x.double(), digits().test_y
    layers = folded(train(network, seed))
    equalized = equalize(layers)
    absorbed = absorb(equalized)

    def accuracy(some: Sequence[Layer], bits: int | None = ACTIVATION_BITS) -> float:
        return 100.0 * float((run(some, x, bits).argmax(dim=1) == y).float().mean())

    def shift(some: Sequence[Layer]) -> float:
        return float((run(some, x) - run(absorbed, x)).mean(dim=0).abs().mean())

    logits, (r1, r2) = run(layers, x), ranges(layers[0], layers[1])
    return {
        "full_precision": accuracy(layers, None),
        "naive": accuracy(quantize(layers, BITS)),
        "naive_corrected": accuracy(quantize(layers, BITS, correct=True)),
        "per_channel": accuracy(quantize(layers, BITS, per_channel=True)),
        "equalized": accuracy(quantize(equalized, BITS)),
        "absorbed": accuracy(quantize(absorbed, BITS)),
        "dfq": accuracy(quantize(absorbed, BITS, correct=True)),
        "naive_int8": accuracy(quantize(layers, 8)),
        "dfq_int8": accuracy(quantize(absorbed, 8, correct=True)),
        "function_change": float((run(equalized, x) - logits).abs().max() / logits.abs().max()),
        "range_mismatch": max(float((a / b - 1).abs().max()) for a, b in map(ranges, equalized, equalized[1:])),
        "precision_searched": searched_precision(r1, r2, torch.Generator().manual_seed(seed)),
        "precision_equalized": float(precision(torch.sqrt(r1 * r2), torch.sqrt(r1 * r2))),
        "shift_rounded": shift(quantize(absorbed, BITS)),
        "shift_corrected": shift(quantize(absorbed, BITS, correct=True)),
    }


CLAIMS: tuple[Claim, ...] = (
    Exact("equalization-keeps-function", "function_change", "==", 0.0, 1e-9),
    Exact("equalization-makes-ranges-equal", "range_mismatch", "==", 0.0, 1e-5),
    Exact("equal-ranges-are-optimal", "precision_searched", "<=", "precision_equalized", 1e-9),
    Difference("equalization-rescues-per-tensor", "equalized", "naive"),
    Difference("near-original-accuracy", "dfq", "full_precision", margin=-1.0),
    Difference("absorption-helps", "absorbed", "equalized"),
    Difference("better-than-per-channel", "dfq", "per_channel"),
    Difference("bias-correction-recentres-output", "shift_corrected", "shift_rounded", 0.0, "below", "logits"),
    Difference("bias-correction-raises-accuracy", "naive_corrected", "naive"),
    Difference("bias-correction-adds-to-equalization", "dfq", "absorbed"),
)


def integers_of(x: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return integers less the zero point, and the scale, of one tensor."""
    grid = weight_grid(x, bits)
    return grid.to_integers(x) - grid.zero_point.to(torch.int64), grid.scale


def values_of(x: Tensor, bits: int) -> Tensor:
    """Return scale times integers; no gradient passes."""
    integers, scale = integers_of(x.detach(), bits)
    return straight_through(x, scale * integers, torch.zeros_like(x))


QUANTIZERS = tuple(Quantizer("weights", b, partial(values_of, bits=b), partial(integers_of, bits=b)) for b in (6, 8))

if __name__ == "__main__":
    raise SystemExit(main())
