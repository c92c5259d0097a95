r"""APoT (Li et al. ICLR 2020): quantization levels that are sums of a few powers of two.

Weights and activations are bell-shaped: even levels waste resolution on the tails. Powers of two fit the shape and
make products shifts, but more bits only add levels next to zero. Sums of n powers, n shifts a product, spread their
levels better. With b = k n bits, `base` k = 2 bits a term (Sec. 2.2),

$$ Q^a(\alpha, kn) = \gamma \left\{ \sum_{i=0}^{n-1} p_i \right\}, \qquad
   p_i \in \{0,\; 2^{-i},\; 2^{-(i+n)},\; \dots,\; 2^{-(i+(2^k-2)n)}\} $$

and $\gamma$ makes the largest level $\alpha$. For b = 4: $p_0 \in \{0, 1, 2^{-2}, 2^{-4}\}$ and
$p_1 \in \{0, 2^{-1}, 2^{-3}, 2^{-5}\}$. For b = 2n + 1 the last exponent of $p_i$ becomes $-(i + 2n + 1)$ and a
one-bit term in $\{0, 2^{-2n}\}$ is added. k = b gives pure powers of two, k = 1 the uniform grid. Signed tensors
spend a bit on the sign. Here `levels` are the sums as integers, in units of the smallest power of two.

Forward, reparameterised clipping function (RCF, Sec. 2.3), $\Pi$ being the projection to the nearest level:

$$ \hat W = \alpha\, \Pi_{Q(1,b)}\!\left(\mathrm{clip}(W / \alpha, -1, 1)\right) $$

Backward, the projection passes gradients straight through, so that values inside the range pull at $\alpha$ too;
a plain clipped straight-through gradient has 0 there. W gets its gradient whole, an activation on $[0, \alpha]$:

$$ \frac{\partial \hat W}{\partial \alpha} = \begin{cases} \mathrm{sign}(W) & |W| > \alpha \\
   \Pi_{Q(1,b)}(W/\alpha) - W/\alpha & |W| \le \alpha \end{cases} $$

Weights are normalized first (Sec. 2.4): $\tilde W = (W - \mu) / \sigma$ over a layer.

Differences from the paper

1. (Sec. 2.1) Powers of two have $2^{b-1} - 1$ magnitudes besides 0 when signed, so as to fit b bits, as in the
   authors' code.
2. (Sec. 2.4) Mean and deviation of the weights are constants in the backward pass, as in the authors' code.
3. (Sec. 4) Training starts from scratch; the released code starts each bit-width from the next higher one.
4. (Sec. 4) Two quantized convolutions on 8x8 digits, Adam for 6 epochs. `alpha` starts at 3 for weights as in the
   authors' code, at 4 instead of 8 for activations, and learns ten times as fast as the weights, to get there.
5. (Sec. 2) The full text was not read: formulas are those of the authors' code and of a review that goes section by
   section, whose numbers are used.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.models import QuantConv2d, SmallCNN, conv_block, identity
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import straight_through
from reference_impls.kit.train import accuracy, train

Kind = Literal["apot", "uniform", "pot"]


def exponents(bits: int, base: int = 2) -> list[list[int]]:
    """Return, per term, the exponents e of its choices 2^-e besides 0: [[0, 2, 4], [1, 3, 5]] for 4 bits."""
    n, rest = divmod(bits, base)
    if bits < 1 or (rest and base != 2):
        raise ValueError(f"{bits} bits cannot be split into terms of {base} bits")
    terms = [[i + j * n for j in range(2**base - 1)] for i in range(n)]
    return [[*term[:-1], i + 2 * n + 1] for i, term in enumerate(terms)] + [[2 * n]] if rest else terms


def magnitudes(kind: Kind, bits: int) -> Tensor:
    """Return the 2^bits unsigned levels, int64, sorted, in units of the smallest power; ValueError if too many."""
    if not 1 <= bits <= 6 - (kind == "pot"):
        raise ValueError(f"{kind} levels need 1 to {6 - (kind == 'pot')} bits, got {bits}")
    terms = exponents(bits, {"apot": 2, "uniform": 1, "pot": bits}[kind])
    smallest = max(max(term) for term in terms)
    choices = [[0, *(1 << smallest - e for e in term)] for term in terms]
    return torch.tensor(sorted(sum(choice) for choice in itertools.product(*choices)))


def shifts(level: int, bits: int) -> list[int]:
    """Return the counts s, at most one per term, whose 2^s sum to an APoT level; ValueError if it is none."""
    terms = exponents(bits)
    smallest = max(max(term) for term in terms)
    for choice in itertools.product(*[[None, *(smallest - e for e in term)] for term in terms]):
        counts = [s for s in choice if s is not None]
        if sum(1 << s for s in counts) == level:
            return counts
    raise ValueError(f"{level} is not a level of {bits} bits")


def to_integers(x: Tensor, alpha: Tensor, levels: Tensor, *, signed: bool) -> tuple[Tensor, Tensor]:
    """Return the nearest signed levels, halves towards zero, and alpha / largest level; ValueError if `alpha` <= 0."""
    if not bool(alpha > 0):
        raise ValueError(f"alpha must be positive, got {float(alpha):g}")
    scale = alpha / levels[-1]
    position = (x.abs() if signed else x.clamp(min=0)) / scale
    midpoints = (levels[1:] + levels[:-1]).to(x.dtype) / 2
    nearest = levels[torch.bucketize(position.contiguous(), midpoints)]  # past the last midpoint: the last level
    return torch.where(x < 0, -nearest, nearest), scale


def alpha_slope(x: Tensor, alpha: Tensor, value: Tensor, *, rcf: bool) -> Tensor:
    """Return the derivative of the quantized `value` by `alpha`, per element; 0 inside the range without RCF."""
    inside = (value - x) / alpha if rcf else torch.zeros_like(x)
    return torch.where(x.abs() > alpha, torch.sign(x), inside)


def quantize(x: Tensor, alpha: Tensor, levels: Tensor, *, signed: bool, rcf: bool = True) -> Tensor:
    """Clip at `alpha`, project to the nearest level and scale back, with gradients for `x` and `alpha` (Sec. 2.3).

    Args:
        x: any shape.
        alpha: positive scalar tensor.
        levels: from `magnitudes`.
        signed: a weight; otherwise an activation, negative values becoming 0.
        rcf: `alpha` learns by RCF; otherwise from clipped values only.
    """
    data, level = x.detach() if signed else x.detach().clamp(min=0), alpha.detach()
    integers, scale = to_integers(data, level, levels, signed=signed)
    value = scale * integers
    passes = torch.ones_like(data) if signed else ((x >= 0) & (x <= level)).to(data.dtype)
    pull = alpha_slope(data, level, value, rcf=rcf)
    return straight_through(x, value, passes) + straight_through(alpha.expand_as(x), torch.zeros_like(data), pull)


def normalize(w: Tensor) -> Tensor:
    """Return the weights with zero mean and unit deviation; both are constants backwards (Sec. 2.4)."""
    return (w - w.detach().mean()) / w.detach().std()


class LearnedClip(nn.Module):
    """Quantizes with a learned `alpha`: normalized or raw weights, or activations, whose ReLU is part of it."""

    def __init__(self, kind: Kind, bits: int, start: float, *, signed: bool, rcf: bool, normalized: bool) -> None:
        super().__init__()
        self.levels, self.signed, self.rcf, self.normalized = magnitudes(kind, bits - signed), signed, rcf, normalized
        self.alpha = nn.Parameter(torch.tensor(start))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        x = normalize(x) if self.normalized else x
        return quantize(x, self.alpha, self.levels, signed=self.signed, rcf=self.rcf)


RECORD = "apot"
SEEDS = range(20)
EPOCHS = 6
WEIGHT_START, ACTIVATION_START = 3.0, 4.0  # in standard deviations
RATE, ALPHA_RATE = 1e-2, 1e-1
PRINTED = {p + q for p in (0, 1, 1 / 4, 1 / 16) for q in (0, 1 / 2, 1 / 8, 1 / 32)}  # four bits, as in Sec. 2.2


def network(kind: Kind, bits: int, *, rcf: bool = True, normalized: bool = True) -> SmallCNN:
    """Return the toy network with quantized inner blocks; `alpha` of raw weights starts at 3 of their deviations."""
    options = {"signed": False, "rcf": rcf, "normalized": False}
    net = SmallCNN(conv_block(identity, partial(LearnedClip, kind, bits, ACTIVATION_START, **options)))
    for layer in (m for m in net.modules() if isinstance(m, QuantConv2d)):
        start = WEIGHT_START * (1.0 if normalized else float(layer.weight.detach().std()))
        layer.quantizer = LearnedClip(kind, bits, start, signed=True, rcf=rcf, normalized=normalized)
    return net


def variants() -> dict[str, Callable[[], SmallCNN]]:
    """Return the networks to train: APoT, the other level sets with all else equal, and its two ablations."""
    return {
        "full_precision": lambda: SmallCNN(conv_block()),
        "apot_3": partial(network, "apot", 3),
        "uniform_3": partial(network, "uniform", 3),
        "pot_3": partial(network, "pot", 3),
        "clipped_ste_3": partial(network, "apot", 3, rcf=False),
        "raw_weights_3": partial(network, "apot", 3, normalized=False),
    }


def optimizer(net: nn.Module) -> torch.optim.Optimizer:
    """Return Adam with a higher rate for `alpha`, except that of raw weights, which lives on the weights' scale."""
    clips = [m for m in net.modules() if isinstance(m, LearnedClip)]
    fast = [m.alpha for m in clips if m.normalized or not m.signed]
    others = [p for p in net.parameters() if all(p is not alpha for alpha in fast)]
    groups = [{"params": others, "lr": RATE}, {"params": fast, "lr": ALPHA_RATE}]
    return torch.optim.Adam([group for group in groups if group["params"]])


def projection_error(w: Tensor, levels: Tensor) -> float:
    """Return the least root-mean-square error, in percent of the deviation, over 200 values of `alpha` to max|w|."""
    x = normalize(w)
    grids = (to_integers(x, alpha, levels, signed=True) for alpha in torch.linspace(0.005, 1, 200) * x.abs().amax())
    return 100 * float(min((scale * integers - x).square().mean().sqrt() for integers, scale in grids))


def alpha_gradient_gap(seed: int, step: float = 1e-4) -> float:
    """Return the gap between the summed gradient of `alpha` and a difference quotient, projection errors held."""
    x = torch.randn(1000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x[(x.abs() - 1).abs() > step]  # at the kinks there is no derivative
    alpha = torch.ones((), dtype=torch.float64, requires_grad=True)
    value = quantize(x, alpha, magnitudes("apot", 3), signed=True)
    (gradient,) = torch.autograd.grad(value.sum(), alpha)
    error = value.detach() - x.clamp(-1, 1)
    high, low = ((a * ((x / a).clamp(-1, 1) + error)).sum() for a in (1 + step, 1 - step))
    return float((gradient - (high - low) / (2 * step)).abs())


def shift_mismatches(bits: int = 4) -> int:
    """Count products of a level with 0..255 on which shifts and adds differ from multiplication."""
    rows = [(level, shifts(level, bits)) for level in magnitudes("apot", bits).tolist()]
    return sum(sum(r << s for s in counts) != level * r for level, counts in rows for r in range(256))


def reproduce(seed: int) -> dict[str, float]:
    """Train every variant on the digits; project trained full-precision weights; multiply by shifts."""
    trained = {name: train(build, seed, epochs=EPOCHS, optimizer=optimizer) for name, build in variants().items()}
    metrics = {name: accuracy(net) for name, net in trained.items()}
    layers = [m.weight.detach() for m in trained["full_precision"].modules() if isinstance(m, QuantConv2d)]
    for name, levels in {k: magnitudes(k, 3) for k in get_args(Kind)}.items():
        metrics[f"error_{name}_4"] = sum(projection_error(w, levels) for w in layers) / len(layers)
    metrics["level_differences"] = len({level / 32 for level in magnitudes("apot", 4).tolist()} ^ PRINTED)
    metrics["shift_mismatches"] = shift_mismatches()
    metrics["alpha_gradient_gap"] = alpha_gradient_gap(seed)
    return metrics


SMALL = "The gain on ImageNet is 0.2 points, which 20 runs of the toy do not resolve."
STABLE = "Two quantized layers train stably without it."
SHAPE = "The toy's layers are not bell-shaped enough: on normal samples APoT errs by 11.1 %, even levels by 11.4 %."
CLAIMS: tuple[Claim, ...] = (
    Exact("level-set", "level_differences", "==", 0.0, unit="levels"),
    Exact("products-are-shifts", "shift_mismatches", "==", 0.0, unit="products"),
    Exact("clip-gradient-everywhere", "alpha_gradient_gap", "==", 0.0, tolerance=1e-6),
    Difference("beats-uniform", "apot_3", "uniform_3", remark=SMALL),
    Difference("beats-powers-of-two", "apot_3", "pot_3"),
    Difference("reparameterised-clip-helps", "apot_3", "clipped_ste_3"),
    Difference("weight-normalization-helps", "apot_3", "raw_weights_3", remark=STABLE),
    Difference("fits-bell-better-than-uniform", "error_apot_4", "error_uniform_4", 0.0, "below", "%", SHAPE),
    Difference("fits-bell-better-than-powers", "error_apot_4", "error_pot_4", 0.0, "below", "%"),
)


def _offer(name: str, bits: int, *, signed: bool) -> Quantizer:
    alpha, levels = torch.tensor(1.0), magnitudes("apot", bits - signed)
    given = partial(to_integers, alpha=alpha, levels=levels, signed=signed)
    return Quantizer(f"{name} (alpha = 1)", bits, lambda x: quantize(x, alpha, levels, signed=signed), given)


QUANTIZERS: tuple[Quantizer, ...] = (
    _offer("weights", 3, signed=True),
    _offer("weights", 4, signed=True),
    _offer("activations", 4, signed=False),
)

if __name__ == "__main__":
    raise SystemExit(main())
