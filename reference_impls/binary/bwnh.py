r"""BWNH (Hu et al. AAAI 2018): binary weights as hash codes that preserve the outputs of a layer, found bit by bit.

Signs are the binary weights nearest to the real ones, but what counts is the product with the inputs, and inputs are
correlated. Codes that preserve inner products are what hashing learns. So the codes of a trained network are learned
from inputs and outputs, layer after layer, and then the whole is tuned.

For a layer with inputs $X$, a column of $t = c\,w\,h$ numbers for each position, real weights $W$ and outputs
$S = X^T W$, one column per filter, with codes $B \in \{-1, +1\}$ and a diagonal $A$ of scales:

$$ \min_{A, B} \big\| S - \tilde X^T B A \big\|_F^2 $$

where $\tilde X$ are the inputs that the layers before, already binary, produce. Filters separate. For an output $s$, a
code $b$ and a scale $\alpha$, with $q = \tilde X s$ and $G = \tilde X \tilde X^T$, the two steps that alternate are

$$ \alpha = \frac{s^T \tilde X^T b}{\|\tilde X^T b\|^2} = \frac{b^T q}{b^T G b}, \qquad
   b_j = \mathrm{sign}\Big(\alpha q_j - \alpha^2 \sum_{k \ne j} G_{jk} b_k\Big), $$

the second for one bit after another (discrete cyclic coordinate descent). Each is exact for what it changes, so the
objective never grows. It starts at XNOR-Net's data-blind optimum, $b = \mathrm{sign}(w)$, $\alpha = \mathrm{mean}|w|$.

Gradient of fine-tuning: straight through the code to the latent weights that hold it, $g_w = g\,\alpha$; the scale is
trained by its ordinary derivative. Names: `codes` $B$, `scales` the diagonal of $A$, `gram` $G$, `cross` $q$.

Differences from the paper

1. (Method) The text was not at hand beyond its introduction: the objective with its scales is as retold by a third
   party, the scale step follows from it, the code step is the coordinate descent of the hashing paper it builds on.
   Sections have names for numbers there. $\tilde X$ enters the prediction, not $S$.
2. (Fine-tuning) Not in the sources read. Latent weights keep their magnitude and take the signs of the codes; scales
   are trained. Half of the one budget trains real weights, then all layers are hashed, the other half tunes.
3. (Experiments) 8x8 digits, two binary convolutions of width 4, hashed on all 1,200 training images; there CIFAR and
   ImageNet. First and last layer stay real. To beat: XNOR-Net's binary weights, trained through the whole budget.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import Block, QuantConv2d, SmallCNN, conv_block, identity
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, train

EPOCHS = 8
BUDGET_BITS = "w1afp"


class Moments(NamedTuple):
    r"""What the objective knows of a layer: `gram` $G$ (t, t), `cross` $q$ (out, t), `power` $\|s\|^2$ (out,)."""

    gram: Tensor
    cross: Tensor
    power: Tensor


def moments(W: Tensor, real: Tensor, binary: Tensor) -> Moments:
    """Return the moments of filters (out, c, 3, 3) from a layer's real input and the binary network's: (N, c, H, W)."""
    X, Y = (F.unfold(x, 3, padding=1).transpose(0, 1).flatten(1).double() for x in (real, binary))  # (9 c, positions)
    outputs = W.flatten(1).double() @ X  # (out, positions)
    return Moments(Y @ Y.T, outputs @ Y.T, outputs.square().sum(dim=1))


def objective(codes: Tensor, scales: Tensor, of: Moments) -> Tensor:
    r"""Return $\|s - \alpha \tilde X^T b\|^2$ of each filter: (out, t) and (out,) to (out,)."""
    return of.power - 2 * scales * (codes * of.cross).sum(dim=1) + scales**2 * ((codes @ of.gram) * codes).sum(dim=1)


def best_scales(codes: Tensor, of: Moments) -> Tensor:
    """Return the least-squares scale of each filter given its code, 0 where its inputs are: (out, t) to (out,)."""
    energy = ((codes @ of.gram) * codes).sum(dim=1)
    return (codes * of.cross).sum(dim=1) / torch.where(energy > 0, energy, torch.inf)


def sweep(codes: Tensor, scales: Tensor, of: Moments) -> Tensor:
    """Set each bit in turn to its best value given scales and the other bits: (out, t) and (out,) to (out, t)."""
    codes = codes.clone()
    for j in range(codes.shape[1]):
        others = codes @ of.gram[:, j] - codes[:, j] * of.gram[j, j]
        codes[:, j] = sign(scales * of.cross[:, j] - scales**2 * others)
    return codes


def data_blind(W: Tensor, _of: Moments | None = None) -> tuple[Tensor, Tensor]:
    """Return the code and scale nearest to the weights themselves, XNOR-Net's: (out, t) to (out, t) and (out,)."""
    return sign(W), W.abs().mean(dim=1)


def hash_weights(W: Tensor, of: Moments, rounds: int = 20) -> tuple[Tensor, Tensor]:
    """Alternate both steps from the data-blind solution, float64: (out, t) to codes (out, t) and scales (out,)."""
    codes, scales = data_blind(W.double())
    for _ in range(rounds):  # a handful is enough: then nothing changes any more
        scales = best_scales(codes, of)
        codes = sweep(codes, scales, of)
    return codes, scales


Solver = Callable[[Tensor, Moments], tuple[Tensor, Tensor]]


class HashedConv2d(QuantConv2d):
    """A convolution that is real until it adopts codes; from then on a trained scale times the signs of its weights."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, identity)
        self.scale = nn.Parameter(torch.ones(out_channels, 1, 1, 1))

    def scaled_signs(self, W: Tensor) -> Tensor:
        """Return the binary weights, (out, in, 3, 3)."""
        return self.scale * straight_through(W, sign(W))

    def adopt(self, codes: Tensor, scales: Tensor) -> None:
        """Take over codes (out, t) and scales (out,); the latent weights keep their magnitudes."""
        magnitudes = self.weight.data.abs().clamp(min=1e-8)  # a zero would lose its code
        self.weight.data = magnitudes * codes.reshape(self.weight.shape).float()
        self.scale.data = scales.reshape(-1, 1, 1, 1).float()
        self.quantizer = self.scaled_signs


def hashed_block(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return `conv_block` with a convolution that can adopt codes."""
    conv = HashedConv2d(in_channels, out_channels)
    return nn.Sequential(nn.ReLU(), conv, nn.MaxPool2d(2), nn.BatchNorm2d(out_channels))


def binarize_layers(network: SmallCNN, solver: Solver, *, quantized_inputs: bool = True) -> None:
    """Binarize the inner layers in place, one by one, from what the binary ones before produce, or from real inputs."""
    was_training = network.training
    network.eval()
    with torch.no_grad():
        real = binary = network.stem(digits().train_x)
        for block in network.blocks:
            conv, after = convolution(block), block(real)
            of = moments(conv.weight, F.relu(real), F.relu(binary if quantized_inputs else real))
            conv.adopt(*solver(conv.weight.flatten(1), of))
            real, binary = after, block(binary)
    network.train(was_training)


def convolution(block: nn.Module) -> HashedConv2d:
    """Return the convolution of a block."""
    return cast("HashedConv2d", cast("nn.Sequential", block)[1])


def output_errors(real: SmallCNN, binary: SmallCNN) -> list[float]:
    """Return how far the outputs of each convolution lie apart on the test images, in percent of the real ones."""
    errors = []
    with torch.no_grad():
        x = y = real.stem(digits().test_x)
        for a, b in zip(real.blocks, binary.blocks, strict=True):
            wanted, found = convolution(a)(F.relu(x)), convolution(b)(F.relu(y))
            errors.append(100 * float((wanted - found).square().sum() / wanted.square().sum()))
            x, y = a(x), b(y)
    return errors


RECORD = "bwnh"
SEEDS = range(12)  # four convolutional networks a seed, and five that are hashed


def binarize_weight(W: Tensor) -> Tensor:
    """Return XNOR-Net's binary weights with its gradient, the network to beat: (out, ...)."""
    scale = W.abs().mean(dim=(1, 2, 3), keepdim=True)
    return straight_through(W, scale * sign(W), 1 / W[0].numel() + scale * (W.abs() <= 1))


BWN = conv_block(binarize_weight)


def trained(seed: int, solver: Solver | None = None, block: Block = hashed_block) -> SmallCNN:
    """Return the toy network, trained on the digits; a solver binarizes it when half of the steps are done."""

    def switch(network: nn.Module, step: int, steps: int) -> None:
        if solver and step == steps // 2:
            binarize_layers(cast("SmallCNN", network), solver)

    return cast("SmallCNN", train(partial(SmallCNN, block), seed, epochs=EPOCHS, after_step=switch))


def without_training(real: SmallCNN) -> dict[str, float]:
    """Binarize a trained network in several ways and compare outputs, weights and accuracy with its own."""
    ways: dict[str, Solver] = {"hashed": hash_weights, "blind": data_blind, "real_inputs": hash_weights}
    metrics: dict[str, float] = {}
    W = convolution(real.blocks[0]).weight
    for name, solver in ways.items():
        binary = copy.deepcopy(real)
        binarize_layers(binary, solver, quantized_inputs=name != "real_inputs")
        conv = convolution(binary.blocks[0])
        error = (conv.quantizer(conv.weight) - W).square().sum() / W.square().sum()
        metrics[f"{name}_output_error_1"], metrics[f"{name}_output_error_2"] = output_errors(real, binary)
        metrics |= {f"{name}_weight_error": 100 * float(error.detach()), f"{name}_accuracy": accuracy(binary)}
    return metrics


def growths(W: Tensor, of: Moments) -> float:
    """Count how often a round has raised the objective of a filter (out, t), rounding apart."""
    course = [objective(*hash_weights(W, of, rounds=r), of) for r in range(7)]
    return float(sum((after > before * (1 + 1e-9)).sum() for before, after in itertools.pairwise(course)))


def reproduce(seed: int) -> dict[str, float]:
    """Train all variants on the digits; binarize the real network without training."""
    real = trained(seed)
    with torch.no_grad():
        x, W = F.relu(real.stem(digits().train_x)), convolution(real.blocks[0]).weight
    own = {**without_training(real), "growths": growths(W.detach().flatten(1), moments(W.detach(), x, x))}
    bwnh, blind, xnor = trained(seed, hash_weights), trained(seed, data_blind), trained(seed, None, BWN)
    scores = {"bwnh": bwnh, "blind_start": blind, "binary_weights": xnor, "cnn_accuracy": bwnh, "full_precision": real}
    return {**own, **{name: accuracy(network) for name, network in scores.items()}}


BUDGET = "Half of the epochs trains real weights, and tuning makes up for any start: blind_start ends where bwnh does."
CLAIMS: tuple[Claim, ...] = (
    Difference("hashing-view", "hashed_output_error_1", "blind_output_error_1", direction="below", unit="%"),
    Difference("not-the-weights", "hashed_weight_error", "blind_weight_error", unit="%"),
    Difference("quantized-inputs", "hashed_output_error_2", "real_inputs_output_error_2", direction="below", unit="%"),
    Exact("alternation-never-grows", "growths", "==", 0.0, unit="rounds"),
    Difference("keeps-accuracy", "hashed_accuracy", "blind_accuracy"),
    Difference("beats-binary-weights", "bwnh", "binary_weights", 1.0, remark=BUDGET),
)


def example_integers(W: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return codes as int64 and scales for inputs whose correlation falls as $0.9^{|j-k|}$."""
    rows, places = W.detach().flatten(1).double(), torch.arange(W[0].numel(), dtype=torch.float64)
    gram = 0.9 ** (places[:, None] - places).abs()
    codes, scales = hash_weights(rows, Moments(gram, rows @ gram, ((rows @ gram) * rows).sum(dim=1)))
    return codes.reshape(W.shape).to(torch.int64), scales.reshape(-1, *(1,) * (W.dim() - 1)).to(W.dtype)


def example_weight(W: Tensor) -> Tensor:
    """Return the hashed weights for these inputs, with the gradient of fine-tuning."""
    integers, scale = example_integers(W)
    return straight_through(W, scale * integers, scale.expand_as(W))


QUANTIZERS = (Quantizer("weights, for inputs that resemble their neighbours", 1, example_weight, example_integers),)

if __name__ == "__main__":
    raise SystemExit(main())
