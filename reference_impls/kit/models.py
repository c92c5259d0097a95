"""Two toy networks on which methods differ, and the layers they are quantized through.

Measured on the digits (see `data.digits`): at width 4 full precision reaches about 95 % and 1-bit weights and
activations about 83 %, with a spread near 2 points over seeds; at width 16 everything reaches 98 %.
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

Quantizer = Callable[[Tensor], Tensor]
Block = Callable[[int, int], nn.Module]


class QuantConv2d(nn.Conv2d):
    """A 3x3 convolution, padding 1, no bias, whose weight passes `quantizer` in every forward pass."""

    def __init__(self, in_channels: int, out_channels: int, quantizer: Quantizer) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=False)
        self.quantizer = quantizer

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W)."""
        return F.conv2d(x, self.quantizer(self.weight), padding=1)


class QuantLinear(nn.Linear):
    """A linear layer without bias whose weight passes `quantizer` in every forward pass."""

    def __init__(self, in_features: int, out_features: int, quantizer: Quantizer) -> None:
        super().__init__(in_features, out_features, bias=False)
        self.quantizer = quantizer

    def forward(self, x: Tensor) -> Tensor:
        """(N, in) to (N, out)."""
        return F.linear(x, self.quantizer(self.weight))


def identity(x: Tensor) -> Tensor:
    """Quantize nothing: full precision."""
    return x


def conv_block(
    weight: Quantizer = identity, activation: Callable[[], nn.Module] = nn.ReLU
) -> Callable[[int, int], nn.Sequential]:
    """Return the block factory activation -> 3x3 convolution -> 2x2 max-pool -> batch norm.

    The activation comes first, so that it quantizes the input of the convolution; max-pooling comes before batch
    norm, as binary networks want it (the maximum of signs would be almost always +1).
    """

    def block(in_channels: int, out_channels: int) -> nn.Sequential:
        return nn.Sequential(
            activation(),
            QuantConv2d(in_channels, out_channels, weight),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(out_channels),
        )

    return block


class SmallCNN(nn.Module):
    """Full-precision stem, two blocks that halve the image, full-precision head: 8x8 digits to 10 classes.

    Channels are 1 -> width -> width -> 2 width. Only the two blocks are quantized; first and last layer stay full
    precision, as in most papers.
    """

    def __init__(self, block: Block, width: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.blocks = nn.Sequential(block(width, width), block(width, 2 * width))
        self.head = nn.Linear(2 * width * 2 * 2, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) to logits (N, 10)."""
        features = self.blocks(self.stem(x))  # (N, 2 width, 2, 2)
        logits: Tensor = self.head(F.relu(features).flatten(1))
        return logits


class SmallMLP(nn.Module):
    """64 -> hidden -> hidden -> 10 with batch norm; the hidden-to-hidden layer is the quantized one."""

    def __init__(
        self, weight: Quantizer = identity, activation: Callable[[], nn.Module] = nn.ReLU, hidden: int = 32
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden, bias=False), nn.BatchNorm1d(hidden))
        self.block = nn.Sequential(activation(), QuantLinear(hidden, hidden, weight), nn.BatchNorm1d(hidden))
        self.head = nn.Linear(hidden, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) to logits (N, 10)."""
        features = self.block(self.stem(x))  # (N, hidden)
        logits: Tensor = self.head(F.relu(features))
        return logits
