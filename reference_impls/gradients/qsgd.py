r"""QSGD (Alistarh et al. NeurIPS 2017): gradients rounded at random to few levels, unbiased, then Elias-coded.

Workers that train one network together send each other a gradient every step, 32 bits a coordinate. QSGD sends
few bits and stays inside the theory of stochastic gradient descent, because its error has mean zero.

Forward (Sec. 3.1, Eq. 4), for a vector $v$ of $n$ coordinates and $s$ levels:

$$ Q_s(v_i) = \lVert v \rVert_2 \cdot \mathrm{sgn}(v_i) \cdot \xi_i, \qquad
   \xi_i = \begin{cases} (\ell + 1)/s & \text{with probability } p = s\,|v_i| / \lVert v \rVert_2 - \ell \\
                         \ell/s & \text{otherwise} \end{cases} $$

where $\ell = \lfloor s\,|v_i| / \lVert v \rVert_2 \rfloor$. Gradient: nobody differentiates $Q_s$, it is applied *to*
gradients; its expectation is the identity, so $\partial E[Q_s(v_i)] / \partial v_i = 1$.

Lemma 3.1 bounds error and nonzeros of $Q_s(v)$, Theorem 3.2 the bits of its message (`paper_bounds`): 32 for the norm,
and for each coordinate that is not 0 its distance from the last one, its sign and its level $s\,\xi_i$, both numbers
in the recursive (omega) code of Elias. Symbols: `place` $s\,|v_i| / \lVert v \rVert$; `integers` $\pm s\,\xi_i$; `unit`
$\lVert v \rVert / s$, which is what the 32 bits hold; `norm` 2 in the theory, infinity in the experiments (Sec. 4).

Differences from the paper

1. (Sec. 5) ResNets, AlexNet and LSTMs on 16 GPUs become a perceptron on the 8x8 digits with four workers simulated in
   one process: accuracy and bits (of the first step of every epoch) are measured, wall-clock time is not.
2. (Sec. 5) The paper's implementation sends integers of fixed width and leaves small matrices alone; here messages
   are Elias-coded, and the whole gradient is one vector cut into buckets.
3. (Sec. 4) A width of b bits includes the sign: $s = 2^{b-1} - 1$, that is 1 and 7 levels for 2 and 4 bits.
4. (Theorem 3.2, Corollary 3.3) The o(1) of the bound is taken as 0. The proceedings do not print the code for dense
   vectors: here each coordinate costs Elias(level + 1), and a bit for the sign where the level is not 0.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import straight_through
from reference_impls.kit.train import deterministic


def round_with(v: Tensor, s: int, uniform: Tensor, norm: float = 2.0) -> tuple[Tensor, Tensor]:
    r"""Quantize with given random numbers (Eq. 4): to level $\ell + 1$ where `uniform` lies below $p$.

    Returns signed levels as int64 and units of shape (..., 1), 0 for a zero vector; Q is their product.

    Args:
        v: vectors along the last axis, shape (..., n); ValueError if an entry is not finite.
        s: levels above zero; ValueError if there are none.
        uniform: numbers in [0, 1), broadcastable with `v`; 1/2 everywhere rounds to the nearest level, which is biased.
        norm: order of the norm that level `s` stands for: 2, or infinity for the greatest magnitude.
    """
    if s < 1 or not bool(torch.isfinite(v).all()):
        raise ValueError(f"QSGD needs at least one level, got {s}, and entries that are all finite")
    unit = torch.linalg.vector_norm(v, norm, dim=-1, keepdim=True) / s
    place = torch.clamp(v.abs() / torch.where(unit > 0, unit, 1.0), max=float(s))
    lower = torch.floor(place)
    return ((lower + (uniform < place - lower)) * torch.sign(v)).to(torch.int64), unit


def paper_bounds(n: int, s: int) -> tuple[float, float, float]:
    """Return the bounds on squared error, over that of v, and nonzeros (Lemma 3.1), and on bits (Theorem 3.2)."""
    nonzeros = s * (s + math.sqrt(n))
    bits = (3 + 1.5 * math.log2(2 * (s**2 + n) / nonzeros)) * nonzeros + 32
    return min(n / s**2, math.sqrt(n) / s), nonzeros, bits


def elias(k: int) -> str:
    """Return the recursive code of a positive integer: k after its own length, coded the same way, and a final 0."""
    code = "0"
    while k > 1:
        code, k = f"{k:b}{code}", k.bit_length() - 1
    return code


def read_elias(bits: str, at: int) -> tuple[int, int]:
    """Read one integer of the recursive code; returns it and where the next starts. ValueError if the bits end."""
    k = 1
    while bits[at : at + 1] == "1":
        at, k = at + k + 1, int(bits[at : at + k + 1], 2)
    if at >= len(bits):
        raise ValueError("the message ends within a number")
    return k, at + 1


def encode(integers: Tensor, unit: float) -> str:
    """Return the message of one vector (n,) as "0" and "1": 32 bits of unit, then gap, sign and level of nonzeros."""
    used = integers.nonzero().flatten()
    gaps, levels = used.diff(prepend=used.new_tensor([-1])).tolist(), integers[used].tolist()
    codes = (elias(gap) + "01"[k < 0] + elias(abs(k)) for gap, k in zip(gaps, levels, strict=True))
    return f"{int.from_bytes(struct.pack('>f', unit)):032b}" + "".join(codes)


def decode(message: str, n: int) -> tuple[Tensor, float]:
    """Return what `encode` sent: signed levels (n,) and the unit. ValueError if it is no message of n coordinates."""
    if len(message) < 32:
        raise ValueError("a message starts with 32 bits for its unit")
    (unit,) = struct.unpack(">f", int(message[:32], 2).to_bytes(4))
    integers, at, i = torch.zeros(n, dtype=torch.int64), 32, -1
    while at < len(message):
        gap, sign = read_elias(message, at)
        level, at = read_elias(message, sign + 1)
        i += gap
        if i >= n:
            raise ValueError(f"the message names coordinate {i + 1} of {n}")
        integers[i] = -level if message[sign] == "1" else level
    return integers, unit


def encode_dense(integers: Tensor, unit: float) -> str:
    """Return the message of one dense vector (n,): 32 bits of unit, then Elias(level + 1), and a sign if level > 0."""
    codes = (elias(abs(level) + 1) + "01"[level < 0] * (level != 0) for level in integers.tolist())
    return encode(integers[:0], unit) + "".join(codes)


RECORD, SEEDS = "qsgd", range(20)
WORKERS, BATCH, EPOCHS, RATE = 4, 16, 8, 0.8
SHAPES = ((64, 32), (1, 32), (32, 10), (1, 10))  # weights and biases of the perceptron, inputs first
N, GRID, DRAWS = 1024, 512, 32  # coordinates of the tried vectors, points over the random numbers, sampled messages
Variant = tuple[int, int, bool] | None  # levels, bucket size, whether to round to the nearest level; None: 32 bits
VARIANTS: dict[str, Variant] = {
    "full_precision": None,
    "qsgd_4bit": (7, 512, False),
    "qsgd_2bit": (1, 64, False),
    "nearest_2bit": (1, 64, True),
}


def start() -> Tensor:
    """Return the first parameters as one vector (n,): weights normal with variance 2 / inputs, biases 0."""
    return torch.cat([(torch.randn(i, o) * math.sqrt(2 / i) * (i > 1)).flatten() for i, o in SHAPES])


def logits(parameters: Tensor, x: Tensor) -> Tensor:
    """Return the outputs of one perceptron a worker: parameters (K, n) and inputs (K, B, 64) to (K, B, 10)."""
    parts = torch.split(parameters, [i * o for i, o in SHAPES], dim=1)
    w1, b1, w2, b2 = (part.reshape(-1, i, o) for part, (i, o) in zip(parts, SHAPES, strict=True))
    return torch.baddbmm(b2, F.relu(torch.baddbmm(b1, x, w1)), w2)


def worker_gradients(parameters: Tensor, chosen: Tensor) -> Tensor:
    """Return the gradient (K, n) that each worker finds on its own batch: parameters (n,), image numbers (K, B)."""
    copies = parameters.expand(len(chosen), -1).clone().requires_grad_()
    outputs = logits(copies, digits().train_x[chosen].flatten(2))
    loss = F.cross_entropy(outputs.flatten(0, 1), digits().train_y[chosen].flatten(), reduction="sum")
    return torch.autograd.grad(loss / chosen.shape[1], copies)[0]


def send(gradients: Tensor, variant: tuple[int, int, bool], generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Quantize gradients (K, n) in buckets; returns what is received, (K, n), and integers and units by bucket."""
    (s, bucket, nearest), n = variant, gradients.shape[1]
    v = F.pad(gradients, (0, -n % bucket)).reshape(len(gradients), -1, bucket)  # zeros fill the last bucket
    uniform = torch.full((1,), 0.5) if nearest else torch.rand(v.shape, generator=generator)
    integers, unit = round_with(v, s, uniform, math.inf)
    return (unit * integers).flatten(1)[:, :n], integers.flatten(0, 1), unit.flatten()


def train(variant: Variant, seed: int) -> tuple[float, float]:
    """Train with Algorithm 1, steps shrinking linearly; returns test accuracy in percent and bits a coordinate."""
    generator, sizes = torch.Generator().manual_seed(seed), list[float]()
    images, share = len(digits().train_x), WORKERS * BATCH
    with deterministic(seed):
        parameters = start()
        orders = torch.stack([torch.randperm(images)[: images // share * share] for _ in range(EPOCHS)])
        batches = orders.reshape(-1, WORKERS, BATCH)
        for step, chosen in enumerate(batches):
            received = worker_gradients(parameters, chosen)
            if variant is not None:
                received, integers, units = send(received, variant, generator)
                if step % (images // share) == 0:
                    bits = sum(len(encode(row, unit)) for row, unit in zip(integers, units.tolist(), strict=True))
                    sizes.append(bits / received.numel())
            parameters = parameters - RATE * (1 - step / len(batches)) * received.mean(dim=0)
    hits = logits(parameters[None], digits().test_x.flatten(1)[None])[0].argmax(dim=1) == digits().test_y
    return 100.0 * float(hits.float().mean()), sum(sizes) / len(sizes) if sizes else 32.0


def moments(v: Tensor, s: int) -> tuple[float, float, float]:
    """Return the greatest bias in levels, and error and nonzeros over their bounds, to 1 / (2 GRID) of a level."""
    integers, unit = round_with(v, s, ((torch.arange(GRID) + 0.5) / GRID)[:, None])  # (GRID, n)
    error = unit * integers - v
    variance, nonzeros, _ = paper_bounds(len(v), s)
    rows = error.mean(dim=0).abs().max() / unit, error.square().sum() / v.square().sum(), (integers != 0).sum()
    return float(rows[0]), float(rows[1]) / GRID / variance, float(rows[2]) / GRID / nonzeros


def bounds(seed: int) -> dict[str, float]:
    """Try the bounds on part of a first gradient, on a normal vector and on equal magnitudes; the worst counts."""
    generator, root = torch.Generator().manual_seed(seed), math.isqrt(N)
    with deterministic(seed):
        gradient = worker_gradients(start(), torch.arange(BATCH)[None])[0, :N]
        tried = {"gradient": gradient, "normal": torch.randn(N), "flat": torch.ones(N)}

    def mean_bits(v: Tensor, s: int, code: Callable[[Tensor, float], str]) -> float:
        integers, _ = round_with(v, s, torch.rand(DRAWS, N, generator=generator))
        return sum(len(code(row, 1.0)) for row in integers) / DRAWS

    rows = [moments(v, s) for v in tried.values() for s in (1, 2, 7, root)]
    metrics = dict(zip(("bias", "variance_to_bound", "nonzeros_to_bound"), map(max, *rows), strict=True))
    ratios = [mean_bits(v, s, encode) / paper_bounds(N, s)[2] for v in tried.values() for s in (2, 7)]
    dense = {f"dense_{name}": (mean_bits(v, root, encode_dense) - 32) / N for name, v in tried.items()}
    return metrics | dense | {"code_to_bound": max(ratios), "dense_worst": max(dense.values())}


def reproduce(seed: int) -> dict[str, float]:
    """Train with every way of sending gradients (accuracy in percent, bits a coordinate), and try the bounds."""
    trained = {name: train(variant, seed) for name, variant in VARIANTS.items()}
    metrics = {name: accuracy for name, (accuracy, _) in trained.items()}
    return metrics | {f"bits_{name}": bits for name, (_, bits) in trained.items()} | bounds(seed)


DENSE = "Equal magnitudes fall on level 1, which takes 3 bits and a sign; 2.8 leaves out lower-order terms of the code."
TWO_BITS = "Among 2,410 parameters and 144 steps the noise of 2-bit gradients costs at most a few tenths of a point."
CLAIMS: tuple[Claim, ...] = (
    Exact("unbiased", "bias", "==", 0.0, 1 / (2 * GRID) + 1e-5, "levels"),
    Exact("variance-bound", "variance_to_bound", "<=", 1.0, 1 / (2 * GRID)),
    Exact("sparsity-bound", "nonzeros_to_bound", "<=", 1.0, 1 / (2 * GRID)),
    Exact("sparse-code-length", "code_to_bound", "<=", 1.0),
    Exact("code-length", "dense_worst", "<=", 2.8, 0.0, "bits", DENSE),
    Difference("accuracy-kept", "qsgd_4bit", "full_precision", margin=-0.5),
    Difference("two-bits-lose-accuracy", "qsgd_2bit", "full_precision", 0.0, "below", remark=TWO_BITS),
    Difference("unbiasedness-matters", "qsgd_2bit", "nearest_2bit"),
    Exact("eightfold-compression", "bits_qsgd_4bit", "<=", 4.0, 0.0, "bits"),
)


def offered(v: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Return integers and unit of a b-bit quantizer, with the same random numbers at every call."""
    uniform = torch.rand(v.shape, generator=torch.Generator().manual_seed(0))
    return round_with(v.detach(), 2 ** (bits - 1) - 1, uniform, math.inf)


def quantize(v: Tensor, bits: int) -> Tensor:
    """Return unit times integers of `offered`; the gradient is that of the expectation, 1."""
    integers, unit = offered(v, bits)
    return straight_through(v, unit * integers)


QUANTIZERS = tuple(Quantizer("gradients", b, partial(quantize, bits=b), partial(offered, bits=b)) for b in (2, 4))

if __name__ == "__main__":
    raise SystemExit(main())
