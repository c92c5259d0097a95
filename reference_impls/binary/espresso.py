r"""Espresso (Pedersoli, Tzanetakis, Tagliasacchi ICLR 2018): runs a trained binary network on 64-bit words alone.

Bits that are stored and multiplied as floats save nothing. This inference library keeps weights and activations packed
and turns dense and convolutional layers into one binary matrix product.

Forward, for sign vectors of length $n$, bit 1 for +1 and bit 0 for -1:

$$ a \cdot b = n - 2\, \mathrm{popcount}(a \oplus b) $$

Layout: a tensor of M x N pixels and L channels keeps a pixel's channels together, value $(i, j, k)$ at place
$(i N + j) L + k$, and packs along them, $\lceil L / 64 \rceil$ words a pixel. So unrolling the windows of a convolution
("lowering") copies words and shifts no bit. Padding has no bit for 0: it is run as -1, and a matrix that depends on
the weights alone puts right what that changed,

$$ y = (x_{\text{-1 outside}} * w) + (1_{\text{outside}} * w) $$

The first layer reads integers of several bits, plane by plane; $\nu$ maps them to reals, $v / \nu - 1$:

$$ x \cdot w = \frac1\nu \sum_n 2^n \langle v^n, w \rangle - \sum_j w_j, \qquad
   \langle v^n, w \rangle = \mathrm{popcount}(v^n \wedge w) - \mathrm{popcount}(v^n \wedge \neg w) $$

Batch norm works on the sums, in floats, and the next sign packs them again. Espresso has no gradient: the toy network
is trained as BNN is, with $g_x = g_{\mathrm{sign}(x)}\, 1_{|x| \le 1}$.

Names: `binary_gemm`, `plane_gemm` the products, `NORM` $\nu$, `padding_correction` $1_{\text{outside}} * w$. Formulas
are those of the authors' CUDA code, the correction is the paper's from memory, as are section numbers.

Differences from the paper

1. (Sec. 6) Only exactness and counts are measured, in numpy, on an all-binary network for 8x8 digits with 5 planes and
   $\nu = 8$; there time and memory, on GPU and CPU, with 8 planes. `cnn_accuracy` is left out: Espresso does not train.
2. (Sec. 5) The code asks for multiples of 64 channels; here any number goes, spare bits are 0 in both operands.
3. (Sec. 5) Pixels beyond the border are $\nu$, which stands for 0, in the first layer; the code takes 0, that is -1.
   $\mathrm{sign}(0)$ is +1, as in the other methods here; in the code it is -1.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import QuantConv2d, QuantLinear
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, train

WORD = 64
PLANES = 5  # the digits are integers 0 to 16
NORM = 8

Words = NDArray[np.uint64]
Integers = NDArray[np.int64]


def pack(bits: NDArray[np.bool_]) -> Words:
    """Pack bits along the last axis into words, first bit lowest, zeros at the end: (..., n) to (..., ceil(n / 64))."""
    spare = [(0, 0)] * (bits.ndim - 1) + [(0, -bits.shape[-1] % WORD)]
    return np.packbits(np.pad(bits, spare), axis=-1, bitorder="little").view("<u8").astype(np.uint64)


def bit_planes(v: Integers, bits: int) -> Words:
    """Return the packed bit planes of integers, lowest first: (..., n) to (bits, ..., words); ValueError if too few."""
    if v.min() < 0 or v.max() >= 2**bits:
        raise ValueError(f"values must lie in 0..{2**bits - 1} for {bits} bits, got {v.min()}..{v.max()}")
    return np.stack([pack(v >> bit & 1 == 1) for bit in range(bits)])


def ones(words: Words) -> Integers:
    """Count the ones along the last axis."""
    counts: Integers = np.bitwise_count(words).sum(axis=-1, dtype=np.int64)
    return counts


def binary_gemm(a: Words, b: Words, length: int) -> Integers:
    """Return dot products of sign vectors of `length`: (..., words) and (out, words) to (..., out)."""
    return length - 2 * ones(a[..., None, :] ^ b)


def plane_gemm(v: Words, w: Words) -> Integers:
    """Return dot products of bits 0 and 1 with signs: (..., words) and (out, words) to (..., out)."""
    return ones(v[..., None, :] & w) - ones(v[..., None, :] & ~w)


def lower(x: NDArray[Any], size: int, border: int = 0) -> NDArray[Any]:
    """Unroll the windows around all pixels, `border` beyond the edge: (..., M, N, X) to (..., M, N, size size X)."""
    by, (rows, columns) = size // 2, x.shape[-3:-1]
    x = np.pad(x, [(0, 0)] * (x.ndim - 3) + [(by, by), (by, by), (0, 0)], constant_values=border)
    return np.concatenate([x[..., i : i + rows, j : j + columns, :] for i in range(size) for j in range(size)], axis=-1)


def padding_correction(w: Integers, rows: int, columns: int) -> Integers:
    """Return what weights (out, size, size, L) sum to outside the border around each pixel: (rows, columns, out)."""
    outside = lower(np.zeros((rows, columns, 1), np.int64), w.shape[1], border=1)
    correction: Integers = outside @ w.sum(axis=-1).reshape(len(w), -1).T
    return correction


def first_convolution(v: Integers, w: Integers) -> NDArray[np.float64]:
    """Convolve integers (N, M, N, L) with signs (out, size, size, L) plane by plane: (N, M, N, out)."""
    weights, planes = pack(w.reshape(len(w), -1) > 0), bit_planes(lower(v, w.shape[1], border=NORM), PLANES)
    sums = np.sum([2**bit * plane_gemm(plane, weights) for bit, plane in enumerate(planes)], axis=0)
    products: NDArray[np.float64] = sums / NORM - w.sum(axis=(1, 2, 3))
    return products


def convolution(x: Words, w: Integers, *, correct: bool = True) -> Integers:
    """Convolve packed signs (N, M, N, X) with signs (out, size, size, L), zeros outside: (N, M, N, out)."""
    sums = binary_gemm(lower(x, w.shape[1]), pack(w > 0).reshape(len(w), -1), w[0].size)
    return sums + padding_correction(w, *x.shape[1:3]) if correct else sums


def dense(x: Words, w: Integers) -> Integers:
    """Multiply packed signs (N, M, N, X) by signs (out, M, N, L): (N, out)."""
    return binary_gemm(x.reshape(len(x), -1), pack(w > 0).reshape(len(w), -1), w[0].size)


def words_per_window(rows: int, columns: int, channels: int, *, interleaved: bool) -> int:
    """Count the words under a 3x3 window, a pixel's channels together (`interleaved`) or each channel a plane."""
    window = product(range(rows // 2 - 1, rows // 2 + 2), range(columns // 2 - 1, columns // 2 + 2), range(channels))
    places = ((i * columns + j) * channels + k if interleaved else (k * rows + i) * columns + j for i, j, k in window)
    return len({place // WORD for place in places})


def binarize_weight(w: Tensor) -> Tensor:
    """Return the signs of latent weights, any shape; the gradient passes whole."""
    return straight_through(w, sign(w))


def binarize(x: Tensor) -> Tensor:
    r"""Return the signs of activations, any shape; the gradient passes where $|x| \le 1$."""
    return straight_through(x, sign(x), (x.abs() <= 1).to(x.dtype))


def channels_last(x: Tensor) -> NDArray[Any]:
    """Return Espresso's order of a tensor: (N, L, ...) to (N, ..., L)."""
    return x.movedim(1, -1).numpy()


class Sign(nn.Module):
    """`binarize` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return binarize(x)


def toy_network() -> nn.Sequential:
    """Return an all-binary network, (N, 1, 8, 8) to logits (N, 10), latent weights spread over [-1, 1]."""
    network = nn.Sequential(
        *(QuantConv2d(1, 8, binarize_weight), nn.BatchNorm2d(8), Sign()),
        *(QuantConv2d(8, 16, binarize_weight), nn.MaxPool2d(2), nn.BatchNorm2d(16), Sign()),
        *(nn.Flatten(), QuantLinear(256, 10, binarize_weight), nn.BatchNorm1d(10)),
    )
    for w in latent_weights(network):
        nn.init.uniform_(w, -1, 1)
    return network


def latent_weights(network: nn.Module) -> list[Tensor]:
    """Return the real weights behind the binary ones."""
    return [part.weight for part in network.modules() if isinstance(part, QuantConv2d | QuantLinear)]


def clip_weights(network: nn.Module, _step: int, _steps: int) -> None:
    """Put latent weights back into [-1, 1] after an update, as BNN does."""
    for w in latent_weights(network):
        w.data.clamp_(-1, 1)


def run_packed(network: nn.Sequential, x: Tensor, *, correct: bool = True) -> tuple[Tensor, list[int]]:
    """Run the toy network on words, (N, 1, 8, 8) to logits (N, 10), and count each layer's sums that floats deny."""
    words: Words = np.empty(0, np.uint64)
    wrong: list[int] = []
    for part in network:
        if not isinstance(part, QuantConv2d | QuantLinear):
            x = part(x)
            words = pack(channels_last(x > 0)) if isinstance(part, Sign) else words
            continue
        w = sign(part.weight.detach()).to(torch.int64)  # (out, L, size, size) or (out, L M N)
        if isinstance(part, QuantLinear):
            sums: NDArray[Any] = dense(words, channels_last(w.reshape(len(w), -1, *words.shape[1:3])))
        elif wrong:
            sums = convolution(words, channels_last(w), correct=correct)
        else:
            sums = first_convolution(channels_last(((x + 1) * NORM).to(torch.int64)), channels_last(w))
        result = torch.from_numpy(sums).to(x.dtype).movedim(-1, 1)  # (N, out, M, N) or (N, out)
        wrong.append(int((result != part(x)).sum()))
        x = result
    return x, wrong


def memory_saving(*shape: int) -> float:
    """Return bytes of a float32 tensor, channels last, over those of its packed signs."""
    return 4 * math.prod(shape) / pack(np.ones(shape, np.bool_)).nbytes


RECORD = "espresso"
SEEDS = range(20)


def reproduce(seed: int) -> dict[str, float]:
    """Train an all-binary network, run it on words, and count what packing saves in a layer of 128 channels."""
    network = cast("nn.Sequential", train(toy_network, seed, after_step=clip_weights))
    with torch.no_grad():
        logits, wrong = run_packed(network, digits().test_x)
        uncorrected = run_packed(network, digits().test_x, correct=False)[1]
    return {
        "float_accuracy": accuracy(network),
        "packed_accuracy": 100.0 * float((logits.argmax(dim=1) == digits().test_y).float().mean()),
        "first_layer_differences": float(wrong[0]),
        "packed_differences": float(sum(wrong)),
        "uncorrected_differences": float(sum(uncorrected)),
        "weight_saving": memory_saving(128, 3, 3, 128),
        "activation_saving": memory_saving(1, 8, 8, 128),
        "products_per_word": 9 * 128 / lower(pack(np.ones((3, 3, 128), np.bool_)), 3).shape[-1],
        "words_per_window": float(words_per_window(32, 32, 128, interleaved=True)),
        "words_per_window_in_planes": float(words_per_window(32, 32, 128, interleaved=False)),
    }


CLAIMS: tuple[Claim, ...] = (
    Exact("packed-is-exact", "packed_differences", "==", 0.0, unit="sums"),
    Exact("packed-keeps-accuracy", "packed_accuracy", "==", "float_accuracy", unit="%"),
    Exact("first-layer-by-bit-planes", "first_layer_differences", "==", 0.0, unit="sums"),
    Difference("padding-is-corrected", "uncorrected_differences", "packed_differences", unit="sums"),
    Exact("packing-saves-memory", "weight_saving", "==", 32.0, unit="x"),
    Exact("activations-stay-packed", "activation_saving", "==", 32.0, unit="x"),
    Exact("a-word-for-64-products", "products_per_word", "==", 64.0, unit="products"),
    Exact("channels-lie-together", "words_per_window", "<=", "words_per_window_in_planes", unit="words"),
)


def to_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs as int64 and the scale 1."""
    return sign(x).to(torch.int64), torch.ones((), dtype=x.dtype)


QUANTIZERS = (Quantizer("weights", 1, binarize_weight, to_integers), Quantizer("activations", 1, binarize, to_integers))

if __name__ == "__main__":
    raise SystemExit(main())
