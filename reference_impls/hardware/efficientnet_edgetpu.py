r"""EfficientNet-EdgeTPU (Gupta & Tan Google AI Blog 2019): int8 networks of regular convolutions for a matrix unit.

Depthwise-separable convolutions save multiplications, but not time on a chip that multiplies matrices: each channel is
a product of its own with one output column, so most cells idle. The search space therefore got *fused* blocks: the 1x1
expansion and the depthwise K x K convolution of an inverted bottleneck become one regular K x K convolution. With m
pixels and a weight-stationary array of R x C cells, tiles of v vectors taking C + v cycles, a layer takes

$$ t_{\mathrm{regular}} = \lceil \tfrac mv \rceil \lceil \tfrac{K^2 c}{R} \rceil \lceil \tfrac nC \rceil, \qquad
   t_{\mathrm{depthwise}} = \lceil \tfrac mv \rceil \Bigl\lceil \frac{c}{\min(\lfloor R / K^2 \rfloor, C)} \Bigr\rceil,
   \qquad \mathrm{utilisation} = \frac{\mathrm{multiplications}}{R\,C \cdot \mathrm{cycles}} $$

tiles for c channels in and n out; a depthwise tile holds as many channels as fit, on a block diagonal. Post-training
quantization needs a sample of inputs for the ranges of activations and no training:

$$ q_w = \mathrm{round}(w / s_w), \qquad q_x = \mathrm{round}(x / s_x) + z_x, \qquad
   q_y = \mathrm{clamp}\Bigl(\Bigl\lfloor \frac{M \sum q_w (q_x - z_x) + M b}{2^n} \Bigr\rceil + z_y\Bigr), \qquad
   \frac{M}{2^n} \approx \frac{s_w s_x}{s_y} $$

with a scale for each filter and a zero point for each layer. The gradient, drawn only, passes straight through.

Differences from the paper

1. (post) The blog's first paragraphs were read, and README and builder of the official repository; the caption on
   utilisation is from memory. The search itself, ImageNet and the Edge TPU are not reproduced.
2. (hardware) An array of 18 x 8 cells is simulated; the formula, held to it by tests, speaks for the small model on
   64 x 64 cells: the first block of each stage at the stage's output size. The Edge TPU's design is not published. Here
   weights come with each tile; the host adds partial sums and requantises.
3. (README) TensorFlow Lite's scheme is written anew after Jacob et al. 2018, with ranges from the extremes over 200
   images. The toy, a stem, a fused block and a linear layer, has no squeeze-and-excite and no swish either.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import mul

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.fpga.gemm import SystolicArray
from reference_impls.fpga.ports import IntArray
from reference_impls.fpga.requantise import Requantise, fixed_point
from reference_impls.fpga.simulate import simulate
from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.grid import affine_grid, symmetric_grid
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import straight_through
from reference_impls.kit.train import accuracy, train

PIXEL = 8  # the digits are integers from -8 to 8 over 8
Product = tuple[IntArray, IntArray]
Folded = tuple[Tensor, Tensor, int, bool]  # weight (n, c, K, K), bias (n,), padding, whether a ReLU follows


def network() -> nn.Sequential:
    """Return stem, fused block (4 to 16 by 3x3, to 8 by 1x1) and head: (N, 1, 8, 8) to logits (N, 10)."""
    shapes = ((1, 4, 3, 0), (4, 16, 3, 1), (16, 8, 1, 0))  # channels in and out, kernel, padding
    layers: list[nn.Module] = []
    for c, n, kernel, padding in shapes:
        layers += [nn.Conv2d(c, n, kernel, padding=padding, bias=False), nn.BatchNorm2d(n), nn.ReLU()]
    return nn.Sequential(*layers[:-1], nn.Flatten(), nn.Linear(8 * 36, 10))  # the projection stays linear


def filter_integers(w: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 weights and a scale for each filter."""
    grid = symmetric_grid(w, 8, dim=tuple(range(1, w.dim())))
    return grid.to_integers(w), grid.scale


def tensor_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return 8-bit activations less their zero point, and the scale, from the extremes."""
    grid = affine_grid(x.min(), x.max(), 8)
    return grid.to_integers(x) - int(grid.zero_point), grid.scale


def folded(trained: nn.Module) -> list[Folded]:
    """Return the trained layers as convolutions with batch norm folded in, the linear one over all 6 x 6 pixels."""
    parts, found = list(trained.children()), []
    for index, part in enumerate(parts):
        if isinstance(part, nn.Conv2d):
            norm, relu = parts[index + 1], isinstance(parts[index + 2], nn.ReLU)
            assert isinstance(norm, nn.BatchNorm2d)
            gain = norm.weight / (norm.get_buffer("running_var") + norm.eps).sqrt()
            bias = norm.bias - norm.get_buffer("running_mean") * gain
            found.append((part.weight * gain[:, None, None, None], bias, int(part.padding[0]), relu))
        elif isinstance(part, nn.Linear):
            found.append((part.weight.reshape(10, 8, 6, 6), part.bias, 0, False))
    return found


@dataclass(frozen=True, eq=False)
class Int8Convolution:
    """A convolution on integers, depthwise where its filters have fewer channels than the input."""

    weight: Tensor  # (n, c, K, K), int8
    bias: Tensor  # (n,), with what the zero point of the input adds
    padding: int  # pixels on each side
    zero: int  # what they are: the zero point of the input
    after: Requantise

    def padded(self, x: Tensor) -> Tensor:
        """(N, c, H, W) with its border."""
        return F.pad(x, 4 * (self.padding,), value=self.zero).double()

    def sums(self, x: Tensor) -> Tensor:
        """Return the products' sums for integers (N, c, H, W), without bias: (N, n, H', W')."""
        groups = x.shape[1] // self.weight.shape[1]
        return F.conv2d(self.padded(x), self.weight.double(), groups=groups).to(torch.int64)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the activations for integers (N, c, H, W): (N, n, H', W')."""
        sums = (self.sums(x) + self.bias[:, None, None]).movedim(1, -1)
        return torch.from_numpy(self.after.model(sums.reshape(len(x), -1).numpy())).reshape(sums.shape).movedim(-1, 1)

    def products(self, array: SystolicArray, x: Tensor) -> list[Product]:
        """Return the sums for one image (1, c, H, W) as matrix products, their outputs side by side."""
        columns = F.unfold(self.padded(x), self.weight.shape[-1])[0].T.to(torch.int64).numpy()  # (pixels, c K K)
        filters = self.weight.flatten(1).numpy()
        depthwise = self.weight.shape[1] < x.shape[1]
        return packed_depthwise(array, columns, filters) if depthwise else [(columns, filters.T)]


def quantize(layers: list[Folded], sample: Tensor) -> list[Int8Convolution]:
    """Return the layers in int8; `sample` (N, 1, 8, 8) shows the ranges of activations, its own step is 1 / `PIXEL`."""
    found: list[Int8Convolution] = []
    scale, zero = torch.tensor(1 / PIXEL), 0
    for real, real_bias, padding, relu in layers:
        sample = F.conv2d(sample, real, real_bias, padding=padding)
        sample = F.relu(sample) if relu else sample
        weight, steps = filter_integers(real)
        step, out = scale * steps.flatten(), affine_grid(sample.min(), sample.max(), 8)
        bias = torch.round(real_bias / step).to(torch.int64) - zero * weight.sum(dim=(1, 2, 3))
        multipliers, shift = fixed_point((step / out.scale).tolist(), 24)
        after = Requantise(multipliers, shift, int(out.zero_point) - 128, -128, 127, 32)
        found.append(Int8Convolution(weight, bias, padding, zero, after))
        scale, zero = out.scale, after.zero_point
    return found


def packed_depthwise(array: SystolicArray, columns: IntArray, weight: IntArray) -> list[Product]:
    """Return a depthwise convolution as products: windows (pixels, c K K) by filters (c, K K) on block diagonals."""
    channels, area = weight.shape
    together = max(1, min(array.rows // area, array.columns))
    products = []
    for first in range(0, channels, together):
        filters = weight[first : first + together]
        diagonal = np.zeros((filters.size, len(filters)), dtype=np.int64)
        for place, taps in enumerate(filters):
            diagonal[place * area : (place + 1) * area, place] = taps
        products.append((columns[:, first * area : first * area + filters.size], diagonal))
    return products


def execute(array: SystolicArray, products: list[Product]) -> tuple[list[IntArray], int]:
    """Simulate products one after another; return what they are and the cycles from first beat to last."""
    frames = [array.split(*product) for product in products]
    run = simulate(array, np.concatenate(frames))
    parts = np.split(run.outputs, np.cumsum([len(part) for part in frames])[:-1])
    joined = zip(parts, products, strict=True)
    return [array.join(part, len(a), len(w), w.shape[1]) for part, (a, w) in joined], run.cycles


def depthwise_cycles(array: SystolicArray, pixels: int, kernel: int, channels: int) -> int:
    """Return the cycles of a depthwise convolution by the formula."""
    together = max(1, min(array.rows // kernel**2, array.columns))
    tiles = -(-channels // together) * array.tiles(pixels, min(together, channels) * kernel**2, 1)
    return tiles * array.interval + array.rows + array.columns


def gain_of_fusing(array: SystolicArray, pixels: int, kernel: int, shape: tuple[int, int, int]) -> float:
    """Return the cycles of an inverted bottleneck over those of a fused one; `shape`: channels in, between, out."""
    c, between, n = shape
    last = array.cycles(pixels, between, n)
    separable = array.cycles(pixels, c, between) + depthwise_cycles(array, pixels, kernel, between)
    return (separable + last) / (array.cycles(pixels, kernel**2 * c, between) + last)


def separable_block(shape: tuple[int, int, int], seed: int) -> list[Int8Convolution]:
    """Return 1x1, depthwise 3x3 and 1x1 convolutions of random int8 filters; `shape`: channels in, between, out."""
    draw, (c, between, n) = torch.Generator().manual_seed(seed), shape
    sizes = ((between, c, 1, 1), (between, 1, 3, 3), (n, between, 1, 1))
    filters = [torch.randint(-127, 128, size, generator=draw) for size in sizes]
    after = [Requantise(np.ones(size[0], dtype=np.int64), 8, 0, -128, 127, 32) for size in sizes]
    return [Int8Convolution(w, w[:, 0, 0, 0] * 0, w.shape[-1] // 2, 0, r) for w, r in zip(filters, after, strict=True)]


def run_block(array: SystolicArray, layers: list[Int8Convolution], x: Tensor) -> tuple[int, int]:
    """Simulate layers on the integers of an image (1, c, H, W); return wrong sums and cycles."""
    wrong = cycles = 0
    for layer in layers:
        parts, taken = execute(array, layer.products(array, x))
        wrong += int((np.concatenate(parts, axis=1) != layer.sums(x)[0].flatten(1).T.numpy()).sum())
        cycles, x = cycles + taken, layer(x)
    return wrong, cycles


RECORD = "efficientnet-edgetpu"
SEEDS = range(6)
ARRAY = SystolicArray(18, 8, 36)
LARGE = SystolicArray(64, 64, 49)
# Pixels, kernel, channels in, between and out of the small model's stages, as its builder has them.
FUSED = ((12544, 3, (24, 96, 24)), (3136, 3, (24, 192, 32)), (784, 3, (32, 256, 48)))
DEPTHWISE = ((196, 5, (48, 384, 96)), (196, 5, (96, 768, 144)), (49, 5, (144, 1152, 192)))


def reproduce(seed: int) -> dict[str, float]:
    """Train the toy, quantize it, and run its fused block and a separable one of that shape on the array."""
    trained = train(network, seed)
    with torch.no_grad():
        layers = quantize(folded(trained), digits().train_x[:200])
    first = x = layers[0](torch.round(digits().test_x * PIXEL).to(torch.int64))
    for layer in layers[1:]:
        x = layer(x)
    hits = x.flatten(1).argmax(dim=1) == digits().test_y
    wrong, fused_cycles = run_block(ARRAY, layers[1:3], first[:1])
    also_wrong, separable_cycles = run_block(ARRAY, separable_block((4, 16, 8), seed), first[:1])
    fused, separable = (36 * 4 * 16 * 9 + 36 * 16 * 8, 36 * 16 * (4 + 9 + 8))  # multiplications
    return {
        "float_accuracy": accuracy(trained),
        "int8_accuracy": 100.0 * float(hits.float().mean()),
        "wrong_sums": float(wrong + also_wrong),
        "fused_cycles": float(fused_cycles),
        "separable_cycles": float(separable_cycles),
        "more_multiplications": fused / separable,
        "utilisation_ratio": (fused / fused_cycles) / (separable / separable_cycles),
        "least_gain_where_fused": min(gain_of_fusing(LARGE, *stage) for stage in FUSED),
        "greatest_gain_where_depthwise": max(gain_of_fusing(LARGE, *stage) for stage in DEPTHWISE),
    }


CLAIMS: tuple[Claim, ...] = (
    Difference("post-training-int8", "int8_accuracy", "float_accuracy", margin=-0.42),
    Exact("array-is-exact", "wrong_sums", "==", 0.0, unit="sums"),
    Difference("regular-runs-faster", "fused_cycles", "separable_cycles", direction="below", unit="cycles"),
    Exact("better-utilisation", "utilisation_ratio", ">=", 3.0, unit="x"),
    Exact("fused-where-it-pays", "least_gain_where_fused", ">=", "greatest_gain_where_depthwise", unit="x"),
)

QUANTIZERS = (
    Quantizer("weights", 8, lambda w: straight_through(w, mul(*filter_integers(w.detach()))), filter_integers),
    Quantizer("activations", 8, lambda x: straight_through(x, mul(*tensor_integers(x.detach()))), tensor_integers),
)

if __name__ == "__main__":
    raise SystemExit(main())
