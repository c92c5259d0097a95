r"""Heterogeneous binarization (Fromm, Patel, Philipose NeurIPS 2018): every single weight has its own number of bits.

Bits come whole, so between one and two bits per weight lies a gap in accuracy and a doubling in cost. In a circuit
each product can be built by itself, so nothing forces neighbours to be alike: a few weights get a second and a third
bit, most do not, and the average can be 1.4. What it takes is a way to choose who gets them.

Forward (Sec. 3): residual binarization under a map `bits` $M$ of the bits of each weight. With $E_1 = W$ and, for
$n = 1, 2, \ldots$, the mask $J_n = 1_{M \ge n}$ of those that still have a bit to spend,

$$ \mu_n = \frac{\sum |E_n| \circ J_n}{\sum J_n}, \qquad E_{n+1} = E_n - \mu_n\, \mathrm{sign}(E_n) \circ J_n, \qquad
   \hat W = \sum_n \mu_n\, \mathrm{sign}(E_n) \circ J_n $$

with means over a whole layer. Gradient: straight-through inside [-1, 1], $g_W = g_{\hat W}\, 1_{|W| \le 1}$. The map
is made anew in every forward pass: weights are ranked by a `key`, and shares of them, from the least key up, get one,
two and three bits. Middle-out ranks by the error that the first bit leaves,

$$ k_{middle} = \big|\, |W| - \mathrm{mean}|W| \,\big|, \qquad k_{top} = |W|, \qquad k_{bottom} = -|W| $$

so that weights near $\pm\mathrm{mean}|W|$ have one bit and both ends more. Top-down gives more bits to the largest
weights, bottom-up to the smallest, random to any. A dot product with signs is XNOR and popcount over granted bits.

Differences from the paper

1. (Sec. 3) The text could not be read. Means, residuals and gradient are those of the first author's TensorFlow
   operators, which take the map as given; that middle-out ranks by truncation error is from the abstract of an earlier
   version and a review. The keys, and whether top-down and bottom-up run this way round, are from memory.
2. (Sec. 3) The mix is not in the sources. Here an average of $1 + e$ has shares $1 - 3e/4$, $e/2$ and $e/4$ of one, two
   and three bits; for 1.4 that is 70, 20 and 10 %. Counts are rounded in each layer. One ranking serves all bits.
3. (Sec. 3) Random choice is drawn once per layer and kept. The sign of 0 is +1; the operators have -1.
4. (Sec. 4) 8x8 digits, an MLP with two hidden layers of 16 and real activations, 8 epochs; there ImageNet with AlexNet
   and MobileNet. "Equal" is read as within 1 point. The toy convolutional network serves `cnn_accuracy` only.
5. (Sec. 5) Circuits are not built: what is counted is products of one bit by one bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.models import QuantLinear, SmallCNN, conv_block, identity
from reference_impls.kit.packing import pack_signs, xnor_dot
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, train

WIDTHS = (64, 16, 16, 10)
EPOCHS, BATCH = 8, 128
MOST = 3  # bits of one weight
AVERAGE = 1.4
BUDGET_BITS = "w1.4afp"


def shares(average: float) -> tuple[float, ...]:
    """Return which shares of the weights get one, two and three bits; ValueError for an average outside 1 to 2."""
    if not 1 <= average <= 2:
        raise ValueError(f"the average must lie between 1 and 2 bits, got {average}")
    extra = average - 1
    return 1 - 0.75 * extra, 0.5 * extra, 0.25 * extra


def middle_out(W: Tensor) -> Tensor:
    """Return the error that the first bit leaves, any shape."""
    return (W.abs() - W.abs().mean()).abs()


def top_down(W: Tensor) -> Tensor:
    """Return magnitudes, so that the largest weights get most bits."""
    return W.abs()


def bottom_up(W: Tensor) -> Tensor:
    """Return negated magnitudes, so that the smallest weights get most bits."""
    return -W.abs()


def at_random(W: Tensor) -> Tensor:
    """Return numbers drawn for a shape, the same in every call and blind to the weights."""
    return torch.rand(W.shape, generator=torch.Generator().manual_seed(0))


Key = Callable[[Tensor], Tensor]


def bit_map(key: Tensor, average: float) -> Tensor:
    """Return the bits of each weight, 1 to 3 as int64: shares of an average, from the least key up, any shape."""
    ends = [round(end * key.numel()) for end in itertools.accumulate(shares(average)[:-1])]
    order = key.flatten().argsort(stable=True)
    bits = torch.ones_like(order)  # (n,)
    for end in ends:
        bits[order[end:]] += 1
    return bits.reshape(key.shape)


def residual_binarization(W: Tensor, bits: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the scales $\mu$ and the masked signs, -1, 0 or +1, of each bit (Sec. 3).

    Args:
        W: weights, any shape.
        bits: how many bits each has, same shape.

    Returns:
        scales, shape (most,), and signs, shape (most, *shape), for the most bits that any weight has.
    """
    residual, scales, signs = W, [], []
    for n in range(1, int(bits.max()) + 1):
        granted = (bits >= n).to(W.dtype)
        scales.append((residual.abs() * granted).sum() / granted.sum())
        signs.append(sign(residual) * granted)
        residual = residual - scales[-1] * signs[-1]
    return torch.stack(scales), torch.stack(signs)


def saturation(W: Tensor) -> Tensor:
    r"""Return $1_{|W| \le 1}$, bounds included."""
    return (W.abs() <= 1).to(W.dtype)


def approximate(W: Tensor, bits: Tensor) -> Tensor:
    """Return the sum of scaled signs in the shape of `W`, with the gradient of the whole inside [-1, 1]."""
    scales, signs = residual_binarization(W.detach(), bits)
    return straight_through(W, torch.tensordot(scales, signs, dims=1), saturation(W))


def quantize(W: Tensor, average: float = AVERAGE, key: Key = middle_out) -> Tensor:
    """Return weights with an average number of bits between 1 and 2, chosen by a key, any shape."""
    return approximate(W, bit_map(key(W.detach()), average))


def quantize_uniformly(W: Tensor, bits: int) -> Tensor:
    """Return weights with the same number of bits each: residual binarization as known before."""
    return approximate(W, torch.full(W.shape, bits))


def bitwise_dot(x: Tensor, W: Tensor, bits: Tensor) -> tuple[Tensor, int]:
    """Multiply signs by heterogeneous weights with XNOR and popcount over granted bits alone.

    Takes signs (m, n), weights (k, n) and their bits (k, n); returns products (m, k) and the number of one-bit
    products, which is m times the sum of bits.
    """
    scales, signs = residual_binarization(W, bits)
    total, count = torch.zeros(len(x), len(W)), 0
    for (mu, rows), k in itertools.product(zip(scales, signs, strict=True), range(len(W))):
        granted = rows[k] != 0
        left, right = x[:, granted].numpy(), rows[k : k + 1, granted].numpy()
        total[:, k] += mu * torch.from_numpy(xnor_dot(pack_signs(left), pack_signs(right), right.size))[:, 0]
        count += left.size
    return total, count


RECORD = "heterogeneous-bitwidth"
SEEDS = range(12)  # ten networks a seed


def mlp(quantizer: Callable[[Tensor], Tensor]) -> nn.Sequential:
    """Return layers of `WIDTHS` with batch norm and ReLU, (N, 1, 8, 8) to logits (N, 10)."""
    parts: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(WIDTHS):
        parts += [QuantLinear(fan_in, fan_out, quantizer), nn.BatchNorm1d(fan_out), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


KEYS: dict[str, Key] = {"middle_out": middle_out, "random": at_random, "top_down": top_down, "bottom_up": bottom_up}


def variants() -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the quantizer of each network, by metric: uniform bits, averages by middle-out, 1.4 bits by each key."""
    return {
        **{f"uniform_{bits}": partial(quantize_uniformly, bits=bits) for bits in (1, 2)},
        **{f"middle_out_1_{tenth}": partial(quantize, average=1 + tenth / 10) for tenth in (2, 4, 7)},
        **{f"{name}_1_4": partial(quantize, key=key) for name, key in KEYS.items() if key is not middle_out},
        "full_precision": identity,
    }


def relative_error(W: Tensor, approximation: Tensor) -> float:
    r"""Return $\|W - \hat W\|^2$ in percent of $\|W\|^2$."""
    return 100 * float((W - approximation).square().sum() / W.square().sum())


def approximation_errors(W: Tensor) -> dict[str, float]:
    """Return relative errors in percent of each choice at 1.4 bits, and the least of those that are not middle-out."""
    errors = {f"error_{name}": relative_error(W, quantize(W, key=key)) for name, key in KEYS.items()}
    return {**errors, "error_best_other": min(e for name, e in errors.items() if name != "error_middle_out")}


def bitwise_metrics(W: Tensor, seed: int) -> dict[str, float]:
    """Return how far bitwise and real products of a layer with random signs differ, and one-bit products per weight."""
    x = sign(torch.randn(50, W.shape[1], generator=torch.Generator().manual_seed(seed)))
    products, count = bitwise_dot(x, W, bit_map(middle_out(W), AVERAGE))
    expected = x @ quantize(W).T
    gap = float((products - expected).abs().max() / expected.abs().max())
    return {"bitwise_gap": gap, "bit_products_per_weight": count / (len(x) * W.numel())}


def reproduce(seed: int) -> dict[str, float]:
    """Train all variants on the digits; approximate normal numbers; run a trained layer bit by bit."""
    networks = {k: train(partial(mlp, q), seed, epochs=EPOCHS, batch=BATCH) for k, q in variants().items()}
    scores = {name: accuracy(network) for name, network in networks.items()}
    (_, layer, *_) = networks["middle_out_1_4"].children()
    W = next(layer.parameters()).detach()  # (16, 64)
    return {
        **scores,
        "in_proportion_1_4": 0.6 * scores["uniform_1"] + 0.4 * scores["uniform_2"],
        **approximation_errors(torch.randn(4096, generator=torch.Generator().manual_seed(seed))),
        **bitwise_metrics(W, seed),
        "cnn_accuracy": accuracy(train(lambda: SmallCNN(conv_block(quantize)), seed)),
    }


LEVEL = "Level on average; seeds vary so much that twelve hardly tell a point."
RANKED = "Any ranking by magnitude wins back most of what random choice loses; seeds vary by more than the rest."
CLAIMS: tuple[Claim, ...] = (
    Difference("one-point-four-bits-equal-two", "middle_out_1_4", "uniform_2", -1.0, remark=LEVEL),
    Difference("accuracy-grows-faster-than-bits", "middle_out_1_4", "in_proportion_1_4"),
    Difference("selection-matters", "middle_out_1_4", "random_1_4"),
    Difference("middle-out-beats-top-down", "middle_out_1_4", "top_down_1_4", remark=RANKED),
    Difference("middle-out-beats-bottom-up", "middle_out_1_4", "bottom_up_1_4", remark=RANKED),
    Difference("middle-out-approximates-best", "error_middle_out", "error_best_other", direction="below", unit="%"),
    Exact("fractional-average", "bit_products_per_weight", "==", AVERAGE, tolerance=1e-3, unit="bits"),
    Exact("bitwise-products", "bitwise_gap", "<=", 0.0, tolerance=1e-5),
)


def term_integers(W: Tensor, index: int) -> tuple[Tensor, Tensor]:
    """Return the masked signs of one bit of weights with 1.4 bits as int64, and its scale."""
    scales, signs = residual_binarization(W, bit_map(middle_out(W), AVERAGE))
    return signs[index].to(torch.int64), scales[index]


def term(W: Tensor, index: int) -> Tensor:
    """Return one bit's part of `quantize`; the first carries the gradient of the whole, the others none."""
    integers, mu = term_integers(W.detach(), index)
    return straight_through(W, mu * integers, saturation(W) * (index == 0))


QUANTIZERS = tuple(
    Quantizer(f"weights, bit {n + 1}", min(n + 1, 2), partial(term, index=n), partial(term_integers, index=n))
    for n in range(MOST)
)

if __name__ == "__main__":
    raise SystemExit(main())
