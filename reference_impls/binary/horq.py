r"""HORQ (Li et al. ICCV 2017): inputs as a sum of scaled signs, each of what the signs before it left over.

XNOR-Net replaces the inputs of a convolution by their signs and a scale, which is the first term of a series. The next
term binarizes the residual in the same way, and so on: with each order the input is approximated better, and every term
is still a binary convolution. Two orders cost twice the work of XNOR-Net and keep much of its speed.

Inputs (Sec. 3.1 and 3.2): the convolution becomes a product of matrices, with a column $X$ of $n = c\,w\,h$ numbers for
each position, and each column is expanded by itself to order $K$:

$$ R_0 = X, \qquad H_i = \mathrm{sign}(R_{i-1}), \quad \beta_i = \tfrac1n \|R_{i-1}\|_{\ell_1}, \quad
   R_i = R_{i-1} - \beta_i H_i, \qquad X \approx \sum_{i=1}^K \beta_i H_i $$

Each term is the least-squares best for its residual, so $\|R_i\|^2 = \|R_{i-1}\|^2 - n \beta_i^2$ never grows: the
guarantee of the title. Weights are XNOR-Net's, $W \approx \alpha B$ per filter with $B = \mathrm{sign}(W)$ and
$\alpha = \|W\|_{\ell_1} / n$. The layer is $\sum_i \alpha \beta_i\, (H_i \circledast B)$ by XNOR and popcount;
order 1 is XNOR-Net.

Gradients (Sec. 3.4): $g_W = g_{\alpha B} (1/n + \alpha\, 1_{|W| \le 1})$ as in XNOR-Net. Each sign passes the gradient
where its argument lies in [-1, 1]; through the recursion, scales held fixed, that gives

$$ g_X = g \Big(1 - \prod_{i=1}^K \big(1 - \beta_i 1_{|R_{i-1}| \le 1}\big)\Big) $$

Names: `residual` $R$, `signs` $H$, `scale` $\beta$, `filter_scale` $\alpha$.

Differences from the paper

1. (Sec. 3.4) The full text was not at hand: recursion, cost and speed-ups come from the abstract and a third party's
   summary, section numbers partly too. How the gradients of the orders combine is not told there; the chain rule on
   the recursion is used, which for order 1 is the clipped gradient of XNOR-Net with its scale held fixed.
2. (Sec. 3.1) Positions beyond the border have no sign, and count as zeros in $\beta$, as in XNOR-Net's box filter.
3. (Sec. 4) 8x8 digits, two quantized convolutions of width 4, 8 epochs of Adam; there MNIST and CIFAR-10. First and
   last layer stay real.
4. (Sec. 4.3) The summary gives the cost of order K as K times the binary plus K + 1 times the real operations, and the
   speed-ups, but not the layer. 128 channels and 3x3 filters give all four numbers, and are assumed.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import Block, QuantConv2d, SmallCNN, conv_block
from reference_impls.kit.packing import pack_signs, xnor_dot
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, train

EPOCHS = 8
BUDGET_BITS = "w1a2"
WORD = 64  # binary operations in the time of a real one
SPEEDUPS = (58, 30, 20, 15)  # printed for orders 1 to 4


Terms = list[tuple[Tensor, Tensor, Tensor]]


def expand(x: Tensor, order: int, inside: Tensor | None = None) -> Terms:
    r"""Expand columns into scaled signs (Sec. 3.2).

    Args:
        x: columns, shape (N, n, ...), axis 1 running along each column; 0 where `inside` is 0.
        order: number of terms; ValueError below 1.
        inside: 1 where the input has a value, 0 beyond its border, broadcast to `x`; 1 everywhere if not given.

    Returns:
        for each order the scale $\beta$ (N, 1, ...), the signs $H$, and the residual $R$ that they approximate, as `x`.
    """
    if order < 1:
        raise ValueError(f"the order must be at least 1, got {order}")
    terms, residual = [], x
    ones = torch.ones_like(x) if inside is None else inside
    for _ in range(order):
        scale = residual.abs().mean(dim=1, keepdim=True)
        signs = torch.copysign(ones, residual + 0.0)  # + 0.0 turns -0 into 0, whose sign is +1
        terms.append((scale, signs, residual))
        residual = residual - scale * signs
    return terms


def approximation(terms: Terms) -> Tensor:
    r"""Return $\sum_i \beta_i H_i$, (N, n, ...)."""
    return torch.stack([scale * signs for scale, signs, _ in terms]).sum(dim=0)


def slope(terms: Terms) -> Tensor:
    r"""Return $1 - \prod_i (1 - \beta_i 1_{|R_{i-1}| \le 1})$, the factor of the gradient, (N, n, ...)."""
    blocked = torch.ones_like(terms[0][2])
    for scale, _, residual in terms:
        blocked = blocked * (1 - scale * (residual.abs() <= 1))
    return 1 - blocked


def quantize_input(x: Tensor, order: int, inside: Tensor | None = None) -> Tensor:
    """Return the expansion of columns (N, n, ...) to this order, with the gradient of `slope`."""
    terms = expand(x.detach(), order, inside)
    return straight_through(x, approximation(terms), slope(terms))


def filter_scale(W: Tensor) -> Tensor:
    r"""Return $\alpha$, the mean magnitude of each filter: (out, ...) to (out, 1, ...)."""
    return W.abs().mean(dim=tuple(range(1, W.dim())), keepdim=True)


def binarize_weight(W: Tensor) -> Tensor:
    r"""Return $\alpha\, \mathrm{sign}(W)$ per filter, (out, ...), with XNOR-Net's gradient."""
    return straight_through(W, filter_scale(W) * sign(W), 1 / W[0].numel() + filter_scale(W) * (W.abs() <= 1))


def columns(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the 3x3 windows (N, 9 c, H W) of inputs (N, c, H, W) with padding 1, and which values lie inside."""
    return F.unfold(x, 3, padding=1), F.unfold(torch.ones_like(x[:1]), 3, padding=1)


class HighOrderConv2d(QuantConv2d):
    """A convolution with binary weights and inputs expanded to some order."""

    def __init__(self, in_channels: int, out_channels: int, order: int) -> None:
        super().__init__(in_channels, out_channels, binarize_weight)
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W)."""
        windows, inside = columns(x)
        product = self.quantizer(self.weight).flatten(1) @ quantize_input(windows, self.order, inside)  # (N, out, H W)
        return product.reshape(len(x), -1, *x.shape[2:])


def xnor_convolution(x: Tensor, W: Tensor) -> Tensor:
    """Return XNOR-Net's convolution as that paper writes it, with its box filter: (N, c, H, W) to (N, out, H, W)."""
    box = torch.full((1, 1, 3, 3), 1 / 9, dtype=x.dtype)
    K = F.conv2d(x.abs().mean(dim=1, keepdim=True), box, padding=1)  # (N, 1, H, W)
    return F.conv2d(sign(x), filter_scale(W) * sign(W), padding=1) * K


def bitwise_product(x: Tensor, W: Tensor, order: int) -> Tensor:
    """Multiply by XNOR and popcount, term by term (Sec. 3.3): columns (N, n, L), filters (out, n) to (N, out, L)."""
    packed, total = pack_signs(sign(W).numpy()), torch.zeros(len(x) * x.shape[2], len(W))
    for scale, signs, _ in expand(x, order):
        rows = signs.transpose(1, 2).flatten(0, 1)  # (N L, n)
        dots = torch.from_numpy(xnor_dot(pack_signs(rows.numpy()), packed, W.shape[1]))  # (N L, out)
        total += scale.transpose(1, 2).flatten(0, 1) * dots
    return (total * filter_scale(W).T).reshape(len(x), -1, len(W)).transpose(1, 2)


def residual_errors(x: Tensor, inside: Tensor, orders: int = 4) -> tuple[dict[str, float], float]:
    r"""Return $\|R_i\|^2$ in percent of $\|X\|^2$ by order, and how many columns' residual grew in any step."""
    squares = [term[2].square().sum(dim=1) for term in expand(x, orders + 1, inside)]  # R_0 to R_orders: (N, L)
    errors = {f"error_{i}": 100 * float(squares[i].sum() / squares[0].sum()) for i in range(1, orders + 1)}
    grown = torch.stack([after > before * (1 + 1e-6) for before, after in itertools.pairwise(squares)])
    return errors, float(grown.any(dim=0).sum())


def speedup(order: int, channels: int = 128, area: int = 9) -> float:
    """Return real multiplications over the cost of an order, in real operations (Sec. 4.3): see difference 4."""
    products = channels * area
    return products / (order * products / WORD + order + 1)


RECORD = "horq"
SEEDS = range(8)  # five convolutional networks a seed, three of them with expanded inputs


def high_order_block(order: int) -> Block:
    """Return a block in XNOR-Net's order, B-A-C-P entered after its batch norm, with inputs of this order."""

    def block(in_channels: int, out_channels: int) -> nn.Module:
        conv = HighOrderConv2d(in_channels, out_channels, order)
        return nn.Sequential(conv, nn.MaxPool2d(2), nn.BatchNorm2d(out_channels))

    return block


def variants() -> dict[str, Block]:
    """Return the blocks of the method and of what it is compared with, by metric; order 1 is XNOR-Net."""
    orders = {f"order_{order}": high_order_block(order) for order in (1, 2, 3)}
    return {**orders, "real_inputs": conv_block(binarize_weight), "full_precision": conv_block()}


def exactness(x: Tensor, W: Tensor) -> dict[str, float]:
    """Compare order 1 with XNOR-Net, and popcounts with real products: inputs (N, c, H, W), filters (out, c, 3, 3)."""
    conv = HighOrderConv2d(W.shape[1], len(W), 1).requires_grad_(False)
    conv.weight.data = W
    expected = xnor_convolution(x, W)
    windows, filters = F.unfold(x, 3), W.flatten(1)
    real = binarize_weight(filters) @ quantize_input(windows, 2)
    return {
        "xnor_net_gap": float((conv(x) - expected).abs().max() / expected.abs().max()),
        "bitwise_gap": float((bitwise_product(windows, filters, 2) - real).abs().max() / real.abs().max()),
    }


def reproduce(seed: int) -> dict[str, float]:
    """Train all variants on the digits; expand the inputs that the trained network of order 2 sees."""
    networks = {k: cast("SmallCNN", train(partial(SmallCNN, b), seed, epochs=EPOCHS)) for k, b in variants().items()}
    scores = {name: accuracy(trained) for name, trained in networks.items()}
    with torch.no_grad():
        x = networks["order_2"].stem(digits().test_x)
        conv = cast("HighOrderConv2d", cast("nn.Sequential", networks["order_2"].blocks[0])[0])
        errors, grown = residual_errors(*columns(x))
        exact = exactness(x[:64], conv.weight)
    misses = [abs(speedup(order) - printed) for order, printed in enumerate(SPEEDUPS, start=1)]
    own = {"cnn_accuracy": scores["order_2"], "grown_columns": grown, "speedup_miss": max(misses)}
    return {**scores, **own, **errors, **exact}


NARROW = "Binary weights alone, with real inputs (metric real_inputs), cost as much at width 4."
CLAIMS: tuple[Claim, ...] = (
    Exact("residual-shrinks", "grown_columns", "==", 0.0, unit="columns"),
    Difference("second-order-is-closer", "error_2", "error_1", direction="below", unit="%"),
    Exact("order-one-is-xnor-net", "xnor_net_gap", "<=", 0.0, tolerance=1e-5),
    Exact("binary-filtering", "bitwise_gap", "<=", 0.0, tolerance=1e-5),
    Difference("mnist", "order_2", "order_1"),
    Difference("third-order-helps", "order_3", "order_2"),
    Difference("near-full-precision", "order_2", "full_precision", -2.0, remark=NARROW),
    Exact("speed-up-by-order", "speedup_miss", "<=", 0.5, unit="x"),
)


def term_integers(x: Tensor, index: int) -> tuple[Tensor, Tensor]:
    """Return the signs of one term, counted from 0, as int64, and its scale."""
    scale, signs, _ = expand(x, index + 1)[index]
    return signs.to(torch.int64), scale


def term(x: Tensor, index: int) -> Tensor:
    r"""Return the term $\beta_i H_i$ of `quantize_input`, with its part of the gradient."""
    terms = expand(x.detach(), index + 1)
    earlier = slope(terms[:-1]) if index else torch.zeros_like(x)
    scale, signs, _ = terms[index]
    return straight_through(x, scale * signs, slope(terms) - earlier)


def weight_integers(W: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs of weights as int64 and the scale of each filter."""
    return sign(W).to(torch.int64), filter_scale(W)


INPUTS = ((f"inputs, term {i + 1}", 1, partial(term, index=i), partial(term_integers, index=i)) for i in range(3))
QUANTIZERS = (*(Quantizer(*row) for row in INPUTS), Quantizer("weights", 1, binarize_weight, weight_integers))

if __name__ == "__main__":
    raise SystemExit(main())
