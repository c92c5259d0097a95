r"""ShiftCNN (Gudovskiy, Rigazio arXiv 2017): makes trained weights sums of a few signed powers of two.

Multipliers are what a convolution costs. A weight that is a sum of $N$ powers of two needs shifts and adders only, and
as there are few powers, all shifted versions of an input can be made once, before the convolution, which then only
selects and adds them. The codebook of term $n$ has $M = 2^B - 1$ entries, so a weight takes $N B$ bits:

$$ C_n = \{0,\ \pm 2^{-n+1},\ \pm 2^{-n},\ \ldots,\ \pm 2^{-n - \lfloor M/2 \rfloor + 2}\}, \qquad
   \hat w = \max|w| \sum_{n=1}^N C_n[\mathrm{id}_n] $$

The terms are found greedily. With $r_1 = w / \max|w|$, each takes the power nearest to the residual, leaving the rest,

$$ q_n = \mathrm{sign}(r_n)\, 2^{e_n}, \qquad e_n = \lfloor \log_2 |r_n| \rfloor + [\, |r_n| > 1.5 \cdot
   2^{\lfloor \log_2 |r_n| \rfloor} \,], \qquad r_{n+1} = r_n - q_n $$

and $q_n = 0$ where $e_n$ is below the codebook. The precomputed tensor holds an input $x$ times every entry of every
codebook, $M + 2 (N - 1)$ values of which $\lfloor M/2 \rfloor + N - 1$ differ in magnitude and one is $x$ itself; each
weight adds $N$ of them. Nothing is retrained: no gradient passes the quantizer. Names: `terms` $N$, `bits` $B$, `half`
$\lfloor M/2 \rfloor$, `last_exponent` $E = N + \lfloor M/2 \rfloor - 2$, `precompute` and `select` the two steps.

Differences from the paper

1. (Sec. 3.1) Codebooks and rounding are those of the authors' script and of notes on the paper, which was not at hand.
   One scale a layer, all convolutions and linear layers converted, batch norm left alone, as in the script.
2. (Sec. 3.2) Inputs are shifted to the left, so that all is integer. Product operations are counted as shifts: one for
   every magnitude but $x$ itself, once for each tensor, whichever layers read it. How the paper counts is not known.
3. (Sec. 4) 8x8 digits stand for ImageNet. The layer sizes for the count are those of the two networks in the script.
4. (Sec. 4) Power is not measured. Look-up-table positions of an ECP5 FPGA stand for it, without DSP blocks, for units
   of equal speed with weights in block memory. A weight selects its power with a barrel shifter of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.fpga.dot import Multiply, ShiftAdd
from reference_impls.fpga.matrix_vector import MatrixVector
from reference_impls.fpga.ports import IntArray
from reference_impls.fpga.simulate import simulate
from reference_impls.fpga.synthesis import synthesise
from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.grid import symmetric_grid
from reference_impls.kit.models import SmallCNN, conv_block
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import straight_through
from reference_impls.kit.train import accuracy, train

TERMS, BITS = 2, 4  # the authors' choice
Tensors = Iterator[tuple[int, int, list[tuple[int, int, int]]]]


def half(bits: int) -> int:
    """Return how many powers a codebook of `bits` bits has, signs and zero apart; ValueError below 2 bits."""
    if bits < 2:
        raise ValueError(f"a codebook needs 2 bits for a power and its sign, not {bits}")
    return (1 << (bits - 1)) - 1


def last_exponent(terms: int, bits: int) -> int:
    """Return E, where 2^-E is the least power of the last codebook."""
    return terms + half(bits) - 2


def nearest_exponent(r: Tensor) -> Tensor:
    """Return the exponent of the power of two nearest to |r| in value, the lower one half way; r is not 0."""
    mantissa, exponent = torch.frexp(r.abs())  # |r| = mantissa 2^exponent, mantissa in [1/2, 1)
    return exponent - 1 + (mantissa > 0.75)


def split(w: Tensor, terms: int, bits: int) -> Tensor:
    """Return the terms of w / max|w| in units of 2^-E, signed powers of two or 0, int64: (...) to (terms, ...)."""
    r, unit, found = w / w.abs().max().clamp_min(torch.finfo(w.dtype).tiny), last_exponent(terms, bits), []
    for n in range(1, terms + 1):
        exponent = nearest_exponent(r)
        held = (r != 0) & (exponent >= 2 - n - half(bits))
        q = torch.where(held, torch.sign(r) * torch.exp2(exponent.to(r.dtype)), 0.0)
        found.append((q * 2**unit).to(torch.int64))
        r = r - q
    return torch.stack(found)


def to_integers(w: Tensor, terms: int = TERMS, bits: int = BITS) -> tuple[Tensor, Tensor]:
    """Return weights in units of the least power, int64, and that unit."""
    w = w.detach()
    return split(w, terms, bits).sum(dim=0), w.abs().max() / 2 ** last_exponent(terms, bits)


def quantize(w: Tensor, terms: int = TERMS, bits: int = BITS) -> Tensor:
    """Return the sums of powers of two in place of the weights of a layer, any shape; no gradient passes."""
    integers, scale = to_integers(w, terms, bits)
    return straight_through(w, scale * integers, torch.zeros_like(w))


def round_plainly(w: Tensor, bits: int) -> Tensor:
    """Return weights rounded to a uniform symmetric grid of 2^bits - 1 levels."""
    return symmetric_grid(w, bits).quantize(w)


def converted(network: nn.Module, quantizer: Callable[[Tensor], Tensor]) -> nn.Module:
    """Return a copy whose convolutions and linear layers have quantized weights."""
    network = copy.deepcopy(network)
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.weight.data = quantizer(part.weight.detach())
    return network


def precompute(x: Tensor, terms: int, bits: int) -> tuple[Tensor, int]:
    """Return integers times every power, (E + 1, ...), and how many shifts that took."""
    shifted = torch.stack([x << s for s in range(last_exponent(terms, bits) + 1)])
    return shifted, shifted[1:].numel()


def select(shifted: Tensor, parts: Tensor) -> Tensor:
    """Convolve by adding: (E + 1, N, C, H, W) and terms (terms, out, C, K, K) to (N, out, H - K + 1, W - K + 1)."""
    size = parts.shape[-1]
    windows = shifted.unfold(-2, size, 1).unfold(-2, size, 1)  # (E + 1, N, C, H', W', K, K)
    columns = windows.permute(0, 1, 3, 4, 2, 5, 6).flatten(4)  # (E + 1, N, H', W', C K K)
    found = torch.zeros(*columns.shape[1:4], parts.shape[1], dtype=torch.int64)
    for term in parts.flatten(2):  # (out, C K K)
        for out, row in enumerate(term):
            used = torch.nonzero(row).flatten()
            exponent = torch.log2(row[used].abs().double()).round().to(torch.int64)
            chosen = columns[exponent, ..., used]  # (used, N, H', W')
            found[..., out] += (chosen * torch.sign(row[used]).reshape(-1, 1, 1, 1)).sum(dim=0)
    return found.permute(0, 3, 1, 2)


def squeezenet() -> Tensors:
    """Yield SqueezeNet 1.1: rows and channels of each tensor, and rows, channels and kernel of what reads it."""
    yield 227, 3, [(113, 64, 3)]
    fires = [(56, 64, 16), (56, 128, 16), (28, 128, 32), (28, 256, 32), (14, 256, 48), (14, 384, 48)]
    for side, channels, squeeze in [*fires, (14, 384, 64), (14, 512, 64)]:
        yield side, channels, [(side, squeeze, 1)]
        yield side, squeeze, [(side, 4 * squeeze, 1), (side, 4 * squeeze, 3)]
    yield 14, 512, [(14, 1000, 1)]


def resnet50() -> Tensors:
    """Yield ResNet-50, likewise."""
    yield 224, 3, [(112, 64, 7)]
    channels, side = 64, 56
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            small = side // 2 if width > 64 and block == 0 else side
            yield side, channels, [(small, width, 1), (small, 4 * width, 1)][: 2 if block == 0 else 1]
            yield small, width, [(small, width, 3)]
            yield small, width, [(small, 4 * width, 1)]
            channels, side = 4 * width, small
    yield 1, 2048, [(1, 1000, 1)]


def products_per_input(tensors: Tensors) -> float:
    """Return a network's multiplications over the elements of the tensors that they read."""
    products, elements = 0, 0
    for side, channels, readers in tensors:
        products += sum(rows**2 * outputs * kernel**2 * channels for rows, outputs, kernel in readers)
        elements += side**2 * channels
    return products / elements


def layer(weights: IntArray, *, shifts: bool) -> MatrixVector:
    """Return hardware for integer weights (out, inputs) on 8-bit inputs, one row and four columns at a time."""
    dot = (
        ShiftAdd(8, "unsigned", TERMS, last_exponent(TERMS, BITS)) if shifts else Multiply(8, "unsigned", TERMS * BITS)
    )
    return MatrixVector(weights, 8, "unsigned", 1, 4, dot=dot, rom="block")


def lut_positions() -> tuple[int, int]:
    """Return the logic of a layer with shifts and adders, and of one with multipliers of as many bits."""
    w = torch.randn(1, 64, generator=torch.Generator().manual_seed(0))
    plain = symmetric_grid(w, TERMS * BITS).to_integers(w)
    shift_add, multiply = layer(to_integers(w)[0].numpy(), shifts=True), layer(plain.numpy(), shifts=False)
    return synthesise(shift_add, dsp=False).logic, synthesise(multiply, dsp=False).logic


RECORD = "shiftcnn"
SEEDS = range(10)


def reproduce(seed: int) -> dict[str, float]:
    """Convert a trained network in several ways; run a layer by selection and in hardware; count."""
    network = train(lambda: SmallCNN(conv_block()), seed)
    w = next(part.weight for name, part in network.named_modules() if name == "blocks.1.1")  # (8, 4, 3, 3)
    parts, integers = split(w.detach(), TERMS, BITS), to_integers(w)[0]
    x = ((digits().test_x[:24] + 1) * 8).to(torch.int64).reshape(6, 4, 8, 8)
    right = F.conv2d(x.double(), integers.double()).to(torch.int64)
    frames = x[:, :, :3, :3].flatten(1)
    hardware = simulate(layer(integers.flatten(1).numpy(), shifts=True), frames.numpy()).outputs
    shift_add, multiply = lut_positions()
    least = min(products_per_input(tensors) for tensors in (squeezenet(), resnet50()))
    return {
        "full_precision": accuracy(network),
        "shiftcnn_8_bits": accuracy(converted(network, quantize)),
        "rounded_8_bits": accuracy(converted(network, lambda w: round_plainly(w, 8))),
        "shiftcnn_4_bits": accuracy(converted(network, lambda w: quantize(w, 1, 4))),
        "rounded_4_bits": accuracy(converted(network, lambda w: round_plainly(w, 4))),
        "wrong_selections": float((select(precompute(x, TERMS, BITS)[0], parts) != right).sum()),
        "wrong_in_hardware": float((hardware != right[:, :, 0, 0].numpy()).sum()),
        "least_products_saved": least / last_exponent(TERMS, BITS),
        "least_products_saved_if_a_shifter_makes_all_powers": least,
        "logic_saved": multiply / shift_add,
    }


ONE_TERM = (
    "A single power of two misses a weight by up to a third of its size, great weights too. The second term mends "
    "that, at twice the bits."
)
COUNT = (
    "Every shift counts as an operation here, and 1x1 convolutions use an input seldom. If all powers of an input, "
    "made at once by one shifter, count as one operation, the bound is met."
)
CELLS = (
    "Cells stand for power. Two barrel shifters take about as many as an 8-bit multiplier, whose rows of adders have "
    "carry chains of their own."
)
CLAIMS: tuple[Claim, ...] = (
    Difference("no-retraining", "shiftcnn_8_bits", "full_precision", margin=-1.0),
    Difference("uneven-codebook", "shiftcnn_4_bits", "rounded_4_bits", remark=ONE_TERM),
    Exact("select-and-add", "wrong_selections", "==", 0.0, unit="sums"),
    Exact("shifts-and-adders-only", "wrong_in_hardware", "==", 0.0, unit="sums"),
    Exact("fewer-products", "least_products_saved", ">=", 100.0, unit="x", remark=COUNT),
    Exact("less-power", "logic_saved", ">=", 4.0, unit="x", remark=CELLS),
)
QUANTIZERS = (Quantizer("weights", TERMS * BITS, quantize, to_integers),)

if __name__ == "__main__":
    raise SystemExit(main())
