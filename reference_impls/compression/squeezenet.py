r"""SqueezeNet (Iandola et al. arXiv 2016): an image classifier with AlexNet's accuracy and a fiftieth of its size.

Small networks are quicker to send and fit into on-chip memory. Three rules keep one small: use 1x1 instead of 3x3
filters, feed few channels into the 3x3 filters that stay, and downsample late (Sec. 3.1).

Fire module (Sec. 3.2). Of c input channels, `s1` 1x1 filters make the squeeze layer S; `e1` 1x1 and `e3` 3x3 filters
expand its output z again, with $s_1 < e_1 + e_3$ and biases everywhere:

$$ y = \mathrm{relu}\,[\,E_{1\times1} z,\; E_{3\times3} z\,], \qquad z = \mathrm{relu}(S x), \qquad
   \mathrm{parameters} = (c + 1)\, s_1 + (s_1 + 1)\, e_1 + (9 s_1 + 1)\, e_3 . $$

Module i, counted from 0, has $e_i = base + increase \lfloor i / 2 \rfloor$ expand filters, half of them 3x3, and
$s_i = ratio \cdot e_i$ squeeze filters (Sec. 5.1). A simple bypass adds a module's input to its output where both have
as many channels; a complex one puts a 1x1 convolution on the way where they have not (Sec. 6).

Deep Compression (Sec. 4). The largest third of the 3x3 expand weights stays (Table 1) and is trained on, pruned weights
get no gradient; k-means gives 2^b shared values; positions are stored as gaps; gaps and codes are Huffman-coded.

Differences from the paper

1. (Sec. 3.3) The last convolution has neither ReLU nor padding, as in Table 1; the released v1.0 file has both.
2. (Sec. 3.3) The toy has four Fire modules of 32 and 64 expand filters, 2x2 pooling, no dropout, and batch norm after
   stem and modules: without it such narrow layers do not train in 108 steps.
3. (Sec. 4) One codebook serves all layers, which are small, and its values are not trained on. Long gaps are one
   symbol; Deep Compression splits them. The last layer is not pruned; the paper's is.
4. (Sec. 4 to 6) Adam for 6 epochs on 8x8 digits instead of SGD on ImageNet; 3 more epochs after pruning, and as
   many for the unpruned network that it is compared with.
"""

from __future__ import annotations

import copy
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_impls.kit.claims import Claim, Difference, Exact
from reference_impls.kit.quantizers import Quantizer
from reference_impls.kit.runner import main
from reference_impls.kit.train import accuracy, train

Bypass = Literal["none", "simple", "complex"]
Layers = Sequence[nn.Module]
Sized = tuple[int, int, int]  # (s1, e1, e3) of a Fire module
ALEXNET = 60_965_224  # parameters of the Caffe AlexNet that the paper compares with, biases included


def fire_dimensions(modules: int, base: int, increase: int, ratio: float) -> list[Sized]:
    """Return (s1, e1, e3) of every Fire module (Sec. 5.1)."""
    expand = [base + increase * (i // 2) for i in range(modules)]
    return [(round(ratio * e), e - e // 2, e // 2) for e in expand]


class Fire(nn.Module):
    """A Fire module, (N, channels, H, W) to (N, e1 + e3, H, W), with its bypass (Sec. 3.2, 6)."""

    def __init__(self, channels: int, s1: int, e1: int, e3: int, bypass: Bypass, *, normalized: bool) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, s1, 1)
        self.expand_1x1 = nn.Conv2d(s1, e1, 1)
        self.expand_3x3 = nn.Conv2d(s1, e3, 3, padding=1)
        self.norm = nn.BatchNorm2d(e1 + e3) if normalized else nn.Identity()
        matching = nn.Identity() if channels == e1 + e3 else None
        projection = nn.Conv2d(channels, e1 + e3, 1) if bypass == "complex" and matching is None else None
        self.bypass = None if bypass == "none" else matching or projection

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze, expand, concatenate, and add the bypass."""
        z = F.relu(self.squeeze(x))
        y = F.relu(self.norm(torch.cat([self.expand_1x1(z), self.expand_3x3(z)], dim=1)))
        return y if self.bypass is None else y + self.bypass(x)

    def saving(self) -> float:
        """Return how many times the module's parameters a 3x3 layer in its place has."""
        outputs = self.expand_1x1.out_channels + self.expand_3x3.out_channels
        return (9 * self.squeeze.in_channels + 1) * outputs / parameters(self)


def fires(channels: int, dimensions: Sequence[Sized], bypass: Bypass, *, normalized: bool) -> list[Fire]:
    """Return a chain of Fire modules for an input of so many channels."""
    widths = [channels, *(e1 + e3 for _, e1, e3 in dimensions[:-1])]
    return [Fire(c, *sizes, bypass, normalized=normalized) for c, sizes in zip(widths, dimensions, strict=True)]


def assemble(stem: Layers, modules: Layers, pools: dict[int, int], tail: Layers) -> nn.Module:
    """Chain stem, modules and tail; `pools` gives the kernel of the max-pooling, stride 2, before a module."""
    layers = [*stem]
    for index, module in enumerate(modules):
        layers += [nn.MaxPool2d(pools[index], 2), module] if index in pools else [module]
    return nn.Sequential(*layers, *tail, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def squeezenet() -> nn.Module:
    """Return SqueezeNet v1.0: (N, 3, 227, 227) to logits (N, 1000) (Table 1)."""
    modules = fires(96, fire_dimensions(8, 128, 128, 0.125), "none", normalized=False)
    tail = [nn.Dropout(0.5), nn.Conv2d(512, 1000, 1)]
    return assemble([nn.Conv2d(3, 96, 7, 2), nn.ReLU()], modules, {0: 3, 3: 3, 7: 3}, tail)


def toy(modules: Layers, first: int, last: int) -> nn.Module:
    """Return a toy network: digits (N, 1, 8, 8) to logits (N, 10), with `first` and `last` channels around."""
    stem = [nn.Conv2d(1, first, 3, padding=1), nn.BatchNorm2d(first), nn.ReLU()]
    return assemble(stem, modules, {0: 2, 2: 2}, [nn.Conv2d(last, 10, 1)])


def toy_fire(ratio: float = 0.125, bypass: Bypass = "none") -> nn.Module:
    """Return the toy network of four Fire modules."""
    return toy(fires(24, fire_dimensions(4, 32, 32, ratio), bypass, normalized=True), 24, 64)


def toy_plain(widths: Sequence[int]) -> nn.Module:
    """Return the toy network with 3x3 convolutions of these widths as stem and in place of the Fire modules."""
    layers = [(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()) for a, b in pairwise(widths)]
    return toy([nn.Sequential(*layer) for layer in layers], widths[0], widths[-1])


def parameters(network: nn.Module) -> int:
    """Count the parameters of a network."""
    return sum(p.numel() for p in network.parameters())


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    """Return the convolutions of a network, in order."""
    return [m for m in network.modules() if isinstance(m, nn.Conv2d)]


def prune_masks(network: nn.Module, density: float) -> list[Tensor]:
    """Return a mask per convolution: the largest share `density` of 3x3 expand weights, all of any other's."""
    prunable = {m.expand_3x3 for m in network.modules() if isinstance(m, Fire)}
    sizes = {layer: layer.weight.detach().abs() for layer in convolutions(network)}
    return [size >= size.quantile(1 - density if layer in prunable else 0.0) for layer, size in sizes.items()]


def hold(network: nn.Module, masks: Sequence[Tensor]) -> None:
    """Set the weights outside the masks to zero."""
    for layer, mask in zip(convolutions(network), masks, strict=True):
        layer.weight.data *= mask


def codebook(values: Tensor, bits: int, iterations: int = 30) -> tuple[Tensor, Tensor]:
    """Cluster numbers, shape (n,), by k-means from 2^bits even starts; return sorted entries and nearest indices."""
    entries = torch.linspace(float(values.min()), float(values.max()), 2**bits)
    for _ in range(iterations):
        nearest = torch.bucketize(values, (entries[1:] + entries[:-1]) / 2)
        counts = torch.bincount(nearest, minlength=len(entries))
        sums = torch.zeros_like(entries).index_add_(0, nearest, values)
        entries = torch.where(counts > 0, sums / counts.clamp(min=1), entries)
    return entries, torch.bucketize(values, (entries[1:] + entries[:-1]) / 2)


def huffman_bits(symbols: Iterable[int]) -> int:
    """Return the length of a Huffman code of the symbols without its table; a lone symbol takes a bit each time."""
    heap = sorted(Counter(symbols).values())
    total = heap[0] if len(heap) == 1 else 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged  # every code below the merged node gets a bit longer
        heapq.heappush(heap, merged)
    return total


def compress(network: nn.Module, masks: Sequence[Tensor], bits: int) -> tuple[nn.Module, int]:
    """Share the kept weights through one codebook; return the new network and its size in bits (rest at 32 bits)."""
    result = copy.deepcopy(network)
    layers = convolutions(result)
    kept = [layer.weight.detach()[mask] for layer, mask in zip(layers, masks, strict=True)]
    entries, codes = codebook(torch.cat(kept), bits)
    gaps: list[int] = []
    for layer, mask, part in zip(layers, masks, torch.split(codes, [len(v) for v in kept]), strict=True):
        layer.weight.data = torch.zeros_like(layer.weight.data).masked_scatter(mask, entries[part])
        positions = mask.flatten().nonzero().flatten()
        gaps += [] if bool(mask.all()) else positions.diff(prepend=torch.tensor([-1])).tolist()
    others = parameters(result) - sum(layer.weight.numel() for layer in layers)
    return result, huffman_bits(codes.tolist()) + huffman_bits(gaps) + 32 * (len(entries) + others)


RECORD = "squeezenet"
SEEDS = range(10)  # a seed trains seven networks, for two to three seconds
EPOCHS, RATE = 6, 1e-2
RETRAIN_EPOCHS, RETRAIN_RATE = 3, 3e-3
DENSITY = 1 / 3  # what the paper calls 33 % sparsity: a third is left
PLAIN_WIDTHS = (15, 15, 15, 15, 17)  # 8,916 parameters; the toy of Fire modules has 8,930


def variants() -> dict[str, Callable[[], nn.Module]]:
    """Return the networks to train: Fire modules, bypasses, a wider squeeze, plain 3x3 layers of equal size."""
    return {
        "fire": toy_fire,
        "simple_bypass": partial(toy_fire, bypass="simple"),
        "complex_bypass": partial(toy_fire, bypass="complex"),
        "squeeze_three_quarters": partial(toy_fire, 0.75),
        "plain_3x3": partial(toy_plain, PLAIN_WIDTHS),
    }


def retrain(network: nn.Module, seed: int, masks: Sequence[Tensor]) -> nn.Module:
    """Train a copy of a network on, its weights outside the masks held at zero."""
    start = copy.deepcopy(network)
    hold(start, masks)
    return train(lambda: start, seed, epochs=RETRAIN_EPOCHS, lr=RETRAIN_RATE, after_step=lambda n, *_: hold(n, masks))


def reproduce(seed: int) -> dict[str, float]:
    """Count parameters; train the variants on the digits; prune, share and code the one without bypass."""
    size = parameters(full := squeezenet())
    metrics = {"parameters": size, "mebibytes": size * 4 / 2**20, "alexnet_ratio": ALEXNET / size}
    metrics["least_saving"] = min(m.saving() for m in full.modules() if isinstance(m, Fire))
    trained = {name: train(build, seed, epochs=EPOCHS, lr=RATE) for name, build in variants().items()}
    metrics |= {name: accuracy(network) for name, network in trained.items()}
    masks = prune_masks(fire := trained["fire"], DENSITY)
    metrics["dense"] = accuracy(retrain(fire, seed, prune_masks(fire, 1.0)))
    pruned = retrain(fire, seed, masks)
    for bits in (8, 6):
        compressed, stored = compress(pruned, masks, bits)
        metrics[f"compressed_{bits}"] = accuracy(compressed)
        metrics[f"ratio_{bits}"] = 32 * parameters(fire) / stored
    return metrics


COUNT = "Counting parameters gives 48.8; 50 is the ratio of the rounded sizes, 240 MB and 4.8 MB."
NARROW = "Squeeze layers of 4 and 8 channels are a tighter bottleneck than SqueezeNet's 16 to 64."
SHALLOW = "Four Fire modules train well without a bypass; SqueezeNet has eight."
WIDER = "The complex bypasses add a third to the toy's parameters, and so small a network needs them."
SPARE = "A small network has little to spare, and the shared values are not trained on."
FIXED = "Codebook, biases and batch norm are 46 % of the compressed toy; in 1.2 million parameters they hardly count."
CLAIMS: tuple[Claim, ...] = (
    Exact("parameter-count", "parameters", "==", 1_248_424.0, unit="parameters"),
    Exact("model-size", "mebibytes", "==", 4.8, tolerance=0.05, unit="MiB"),
    Exact("fifty-times-fewer", "alexnet_ratio", ">=", 50.0, unit="x", remark=COUNT),
    Exact("fewer-parameters-per-layer", "least_saving", ">=", 1.0, unit="x"),
    Difference("accuracy-per-parameter", "fire", "plain_3x3", remark=NARROW),
    Difference("squeeze-ratio-trades-size", "squeeze_three_quarters", "fire"),
    Difference("simple-bypass-helps", "simple_bypass", "fire", remark=SHALLOW),
    Difference("simple-bypass-beats-complex", "simple_bypass", "complex_bypass", remark=WIDER),
    Difference("compresses-further", "compressed_6", "dense", margin=-1.0, remark=SPARE),
    Exact("compresses-tenfold", "ratio_6", ">=", 10.0, unit="x", remark=FIXED),
)
QUANTIZERS: tuple[Quantizer, ...] = ()  # the entries of a codebook lie on no grid

if __name__ == "__main__":
    raise SystemExit(main())
