r"""Attacking BNNs (Galloway et al. ICLR 2018): are binary networks harder to fool, or do they hide their gradients?

An adversary changes an image by at most $\varepsilon$ a pixel so that a network errs, following the gradient of the
loss at the image. Binary networks withstand this better in some tests. The paper finds two reasons. Without scaling
factors their logits are so large that the softmax saturates and the gradient vanishes: the network is not robust, the
attack is blind (gradient masking). And weights of a layer that are drawn anew in each pass spoil iterative attacks.

Forward: batch norm, signs, product with signs, ReLU, and in scaled networks a learned factor, `scale` $s$:

$$ h = s \cdot \max\left(\mathrm{sign}(W)\, \mathrm{sign}(\mathrm{BN}(x)),\, 0\right), \qquad
   P(W^b = 1) = \sigma(W) = \mathrm{clip}\!\left(\tfrac{W + 1}{2}, 0, 1\right) \text{ in a stochastic layer} $$

Gradient of either sign: $g_x = \mathrm{clip}(g_{\mathrm{sign}}, -1, 1)$, for training and for attacks alike. Attacks
with labels $y$ and loss $L$, FGSM in one step and PGD in many from a random start, $\Pi$ being the projection on pixels
within $\varepsilon$ of $x$ and within the range:

$$ x' = \Pi\left(x + \varepsilon\, \mathrm{sign}\, \nabla_x L(x, y)\right), \qquad
   x_{k+1} = \Pi\left(x_k + \eta\, \mathrm{sign}\, \nabla_x L(x_k, y)\right) $$

In a transfer attack the gradient is that of a substitute, a real-valued network of another kind. Controls for masking:
the shares of images whose softmax saturates and whose gradient is nothing but zeros; PGD on the logits times a
`temperature`, which leaves decisions alone; and whether the transfer attack, which knows less, does more harm than PGD.

Differences from the paper

1. (Sec. 3) The abstract, the start of the introduction and the authors' code could be read; section numbers are from
   memory. 8x8 digits, layers of 256 units without convolutions, since saturation needs large sums; there CNNs on MNIST
   and CIFAR-10, sums of 2304 products and more. $\varepsilon$ is a tenth of the range, by default 0.3 of it in
   the code; $\eta$ is a hundredth of it, as there, with 20 iterations in place of 40.
2. (Sec. 3.1) Carlini and Wagner's attack and adversarial training are not here. Attacks use the true labels, the code
   the network's own; it softens logits to a quarter, here to unit standard deviation over images.
3. (Sec. 3.2) The substitute learns the true labels and attacks by PGD; there each network labels images for a
   substitute of its own, which attacks by FGSM.
4. (Sec. 3.1) A stochastic layer draws at every pass, in training, attack and test. In the code one draw serves all
   iterations of an attack, and the drawing seems to have no gradient, so that its latent weights would stay as they
   started. Here the gradient is that of the sign.
5. No `cnn_accuracy`: the kit's blocks end in batch norm, behind which a scale means nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference
from reference_impls.kit.data import digits
from reference_impls.kit.models import SmallMLP
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign
from reference_impls.kit.train import deterministic, train

HIDDEN = 256
EPOCHS, BATCH = 12, 128
IMAGES = 200
EPSILON, STEP, ITERATIONS = 0.2, 0.02, 20  # pixels lie in [-1, 1]
DRAWS = 2  # that the attack on the averaged gradient of a stochastic network takes


class _Clipped(torch.autograd.Function):
    """Forward: the given value. Backward: the gradient goes to `x`, each element clipped to [-1, 1]."""

    @staticmethod
    def forward(_ctx: Any, _x: Tensor, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].clamp(-1, 1), None


def binarize(x: Tensor) -> Tensor:
    """Return the signs, any shape; the gradient at the signs passes clipped to [-1, 1]."""
    result: Tensor = _Clipped.apply(x, sign(x.detach()))  # type: ignore[no-untyped-call]
    return result


def binarize_stochastically(w: Tensor) -> Tensor:
    """Return +1 with the probability of the hard sigmoid, else -1, with the gradient of `binarize`."""
    drawn = 2 * torch.bernoulli(torch.clamp((w.detach() + 1) / 2, 0, 1)) - 1
    result: Tensor = _Clipped.apply(w, drawn)  # type: ignore[no-untyped-call]
    return result


class BinaryLinear(nn.Module):
    """Batch norm, signs, product with binary weights, ReLU and, if scaled, a learned factor that starts at 0.05."""

    def __init__(self, inputs: int, outputs: int, *, scaled: bool, stochastic: bool = False) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(inputs, affine=False)
        self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(outputs, inputs), std=0.2, a=-0.4, b=0.4))
        self.scale = nn.Parameter(torch.tensor(0.05)) if scaled else 1.0
        self.binarize_weight = binarize_stochastically if stochastic else binarize

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) to (N, out)."""
        return self.scale * F.relu(F.linear(binarize(self.norm(x)), self.binarize_weight(self.weight)))


def unit_linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a real linear layer without bias whose rows start as random directions of length 1."""
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight).data.div_(layer.weight.data.norm(dim=1, keepdim=True))
    return layer


def real_layer(inputs: int, outputs: int) -> nn.Sequential:
    """Return what `BinaryLinear` is in full precision: product and ReLU."""
    return nn.Sequential(unit_linear(inputs, outputs), nn.ReLU())


def mlp(first: Callable[..., nn.Module], second: Callable[..., nn.Module]) -> nn.Sequential:
    """Return a real layer, two that are given, and a real layer: (N, 1, 8, 8) to logits (N, 10)."""
    middle = first(HIDDEN, HIDDEN), second(HIDDEN, HIDDEN)
    return nn.Sequential(nn.Flatten(), real_layer(64, HIDDEN), *middle, unit_linear(HIDDEN, 10))


def variants() -> dict[str, Callable[[], nn.Module]]:
    """Return how each network under attack is built, by name."""
    unscaled, scaled = (partial(BinaryLinear, scaled=value) for value in (False, True))
    return {
        "full_precision": lambda: mlp(real_layer, real_layer),
        "unscaled": lambda: mlp(unscaled, unscaled),
        "scaled": lambda: mlp(scaled, scaled),
        "stochastic": lambda: mlp(scaled, partial(scaled, stochastic=True)),
    }


def input_gradient(network: nn.Module, x: Tensor, y: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the gradient of each image's cross-entropy at the image: (N, 1, 8, 8) and labels (N,) to (N, 1, 8, 8)."""
    x = x.detach().requires_grad_()
    loss = F.cross_entropy(temperature * network(x), y, reduction="sum")
    return torch.autograd.grad(loss, x)[0]


def project(x: Tensor, start: Tensor) -> Tensor:
    r"""Return the nearest images within $\varepsilon$ of `start` and within [-1, 1]."""
    return torch.clamp(x, (start - EPSILON).clamp(min=-1), (start + EPSILON).clamp(max=1))


def fgsm(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the images after one step along the sign of the gradient; where it is zero, they stay."""
    return project(x + EPSILON * torch.sign(input_gradient(network, x, y)), x)


def pgd(network: nn.Module, x: Tensor, y: Tensor, temperature: float = 1.0, draws: int = 1) -> Tensor:
    """Return the images after many small steps from a random start, each along a sum of gradients of several passes."""
    moved = project(x + EPSILON * (2 * torch.rand_like(x) - 1), x)
    for _ in range(ITERATIONS):
        gradient = torch.stack([input_gradient(network, moved, y, temperature) for _ in range(draws)]).sum(dim=0)
        moved = project(moved + STEP * torch.sign(gradient), x)
    return moved


def softening(logits: Tensor) -> float:
    """Return the temperature that brings logits (N, 10) to unit standard deviation."""
    return 1 / float(logits.std())


def percent(found: Tensor) -> float:
    """Return the share of true elements, in percent."""
    return 100 * float(found.double().mean())


def attack(network: nn.Module, transferred: Tensor, x: Tensor, y: Tensor) -> dict[str, float]:
    """Return the accuracy, in percent, on clean images and under each attack, the least of them, and signs of masking.

    `saturated` and `blind` are the shares of images whose softmax gives exactly 1 to a class and whose gradient is
    nothing but zeros.

    Args:
        network: in evaluation mode.
        transferred: images that were made against a substitute, (N, 1, 8, 8).
        x: clean images, (N, 1, 8, 8).
        y: labels, (N,).
    """
    with torch.no_grad():
        logits = network(x)
    softer = pgd(network, x, y, softening(logits))
    attacked = {"fgsm": fgsm(network, x, y), "pgd": pgd(network, x, y), "unmasked": softer, "transfer": transferred}
    right = {name: percent(network(images).argmax(dim=1) == y) for name, images in attacked.items()}
    return {
        "clean": percent(logits.argmax(dim=1) == y),
        **right,
        "worst": min(right.values()),
        "saturated": percent(logits.softmax(dim=1).amax(dim=1) == 1),
        "blind": percent((input_gradient(network, x, y) == 0).flatten(1).all(dim=1)),
    }


RECORD = "attacking-bnn"
SEEDS = range(10)  # five networks and eleven iterative attacks a seed


def reproduce(seed: int) -> dict[str, float]:
    """Train the networks alike, attack each in the same ways, and the stochastic one also by averaged gradients."""
    data = digits()
    x, y = data.test_x[:IMAGES], data.test_y[:IMAGES]
    substitute = train(lambda: SmallMLP(hidden=64), seed + 1000)
    networks = {name: train(build, seed, epochs=EPOCHS, batch=BATCH) for name, build in variants().items()}
    measured: dict[str, float] = {}
    with deterministic(seed):
        transferred = pgd(substitute, x, y)
        for name, network in networks.items():
            measured |= {f"{key}_{name}": value for key, value in attack(network, transferred, x, y).items()}
        averaged = networks["stochastic"](pgd(networks["stochastic"], x, y, draws=DRAWS))
    return {**measured, "averaged_stochastic": percent(averaged.argmax(dim=1) == y)}


SHARP = "The layer helps, but whether by the 5 points that are taken for a sharp effect stays open."
SMALL = "The softmax saturates, but gradients of sums of 256 are tiny, not zero, and attacks use their signs only."
CLEAN = "The scaled network errs more often on clean images already; trained for so short a time, it also spreads more."
CLAIMS: tuple[Claim, ...] = (
    Difference("stochastic-layer-blunts-attacks", "pgd_stochastic", "pgd_scaled", 5.0, remark=SHARP),
    Difference("unscaled-logits-saturate", "saturated_unscaled", "saturated_scaled", unit="%"),
    Difference("robustness-partly-masking", "pgd_unscaled", "unmasked_unscaled", remark=SMALL),
    Difference("scaled-is-not-masked", "unmasked_scaled", "pgd_scaled", -2.0),
    Difference("transfer-is-weaker-than-white-box", "transfer_scaled", "pgd_scaled"),
    Difference("more-robust-to-some-attacks", "fgsm_scaled", "fgsm_full_precision", remark=CLEAN),
    Difference("on-par-in-the-worst-case", "worst_scaled", "worst_full_precision", -2.0, remark=CLEAN),
)


def to_integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs as int64 and the scale 1."""
    return sign(x).to(torch.int64), torch.ones((), dtype=x.dtype)


QUANTIZERS = (Quantizer("weights", 1, binarize, to_integers), Quantizer("activations", 1, binarize, to_integers))

if __name__ == "__main__":
    raise SystemExit(main())
