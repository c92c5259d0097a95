r"""PACT (Choi et al. arXiv 2018): an activation with a learned clipping level, quantized uniformly below it.

ReLU is unbounded, so a few large activations stretch the grid and the rest lose resolution; a fixed bound such as
DoReFa-Net's 1 is wrong for most layers. PACT replaces ReLU by a clipping at `alpha`, one parameter per layer, and
trains `alpha` with the network.

Forward (Eq. 1 and 2), with $n = 2^k - 1$ for k `bits`:

$$ y = \tfrac12 (|x| - |x - \alpha| + \alpha) = \mathrm{clip}(x, 0, \alpha), \qquad
   y_q = \mathrm{round}\!\left(y \cdot \frac{n}{\alpha}\right) \cdot \frac{\alpha}{n} $$

Backward, the gradients (Eq. 3), rounding passed straight through:

$$ \frac{\partial y_q}{\partial \alpha} = \begin{cases} 0 & x < \alpha \\ 1 & x \ge \alpha \end{cases}, \qquad
   \frac{\partial y_q}{\partial x} = \begin{cases} 1 & 0 \le x < \alpha \\ 0 & \text{elsewhere} \end{cases} $$

Below `alpha` nothing pulls at it: the term for the rounding error that later quantizers add is not in PACT. An L2
penalty $\lambda_\alpha \alpha^2$ in the loss draws it down from a large start (Sec. 4, App. A.2).

Weights are quantized as in DoReFa-Net (Sec. 5.2): $2\,\mathrm{quantize}_k(\tanh w / (2 \max|\tanh w|) + 1/2) - 1$.

Differences from the paper

1. (Sec. 4, Fig. 2) `alpha` starts at 4 instead of 10: about four standard deviations of the batch-normalised
   input, and near enough for a run of 108 steps.
2. (App. B) Adam with a one-cycle schedule for 6 epochs on 8x8 digits; the learning rate of `alpha` is ten times
   that of the weights, so that it can travel in so few steps. The paper trains all parameters at one rate for 200
   epochs.
3. (App. A.2) The L2 coefficient 2e-4 is that of the CIFAR-10 runs but acts on `alpha` alone: the toy networks use
   no weight decay.
4. (Sec. 3, Fig. 1) The paper does not say which range it gives a quantized ReLU. Here it is the largest activation
   seen in training, so that nothing is clipped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.models import SmallCNN, conv_block, identity
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import straight_through
from reference_impls.kit.train import accuracy, train


def steps(bits: int) -> int:
    r"""Return $n = 2^k - 1$, the number of steps of the k-bit grid.

    Raises:
        ValueError: if `bits` is not in 1..16.
    """
    if not 1 <= bits <= 16:
        raise ValueError(f"bits must lie in 1..16, got {bits}")
    return (1 << bits) - 1


def clip(x: Tensor, alpha: Tensor) -> Tensor:
    r"""Return $(|x| - |x - \alpha| + \alpha) / 2$, the activation before it is quantized (Eq. 1)."""
    return 0.5 * (x.abs() - (x - alpha).abs() + alpha)


def activation_integers(x: Tensor, alpha: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    r"""Return integers in 0..n and the scale $\alpha / n$ (Eq. 2).

    Raises:
        ValueError: if `alpha` is not positive: no grid lies between 0 and it.
    """
    if not bool(alpha > 0):
        raise ValueError(f"alpha must be positive, got {float(alpha):g}; raise its start or weaken its penalty")
    scale = alpha / steps(bits)
    return torch.round(torch.minimum(x.clamp(min=0), alpha) / scale).to(torch.int64), scale


def input_slope(x: Tensor, alpha: Tensor) -> Tensor:
    r"""Return the derivative by `x`: 1 on $[0, \alpha)$, 0 elsewhere (Eq. 1)."""
    return ((x >= 0) & (x < alpha)).to(x.dtype)


def alpha_slope(x: Tensor, alpha: Tensor) -> Tensor:
    r"""Return the derivative by `alpha`, per element of `x`: 1 where $x \ge \alpha$, 0 elsewhere (Eq. 3)."""
    return (x >= alpha).to(x.dtype)


def pact(x: Tensor, alpha: Tensor, bits: int) -> Tensor:
    """Clip at `alpha` and quantize to `bits`, with the gradients of Eq. 3.

    Args:
        x: any shape.
        alpha: positive scalar tensor.
        bits: 1 to 16.

    Returns:
        same shape as `x`, values in 0, alpha / n, ..., alpha.
    """
    level, data = alpha.detach(), x.detach()
    integers, scale = activation_integers(data, level, bits)
    value = straight_through(x, scale * integers, input_slope(data, level))
    pull = straight_through(alpha.expand_as(x), torch.zeros_like(data), alpha_slope(data, level))
    return value + pull  # the second term is 0 and carries the gradient of alpha


def quantize_weight(w: Tensor, bits: int) -> Tensor:
    """Quantize a layer's weights as DoReFa-Net does for two bits and more (Sec. 5.2)."""
    squashed = torch.tanh(w)
    unit = squashed / (2 * squashed.abs().amax().clamp(min=1e-8)) + 0.5  # all-zero weights stay finite
    n = steps(bits)
    return 2 * straight_through(unit, torch.round(unit.detach() * n) / n) - 1


class Pact(nn.Module):
    """PACT as a layer: one `alpha`, learned or not."""

    def __init__(self, bits: int, start: float, *, learned: bool = True) -> None:
        super().__init__()
        self.bits = bits
        self.alpha = nn.Parameter(torch.tensor(start), requires_grad=learned)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return pact(x, self.alpha, self.bits)


class QuantizedReLU(nn.Module):
    """ReLU quantized over 0 to the largest activation seen in training: the baseline without clipping."""

    largest: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.register_buffer("largest", torch.tensor(1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        if self.training:
            self.largest = torch.maximum(self.largest, x.detach().amax())
        integers, scale = activation_integers(x.detach(), self.largest, self.bits)
        return straight_through(F.relu(x), scale * integers)


RECORD = "pact"
SEEDS = range(20)
EPOCHS = 6
START = 4.0
RATE = 1e-2  # of the weights
ALPHA_RATE = 1e-1
PENALTY = 2e-4


def alphas(network: nn.Module) -> list[nn.Parameter]:
    """Return the learned clipping levels of a network, in order."""
    return [m.alpha for m in network.modules() if isinstance(m, Pact) and m.alpha.requires_grad]


def alpha_penalty(network: nn.Module) -> Tensor:
    r"""Return $\lambda_\alpha \sum \alpha^2$ over the layers with a learned level."""
    return PENALTY * sum((alpha.square() for alpha in alphas(network)), torch.tensor(0.0))


def optimizer(network: nn.Module) -> torch.optim.Optimizer:
    """Return Adam with its own learning rate for the clipping levels."""
    levels = alphas(network)
    mine = {id(alpha) for alpha in levels}
    others = [p for p in network.parameters() if p.requires_grad and id(p) not in mine]
    groups = [{"params": others, "lr": RATE}]
    return torch.optim.Adam([*groups, {"params": levels, "lr": ALPHA_RATE}] if levels else groups)


def variants() -> dict[str, Callable[[], SmallCNN]]:
    """Return the networks to train: PACT, DoReFa-Net's fixed level 1, quantized ReLU, an unlearned `alpha`."""

    def quantized(bits: int, activation: Callable[[], nn.Module]) -> Callable[[], SmallCNN]:
        return lambda: SmallCNN(conv_block(partial(quantize_weight, bits=bits), activation))

    return {
        "full_precision": lambda: SmallCNN(conv_block(identity, nn.ReLU)),
        "pact_4": quantized(4, partial(Pact, 4, START)),
        "pact_2": quantized(2, partial(Pact, 2, START)),
        "dorefa_2": quantized(2, partial(Pact, 2, 1.0, learned=False)),
        "relu_2": quantized(2, partial(QuantizedReLU, 2)),
        "fixed_alpha_2": quantized(2, partial(Pact, 2, START, learned=False)),
    }


def alpha_gradient_gap(seed: int, step: float = 1e-4) -> float:
    """Return how far the gradient of `alpha` lies from a central difference of Eq. 1, summed over 1,000 inputs."""
    x = torch.randn(1000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x[(x - 1).abs() > step]  # at the kink there is no derivative
    alpha = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(pact(x, alpha, 2).sum(), alpha)
    high, low = (clip(x, alpha.detach() + h).sum() for h in (step, -step))
    return float((gradient - (high - low) / (2 * step)).abs())


def reproduce(seed: int) -> dict[str, float]:
    """Train every variant on the digits; check the gradient of `alpha`; report where `alpha` ends."""
    metrics: dict[str, float] = {}
    for name, build in variants().items():
        trained = train(build, seed, epochs=EPOCHS, optimizer=optimizer, penalty=alpha_penalty)
        metrics[name] = accuracy(trained)
        if name == "pact_2":
            levels = [float(alpha.detach()) for alpha in alphas(trained)]
            metrics["alpha_start"], metrics["alpha_end"] = START, sum(levels) / len(levels)
    metrics["alpha_gradient_gap"] = alpha_gradient_gap(seed)
    return metrics


COARSE = (
    "In 108 steps alpha only comes down to about 3.3, where the four levels are coarse; "
    "batch norm before each activation fits it to the fixed level 1."
)
CLAIMS: tuple[Claim, ...] = (
    Exact("gradient-of-the-clip", "alpha_gradient_gap", "==", 0.0, tolerance=1e-6),
    Difference("learned-clip-beats-fixed", "pact_2", "dorefa_2", remark=COARSE),
    Difference("four-bit-full-precision", "pact_4", "full_precision", margin=-1.0),
    Difference("relu-needs-clipping", "pact_2", "relu_2"),
    Difference("alpha-worth-learning", "pact_2", "fixed_alpha_2"),
    Difference("alpha-shrinks", "alpha_end", "alpha_start", direction="below", unit=""),
)

_ONE = torch.tensor(1.0)
QUANTIZERS: tuple[Quantizer, ...] = tuple(
    Quantizer(
        "activations (alpha = 1)",
        bits,
        cast("Callable[[Tensor], Tensor]", partial(pact, alpha=_ONE, bits=bits)),
        partial(activation_integers, alpha=_ONE, bits=bits),
    )
    for bits in (2, 4)
)

if __name__ == "__main__":
    raise SystemExit(main())
