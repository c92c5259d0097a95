r"""Two toy networks that fit the FPGA flow: a method's quantizers in the middle, 8-bit weights at both ends.

Trained with the kit's one training loop. In training mode weights and activations pass the method's own quantizers,
with its own gradients. In evaluation mode a layer computes on the integers,

$$ y = s_w s_x \sum_j w_j x_j, \qquad w_j, x_j \in \mathbb{Z} $$

which floating point does without an error, so that what torch says of an image is a function of integers alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.catalogue import Method
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.ste import straight_through

Shape = Literal["mlp", "cnn"]
INPUT_SCALE = 0.125  # the digits are pixel / 8 - 1 with pixels 0..16, so integers -8..8 times 1/8
KERNEL = 3
INPUTS = re.compile(r"(weights and )?(activations|inputs)")  # what a quantizer of activations is called


class CannotLowerError(Exception):
    """A method or network has no integer form for this flow; the message says why."""


def int8_weight_integers(w: Tensor) -> tuple[Tensor, Tensor]:
    """Return 8-bit integers -127..127 of a tensor and its scale, max|w| / 127."""
    scale = w.detach().abs().amax().clamp_min(1e-12) / 127
    return torch.round(w.detach() / scale).to(torch.int64), scale


def uint8_activation_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return 8-bit integers 0..255 of a tensor and the scale 1/64: batch-normalised inputs clip at 255/64."""
    return torch.round(x.detach() * 64).clamp(0, 255).to(torch.int64), torch.tensor(1 / 64, dtype=x.dtype)


def int8_weight(w: Tensor) -> Tensor:
    """Quantize weights to 8 bits; the gradient passes."""
    integers, scale = int8_weight_integers(w)
    return straight_through(w, scale * integers)


def uint8_activation(x: Tensor) -> Tensor:
    """Quantize activations to 8 bits; the gradient passes inside the range."""
    integers, scale = uint8_activation_integers(x)
    return straight_through(x, scale * integers, ((x > 0) & (x < 255 / 64)).to(x.dtype))


INT8_WEIGHTS = Quantizer("weights", 8, int8_weight, int8_weight_integers)
UINT8_ACTIVATIONS = Quantizer("activations", 8, uint8_activation, uint8_activation_integers, -1.0, 4.5)


def fixed_scale(quantizer: Quantizer) -> float | None:
    """Return the scale of an elementwise activation quantizer, None if it depends on the other elements.

    Hardware sees one element at a time: a scale that is computed from the whole tensor has no integer form there.
    """
    probe = torch.linspace(-2.0, 2.0, 33).reshape(3, 11)
    wide, wide_scale = quantizer.to_integers(torch.cat([probe, 3 * probe]))
    alone, scale = quantizer.to_integers(probe)
    if scale.numel() != 1 or wide_scale.numel() != 1 or float(scale) != float(wide_scale):
        return None
    return float(scale) if torch.equal(wide[:3], alone) else None


def learns(quantizer: Quantizer) -> bool:
    """Say whether a gradient passes the quantizer; one through which none passes is applied after training."""
    probe = torch.linspace(-0.9, 0.9, 32).reshape(4, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(quantizer.quantize(probe).sum(), probe, allow_unused=True)
    return gradient is not None and bool(gradient.abs().sum() > 0)


@dataclass(frozen=True)
class Recipe:
    """What a method puts between the two 8-bit ends.

    Attributes:
        weights: of the hidden layer.
        activations: between all layers.
        note: what is not the method's own, in words; empty when both are.
    """

    weights: Quantizer
    activations: Quantizer
    note: str = ""

    @property
    def bits(self) -> str:
        """Width of the weights and activations, as in w1a2."""
        return f"w{self.weights.bits}a{self.activations.bits}"


def recipe_of(method: Method) -> Recipe:
    """Return a method's first weight and first activation quantizer; 8 bits stand in for the one it does not offer.

    Raises:
        CannotLowerError: if it offers neither.
    """
    weights = next((q for q in method.QUANTIZERS if "weights" in q.name), None)
    inputs = next((q for q in method.QUANTIZERS if INPUTS.match(q.name)), None)
    notes = []
    if inputs is not None and fixed_scale(inputs) is None:
        notes.append("8-bit activations, as the method's scale depends on the whole input")
        inputs = None
    elif inputs is None:
        notes.append("8-bit activations, as the method quantizes weights only")
    if weights is None:
        notes.append("8-bit weights, as the method quantizes activations only")
    elif not learns(weights):
        notes.append("weights quantized after training, as no gradient passes the method's quantizer")
    if weights is None and inputs is None:
        raise CannotLowerError(
            f"{method.RECORD} offers no weights or activations as integers, so nothing can be lowered"
        )
    return Recipe(weights or INT8_WEIGHTS, inputs or UINT8_ACTIVATIONS, "; ".join(notes))


class Layer(nn.Module):
    """A linear layer, or a 3x3 convolution without padding, whose weight passes a quantizer.

    Attributes:
        weight: (out, in) or (out, in, 3, 3).
        bias: (out,), rounded to the accumulator's grid in evaluation; None for layers that batch norm follows.
    """

    def __init__(self, shape: tuple[int, ...], quantizer: Quantizer, input_scale: float, *, bias: bool = False) -> None:
        super().__init__()
        made = nn.Linear(shape[1], shape[0]) if len(shape) == 2 else nn.Conv2d(shape[1], shape[0], KERNEL)
        self.weight = nn.Parameter(made.weight.detach().clone())
        self.bias = nn.Parameter(torch.zeros(shape[0])) if bias else None
        self.quantizer, self.input_scale, self.after_training = quantizer, input_scale, not learns(quantizer)

    def apply_weight(self, x: Tensor, weight: Tensor) -> Tensor:
        """(N, in) to (N, out), or (N, in, H, W) to (N, out, H - 2, W - 2)."""
        return F.linear(x, weight) if weight.dim() == 2 else F.conv2d(x, weight)

    def integers(self) -> tuple[Tensor, Tensor]:
        """Return the integer weights and the scale of the accumulator for each output, positive, (out,).

        Raises:
            CannotLowerError: if the scale varies within an output.
        """
        with torch.no_grad():
            weights, scale = self.quantizer.to_integers(self.weight)
        rows = torch.as_tensor(scale, dtype=self.weight.dtype).detach().expand(weights.shape).flatten(1)  # (out, n)
        if not bool((rows == rows[:, :1]).all()):
            raise CannotLowerError(f"{self.quantizer.name}: the scale varies within a filter")
        flip = torch.where(rows[:, 0] < 0, -1, 1).reshape(-1, *(1,) * (weights.dim() - 1))
        return weights * flip, rows[:, 0].abs() * self.input_scale

    def bias_integers(self) -> Tensor:
        """Return the bias on the accumulator's grid, int64, (out,); zeros where there is none."""
        _, scale = self.integers()
        zeros = torch.zeros(len(scale), dtype=torch.int64)
        return zeros if self.bias is None else torch.round(self.bias.detach() / scale).to(torch.int64)

    def accumulate(self, x: Tensor) -> Tensor:
        """Return the integer accumulators (bias included) of inputs that are integers times the input scale."""
        weights, _ = self.integers()
        sums = self.apply_weight(torch.round(x / self.input_scale), weights.to(x.dtype))
        return sums + self.bias_integers().to(x.dtype).reshape(1, -1, *(1,) * (sums.dim() - 2))

    def forward(self, x: Tensor) -> Tensor:
        """Quantized weights with their gradient in training; exact integer sums, times the scale, in evaluation."""
        if self.training:
            weight = self.weight if self.after_training else self.quantizer.quantize(self.weight)
            y = self.apply_weight(x, weight)
            return y if self.bias is None else y + self.bias
        sums = self.accumulate(x)
        _, scale = self.integers()
        return sums * scale.to(x.dtype).reshape(1, -1, *(1,) * (sums.dim() - 2))


class Activation(nn.Module):
    """An elementwise activation quantizer."""

    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        scale = fixed_scale(quantizer)
        if scale is None:
            raise CannotLowerError(f"{quantizer.name}: the scale depends on the whole input")
        self.quantizer, self.scale = quantizer, scale

    def forward(self, x: Tensor) -> Tensor:
        """Quantize, any shape."""
        if self.training:
            return self.quantizer.quantize(x)
        return self.quantizer.to_integers(x)[0].to(x.dtype) * self.scale


class Network(nn.Module):
    """Layers in order; after each but the last: max-pooling (if any), batch norm, activation.

    Attributes:
        layers: first and last with 8-bit weights, the middle with the method's.
        pools: max-pool size after each layer but the last; 1 for none.
        norms: batch norm of each layer but the last.
        activation: the same after each layer but the last.
    """

    def __init__(self, layers: list[Layer], pools: list[int], activation: Activation) -> None:
        super().__init__()
        self.layers, self.pools, self.activation = nn.ModuleList(layers), tuple(pools), activation
        widths = [layer.weight.shape[0] for layer in layers[:-1]]
        kinds = [nn.BatchNorm1d if layer.weight.dim() == 2 else nn.BatchNorm2d for layer in layers[:-1]]
        self.norms = nn.ModuleList(kind(width) for kind, width in zip(kinds, widths, strict=True))

    def linear(self) -> list[Layer]:
        """Return the layers, in order."""
        return [cast("Layer", layer) for layer in self.layers]

    def hidden(self, x: Tensor) -> list[Tensor]:
        """Return the activations after each layer but the last; convolutional ones are (N, C, H, W)."""
        found = []
        for layer, pool, norm in zip(self.linear()[:-1], self.pools, self.norms, strict=True):
            x = layer(x.flatten(1) if layer.weight.dim() == 2 else x)
            x = self.activation(norm(F.max_pool2d(x, pool) if pool > 1 else x))
            found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) to logits (N, 10)."""
        x = self.hidden(x)[-1]
        logits: Tensor = self.linear()[-1](x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x)  # channels fastest
        return logits


def builder(recipe: Recipe, shape: Shape = "mlp", width: int | None = None) -> Callable[[], Network]:
    """Return what makes an untrained network: 64 -> width -> width -> 10, or the convolutional one.

    The convolutional one takes 8x8 to 6x6 (3x3, `width` channels), to 4x4 (3x3, 2 width channels), pools to 2x2 and
    ends in a linear layer. No convolution pads: a zero is no value of a binary activation.

    Args:
        recipe: the quantizers.
        shape: "mlp" or "cnn".
        width: hidden units (32 when not given) or channels (4 when not given).
    """

    def build() -> Network:
        activation = Activation(recipe.activations)
        s = activation.scale
        if shape == "mlp":
            n = width or 32
            layers = [Layer((n, 64), INT8_WEIGHTS, INPUT_SCALE), Layer((n, n), recipe.weights, s)]
            return Network([*layers, Layer((10, n), INT8_WEIGHTS, s, bias=True)], [1, 1], activation)
        c = width or 4
        first = Layer((c, 1, KERNEL, KERNEL), INT8_WEIGHTS, INPUT_SCALE)
        hidden = Layer((2 * c, c, KERNEL, KERNEL), recipe.weights, s)
        return Network([first, hidden, Layer((10, 8 * c), INT8_WEIGHTS, s, bias=True)], [1, 2], activation)

    return build
