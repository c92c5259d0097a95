r"""Network Sketching (Guo et al. CVPR 2017): filters of a trained network as sums of a few scaled binary tensors.

One binary tensor and a scale are too coarse for many filters. The paper goes on as one shades a drawing: each further
tensor describes what is still missing. Multiplications become additions, most of them shared between tensors that
resemble each other, and no data are needed; fine-tuning may follow.

Sketch of a filter $W$ of $t = c\,w\,h$ weights by $m$ tensors (Sec. 3):

$$ W \approx \sum_{j=1}^m a_j B_j, \qquad B_j = \mathrm{sign}(\hat W_j), \qquad
   \hat W_{j+1} = W - \sum_{i \le j} a_i B_i, \qquad \hat W_1 = W $$

Direct approximation (Sec. 3.1) sets $a_j = \langle B_j, \hat W_j \rangle / t$ once. Each step removes at least a share
$1 / t$ of the squared residual. With refinement (Sec. 3.2) all scales so far are fitted again after each new tensor,
$a = (B^T B)^{-1} B^T W$. The new tensor then counts with its part outside the span of the others alone:

$$ \text{direct: } \frac{e^2}{\|W\|^2} \le \Big(1 - \frac1t\Big)^m, \qquad \text{refined: } \frac{e^2}{\|W\|^2} \le
   \prod_{j=1}^m \Big(1 - \frac{1}{t - \lambda_j}\Big), \quad
   \lambda_j = B_j^T P_{j-1} B_j $$

with $P_{j-1}$ the projection onto the span of $B_1, \dots, B_{j-1}$.

Gradient of fine-tuning: the real weights stay, every forward pass sketches them, $g_W = g_{\sum_j a_j B_j}$.

Associative implementation (Sec. 4): the products of an input with two tensors that differ on a set $D$ are

$$ x \cdot B_i = \pm\, x \cdot B_k + 2 \sum_{d \in D} x_d B_{i,d}, \qquad |D| \le t / 2, $$

so that one product costs $|D|$ additions in place of $t - 1$. Which product is derived from which is a minimum spanning
tree of all tensors of a layer, with $|D|$ as lengths (Prim's algorithm). Names: `signs` $B$, `scales` $a$.

Differences from the paper

1. (Sec. 3) The paper's text was not at hand beyond its introduction. Both algorithms are as restated in later papers on
   multi-bit quantization; the direct bound is the paper's, the refined one is derived here and may be stated otherwise.
2. (Sec. 3) The gradient of fine-tuning is not in the sources read; it is taken straight through the sketch.
3. (Sec. 4) The idea and the tree are the paper's, what counts as an addition is this file's: doubling is a shift.
4. (Sec. 5) 8x8 digits and two sketched convolutions of width 4, so that t is 36; there AlexNet and ResNet-18. Sketches
   of a trained network are taken without fine-tuning; fine-tuning starts at random weights and takes the whole budget,
   as do binary weights, a sketch of one tensor.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from functools import partial
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.data import digits
from reference_impls.kit.models import QuantConv2d, SmallCNN, conv_block, identity
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.ste import sign, straight_through
from reference_impls.kit.train import accuracy, train

EPOCHS = 8
BUDGET_BITS = "w3afp"


def fitted_scales(W: Tensor, signs: Tensor) -> Tensor:
    """Return the least-squares scales of given tensors, filter by filter: (out, t) and (out, m, t) to (out, m)."""
    columns = signs.transpose(1, 2)  # (out, t, m)
    return cast("Tensor", torch.linalg.lstsq(columns, W[:, :, None], driver="gelsd").solution[:, :, 0])


def combine(scales: Tensor, signs: Tensor) -> Tensor:
    """Return the sum of scaled tensors: (out, m) and (out, m, t) to (out, t)."""
    return torch.einsum("om,omt->ot", scales, signs)


def sketch(W: Tensor, count: int, *, refined: bool = True) -> tuple[Tensor, Tensor]:
    """Sketch each row of a matrix by `count` tensors (Sec. 3.1, or 3.2 where `refined`); ValueError below 1.

    Takes filters (out, t); returns scales (out, m) and signs (out, m, t).
    """
    if count < 1:
        raise ValueError(f"a sketch needs at least one tensor, got {count}")
    scales, signs = W.new_zeros(len(W), 0), W.new_zeros(len(W), 0, W.shape[1])
    for _ in range(count):
        residual = W - combine(scales, signs)
        signs = torch.cat([signs, sign(residual)[:, None]], dim=1)
        direct = torch.cat([scales, residual.abs().mean(dim=1, keepdim=True)], dim=1)
        scales = fitted_scales(W, signs) if refined else direct
    return scales, signs


def sketch_weight(W: Tensor, count: int, *, refined: bool = True) -> Tensor:
    """Return the sketch of filters, (out, ...), with the gradient straight through."""
    value = combine(*sketch(W.detach().flatten(1), count, refined=refined))
    return straight_through(W, value.reshape(W.shape))


def relative_errors(W: Tensor, count: int, *, refined: bool) -> Tensor:
    r"""Return $e^2 / \|W\|^2$ of each filter, (out, t) to (out,)."""
    residual = W - combine(*sketch(W, count, refined=refined))
    return residual.square().sum(dim=1) / W.square().sum(dim=1)


def bound(signs: Tensor, *, refined: bool) -> Tensor:
    """Return the bound on the relative error that holds for these tensors: (out, m, t) to (out,)."""
    t, result = signs.shape[2], signs.new_ones(len(signs))
    for j in range(signs.shape[1]):
        b = signs[:, j]
        inside = combine(fitted_scales(b, signs[:, :j]), signs[:, :j]) if refined and j else torch.zeros_like(b)
        result = result * (1 - 1 / (t - (b * inside).sum(dim=1)))  # b . inside is lambda
    return result


def distance_matrix(signs: Tensor) -> Tensor:
    """Return on how many positions each two tensors differ, up to the sign of one: (K, t) to (K, K), int64."""
    dots = (signs @ signs.T).round().to(torch.int64)
    return (signs.shape[1] - dots.abs()) // 2


def dependency_tree(distances: Tensor) -> list[tuple[int, int]]:
    """Return the edges (parent, child) of a minimum spanning tree from node 0, parents first, by Prim's algorithm."""
    lengths, nearest = distances[0].clone(), torch.zeros(len(distances), dtype=torch.int64)
    far, edges, inside = int(distances.max()) + 1, [], torch.arange(len(distances)) == 0
    for _ in range(len(distances) - 1):
        child = int(torch.where(inside, far, lengths).argmin())
        edges.append((int(nearest[child]), child))
        inside[child] = True
        closer = distances[child] < lengths
        lengths, nearest = torch.where(closer, distances[child], lengths), torch.where(closer, child, nearest)
    return edges


def associative_products(x: Tensor, signs: Tensor) -> tuple[Tensor, int]:
    """Multiply columns (N, t, L) by tensors (K, t) along a tree (Sec. 4): (N, K, L), and the additions per column."""
    products = {0: torch.einsum("t,ntl->nl", signs[0], x)}
    additions = signs.shape[1] - 1
    for parent, child in dependency_tree(distance_matrix(signs)):
        side = 1 if float(signs[parent] @ signs[child]) >= 0 else -1
        differing = signs[child] != side * signs[parent]
        correction = torch.einsum("t,ntl->nl", signs[child][differing], x[:, differing])
        products[child] = side * products[parent] + 2 * correction
        additions += int(differing.sum())
    return torch.stack([products[k] for k in range(len(signs))], dim=1), additions


def brute_force_error(residual: Tensor) -> float:
    r"""Return the least $\|r - a b\|^2$ over all $2^t$ sign vectors $b$ and all real $a$, of one residual (t,)."""
    values = residual.double().numpy()
    patterns = np.array(list(itertools.product((-1.0, 1.0), repeat=len(values))))  # (2^t, t)
    return float(values @ values - np.square(patterns @ values).max() / len(values))


RECORD = "network-sketching"
SEEDS = range(12)  # three convolutional networks a seed, one sketched in every step


def network(count: int) -> SmallCNN:
    """Return the toy network, its two inner convolutions sketched by so many tensors in every step; 0: not at all."""
    return SmallCNN(conv_block(partial(sketch_weight, count=count) if count else identity))


def variants() -> dict[str, Callable[[], SmallCNN]]:
    """Return what builds each trained network, by metric."""
    counts = {"full_precision": 0, "binary_weights": 1, "fine_tuned_3": 3}
    return {name: partial(network, count) for name, count in counts.items()}


def convolutions(trained: nn.Module) -> list[QuantConv2d]:
    """Return the two inner convolutions."""
    return [part for part in trained.modules() if isinstance(part, QuantConv2d)]


def sketched_accuracy(trained: nn.Module, count: int, *, refined: bool) -> float:
    """Return the accuracy of a trained network with its inner filters sketched and no training after."""
    sketched = copy.deepcopy(trained)
    for conv in convolutions(sketched):
        conv.quantizer = partial(sketch_weight, count=count, refined=refined)
    return accuracy(sketched)


def filter_metrics(W: Tensor) -> dict[str, float]:
    """Return errors in percent, their worst ratio to the bounds, and a greedy step against all tensors: (out, t)."""
    metrics: dict[str, float] = {}
    for name, refined in (("direct", False), ("refined", True)):
        errors = [relative_errors(W, m, refined=refined) for m in range(1, 7)]
        bounds = [bound(sketch(W, m, refined=refined)[1], refined=refined) for m in range(1, 7)]
        metrics |= {f"{name}_error_{m}": 100 * float(errors[m - 1].mean()) for m in range(1, 5)}
        metrics[f"{name}_over_bound"] = max(float((e / b).max()) for e, b in zip(errors, bounds, strict=True))
    kernels = W.reshape(-1, 9)  # small enough to try all signs
    residuals = kernels - combine(*sketch(kernels, 1))
    steps = relative_errors(residuals, 1, refined=False) * residuals.square().sum(dim=1)
    metrics["step_error"], metrics["best_step_error"] = float(steps.sum()), sum(map(brute_force_error, residuals))
    return metrics


def associative_metrics(x: Tensor, W: Tensor) -> dict[str, float]:
    """Return the additions of both ways to multiply integer columns (N, t, L) by a sketch of W, and their gap."""
    signs = sketch(W, 3)[1].flatten(0, 1)  # (out 3, t)
    products, additions = associative_products(x, signs)
    gap, separate = float((products - signs @ x).abs().max()), float(len(signs) * (signs.shape[1] - 1))
    return {"associative_additions": float(additions), "separate_additions": separate, "associative_gap": gap}


def reproduce(seed: int) -> dict[str, float]:
    """Train the variants on the digits and sketch the full-precision network."""
    networks = {name: train(build, seed, epochs=EPOCHS) for name, build in variants().items()}
    scores = {name: accuracy(trained) for name, trained in networks.items()}
    trained = cast("SmallCNN", networks["full_precision"])
    for name, refined in (("direct", False), ("refined", True)):
        scores |= {f"{name}_{m}": sketched_accuracy(trained, m, refined=refined) for m in (1, 2, 3)}
    with torch.no_grad():
        W = convolutions(trained)[0].weight.flatten(1)  # (4, 36)
        x = F.unfold(torch.round(8 * F.relu(trained.stem(digits().test_x[:16]))), 3, padding=1)  # integers
        own = {"cnn_accuracy": scores["fine_tuned_3"], **filter_metrics(W), **associative_metrics(x, W)}
    return {**scores, **own}


CLAIMS: tuple[Claim, ...] = (
    Exact("greedy-step-is-optimal", "step_error", "<=", "best_step_error", tolerance=1e-5),
    Exact("direct-error-bound", "direct_over_bound", "<=", 1.0, tolerance=1e-5, unit="x"),
    Exact("refined-error-bound", "refined_over_bound", "<=", 1.0, tolerance=1e-5, unit="x"),
    Difference("more-tensors-lower-error", "refined_error_3", "refined_error_2", direction="below", unit="%"),
    Difference("refinement-lowers-error", "refined_error_4", "direct_error_4", direction="below", unit="%"),
    Difference("sketches-keep-accuracy", "refined_3", "refined_1"),
    Difference("refinement-keeps-accuracy", "refined_3", "direct_3"),
    Difference("better-than-binary-weights", "fine_tuned_3", "binary_weights", 1.0),
    Exact("associative-is-exact", "associative_gap", "==", 0.0),
    Exact("associative-saves-additions", "associative_additions", "<=", "separate_additions", unit="additions"),
)


def term_integers(W: Tensor, index: int) -> tuple[Tensor, Tensor]:
    """Return the signs of one of three tensors of the refined sketch as int64, and its scale per filter."""
    scales, signs = (part[:, index] for part in sketch(W.flatten(1), 3))
    return signs.reshape(W.shape).to(torch.int64), scales.reshape(-1, *(1,) * (W.dim() - 1))


def term(W: Tensor, index: int) -> Tensor:
    """Return one of three terms of the refined sketch; the gradient of the sum is drawn with the first."""
    integers, scale = term_integers(W.detach(), index)
    return straight_through(W, scale * integers, torch.full_like(W, float(index == 0)))


TERMS = ((f"weights, tensor {j + 1}", 1, partial(term, index=j), partial(term_integers, index=j)) for j in range(3))
QUANTIZERS = tuple(Quantizer(*row) for row in TERMS)

if __name__ == "__main__":
    raise SystemExit(main())
