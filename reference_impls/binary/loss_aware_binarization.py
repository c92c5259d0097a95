r"""LAB (Hou, Yao, Kwok ICLR 2017): binary weights chosen for what they do to the loss, by proximal Newton steps.

Other schemes bring scaled signs close to the real weights, whatever the weights are for. LAB minimises the loss itself
over weights $\hat w = \alpha b$, one `scale` $\alpha > 0$ and signs $b$ for each layer. It expands the loss around the
last $\hat w$ to second order, with a diagonal Hessian $d$, the `curvature`; the root of Adam's second moment serves.
The step (Sec. 3.1, Prop. 3.1) is Newton's, as if weights were free, then the nearest $\alpha b$ in the metric of $d$:

$$ w = \hat w - g / d, \qquad \min_{\alpha, b} \sum_i d_i (\alpha b_i - w_i)^2 \;\Rightarrow\;
   b = \mathrm{sign}(w), \quad \alpha = \frac{\sum_i d_i |w_i|}{\sum_i d_i} $$

With equal curvature $\alpha$ is the mean of $|w|$, that of Binary-Weight-Networks (Remark 3.1). Gradient (Algorithm 1):
latent weights $w$ are kept and take the Adam step with $g$, the gradient at $\hat w$, which is passed on whole; its
squares make the curvature of the next forward pass:

$$ v \leftarrow \beta_2 v + (1 - \beta_2)\, g^2, \qquad d = \sqrt v + 10^{-8}, \qquad w \leftarrow \mathrm{clip}
   \big(w - \eta\, \hat m / \sqrt{\hat v}, -1, 1\big) $$

Bias correction and learning rate cancel in $\alpha$. Before the first step $d$ is constant. A matrix of m x n signs
with $m \le n$ has a largest singular value of at least $\sqrt n$ (Prop. 3.2), so without a scale gradients of recurrent
networks explode. Read in the authors' Theano code and summaries of arXiv 1611.01600; section numbers are from memory.

Differences from the paper

1. (Sec. 4.1) 8x8 digits, three hidden layers of 32, 8 epochs, cross-entropy, one-cycle rates; there MNIST, three of
   2048, 50 epochs, squared hinge, then CIFAR-10 and SVHN. Start, clipping and second moment: the authors' code's.
2. (Sec. 3) Batch norm divides the scale out again. So a problem that is not in the paper tests the scale where nothing
   hides it: one binary layer, pixels multiplied by factors from 10 to 1/10, measured by the training loss.
3. (Sec. 4.2) A page of Genesis, 32 units, windows of 16 characters; there War and Peace and the Linux kernel, windows
   of 100, a larger LSTM. Each of its eight matrices has its own scale, as in the authors' code; the real peepholes of
   that code are not in PyTorch's LSTM.
4. (Sec. 3.2) LAB2, which also takes the signs of activations with the gradient of BNN, is not here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import Split, digits, text, windows
from reference_impls.kit.models import QuantLinear, SmallCNN, conv_block
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, train

WIDTHS = (64, 32, 32, 32, 10)
BETA2 = 0.999
CODES, UNITS, WINDOW = 33, 32, 16

Scale = Callable[[Tensor, Tensor], Tensor]


def curvature(v: Tensor) -> Tensor:
    r"""Return $d = \sqrt v + 10^{-8}$, positive also where no gradient has been seen, any shape."""
    return v.sqrt() + 1e-8


def weighted_scale(W: Tensor, d: Tensor) -> Tensor:
    r"""Return $\alpha = \sum d |w| / \sum d$ (Prop. 3.1), a scalar, of weights and curvatures of one shape."""
    return (d * W.abs()).sum() / d.sum()


def mean_scale(W: Tensor, _d: Tensor) -> Tensor:
    r"""Return the mean of $|w|$, the scale of Binary-Weight-Networks, whatever the curvature."""
    return W.abs().mean()


def unit_scale(W: Tensor, _d: Tensor) -> Tensor:
    """Return 1: BinaryConnect has no scale."""
    return torch.ones((), dtype=W.dtype)


def binarize(W: Tensor, d: Tensor, scale: Scale = weighted_scale) -> Tensor:
    """Return scale times signs; the gradient at them goes to the latent weights whole (Algorithm 1)."""
    return straight_through(W, scale(W, d) * sign(W))


def weighted_error(W: Tensor, d: Tensor, alpha: Tensor, b: Tensor) -> Tensor:
    r"""Return $\sum_i d_i (\alpha b_i - w_i)^2$ over the last axis: what the closed form minimises (Prop. 3.1)."""
    return (d * (alpha * b - W).square()).sum(dim=-1)


def searched_error(W: Tensor, d: Tensor) -> float:
    """Return the least `weighted_error` over all signs (2^n, n), each with its least-squares scale; 1-d input."""
    b = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=len(W))), dtype=W.dtype)
    alpha = (b * d * W).sum(dim=1, keepdim=True) / d.sum()
    return float(weighted_error(W, d, alpha, b).min())


class LossAware(nn.Module):
    """Binarizes one weight of `parts` stacked matrices, each with its own scale; keeps the second moment."""

    def __init__(self, scale: Scale = weighted_scale, parts: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.parts = parts
        self.v = torch.zeros(())
        self.latent: tuple[Tensor, ...] = ()  # the weight that it was last asked for

    def forward(self, W: Tensor) -> Tensor:
        """(out, ...) to the same shape."""
        self.latent = (W,)
        pairs = zip(W.chunk(self.parts), curvature(self.v).expand_as(W).chunk(self.parts), strict=True)
        return torch.cat([binarize(w, d, self.scale) for w, d in pairs])

    def update(self) -> None:
        """Take in the gradient at the binary weights after a step, and clip the latent ones."""
        for W in self.latent:
            assert W.grad is not None
            self.v = BETA2 * self.v + (1 - BETA2) * W.grad.square()
            W.data.clamp_(-1, 1)


def update_all(network: nn.Module, _step: int, _steps: int) -> None:
    """Update every quantizer once the optimizer has made its step."""
    for part in network.modules():
        if isinstance(part, LossAware):
            part.update()


class CharacterLSTM(nn.Module):
    """An LSTM of `UNITS` whose eight matrices are binary, with a real head: (N, L) to logits (N, CODES, L)."""

    def __init__(self, scale: Scale) -> None:
        super().__init__()
        self.lstm = nn.LSTM(CODES, UNITS, batch_first=True)
        self.head = nn.Linear(UNITS, CODES)
        self.binary = nn.ModuleDict({name: LossAware(scale, 4) for name in ("weight_ih_l0", "weight_hh_l0")})
        for name, p in self.lstm.named_parameters():
            nn.init.uniform_(p, -0.08, 0.08) if name in self.binary else nn.init.zeros_(p)
            p.data[UNITS : 2 * UNITS] += name == "bias_ih_l0"  # of the four gates, the second forgets

    def forward(self, x: Tensor) -> Tensor:
        """(N, L) codes to (N, CODES, L)."""
        given = {name: self.binary[name](p) if name in self.binary else p for name, p in self.lstm.named_parameters()}
        hidden = torch.func.functional_call(self.lstm, given, (F.one_hot(x, CODES).float(),))[0]  # (N, L, units)
        logits: Tensor = self.head(hidden).transpose(1, 2)
        return logits


def mlp(scale: Scale) -> nn.Sequential:
    """Return binary layers of `WIDTHS` with batch norm and ReLU, (N, 1, 8, 8) to logits (N, 10)."""
    parts: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(WIDTHS):
        product = QuantLinear(fan_in, fan_out, LossAware(scale))
        bound = (1.5 / (fan_in + fan_out)) ** 0.5
        nn.init.uniform_(product.weight, -bound, bound)
        parts += [product, nn.BatchNorm1d(fan_out), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def single_layer(scale: Scale) -> nn.Sequential:
    """Return one binary layer and nothing to hide its scale: (N, 1, 8, 8) to logits (N, 10)."""
    return nn.Sequential(nn.Flatten(), QuantLinear(64, 10, LossAware(scale)))


def badly_conditioned(seed: int) -> Split:
    r"""Return training digits, also to test on, with pixels scaled from 10 to 1/10, even in the logarithm, shuffled."""
    data, order = digits(), torch.randperm(64, generator=torch.Generator().manual_seed(seed))
    x = data.train_x * (10 ** (1 - 2 * order / 63)).reshape(8, 8)
    return Split(x, data.train_y, x, data.train_y)


def loss(network: nn.Module, data: Split) -> float:
    """Return the mean cross-entropy on the test part, in nats."""
    return float(F.cross_entropy(network(data.test_x), data.test_y).detach())


RECORD = "loss-aware-binarization"
SEEDS = range(10)  # eight networks a seed, two of them recurrent
BUDGET_BITS = "w1afp"


def block(fan_in: int, fan_out: int) -> nn.Sequential:
    """Return a block of the shared network whose convolution has its own curvature."""
    return conv_block(LossAware())(fan_in, fan_out)


def variants(seed: int) -> dict[str, dict[str, Any]]:
    """Return how each network is trained, by metric, as arguments of `kit.train.train`."""
    bad: dict[str, Any] = {"data": badly_conditioned(seed)}
    chars = Split(*windows(text().train, WINDOW), *windows(text().test, WINDOW))
    recurrent: dict[str, Any] = {"data": chars, "epochs": 2, "batch": 32, "lr": 0.03}
    return {
        "lab": {"build": partial(mlp, weighted_scale)},
        "bwn": {"build": partial(mlp, mean_scale)},
        "binaryconnect": {"build": partial(mlp, unit_scale)},
        "conditioning_lab": {"build": partial(single_layer, weighted_scale), **bad},
        "conditioning_bwn": {"build": partial(single_layer, mean_scale), **bad},
        "recurrent_lab": {"build": partial(CharacterLSTM, weighted_scale), **recurrent},
        "recurrent_binaryconnect": {"build": partial(CharacterLSTM, unit_scale), **recurrent},
        "cnn_accuracy": {"build": partial(SmallCNN, block)},
    }


def reproduce(seed: int) -> dict[str, float]:
    """Train all variants; compare the closed form with a search on weights of the trained network."""
    ways = variants(seed)
    networks = {key: train(seed=seed, after_step=update_all, **how) for key, how in ways.items()}
    scores = {key: loss(n, ways[key]["data"]) if "data" in ways[key] else accuracy(n) for key, n in networks.items()}
    binary = [part for part in networks["lab"].modules() if isinstance(part, LossAware)]
    W, d = (t.detach().flatten()[:10] for t in (*binary[1].latent, curvature(binary[1].v)))
    signs = [sign(*quantizer.latent).detach() for quantizer in binary]
    d = d / (d * W.square()).sum() * 100  # so that errors are in percent
    return {
        **scores,
        "closed_error": float(weighted_error(W, d, weighted_scale(W, d), sign(W))),
        "searched_error": searched_error(W, d),
        "equal_curvature_scale": float(weighted_scale(W, torch.full_like(W, 0.3))),
        "mean_magnitude": sum(abs(w) for w in W.tolist()) / 10,
        "singular_ratio": min(float(torch.linalg.matrix_norm(b, 2)) / max(b.shape) ** 0.5 for b in signs),
    }


STEEP = "Latent weights stay near zero where the loss is steep, so their weighted mean is small: at times too small."
NORM = "Batch norm follows every layer and divides the scale out again, so at this size the three schemes end alike."
CLAIMS: tuple[Claim, ...] = (
    Exact("closed-form-step", "closed_error", "<=", "searched_error", tolerance=1e-4, unit="%"),
    Exact("reduces-to-xnor-scale", "equal_curvature_scale", "==", "mean_magnitude", tolerance=1e-6),
    Exact("singular-value-bound", "singular_ratio", ">=", 1.0, tolerance=1e-5),
    Difference("minimises-the-loss", "conditioning_lab", "conditioning_bwn", 0.0, "below", "nats", STEEP),
    Difference("beats-curvature-free", "lab", "bwn", remark=NORM),
    Difference("beats-no-scale", "lab", "binaryconnect", remark=NORM),
    Difference("recurrent-needs-scale", "recurrent_binaryconnect", "recurrent_lab", unit="nats"),
)


def start(W: Tensor) -> Tensor:
    """Return the binary weights before the first step, with equal curvature."""
    return binarize(W, torch.ones_like(W))


def start_integers(W: Tensor) -> tuple[Tensor, Tensor]:
    """Return their signs as int64 and their scale."""
    return sign(W).to(torch.int64), weighted_scale(W, torch.ones_like(W))


QUANTIZERS = (Quantizer("weights as training starts", 1, start, start_integers),)

if __name__ == "__main__":
    raise SystemExit(main())
