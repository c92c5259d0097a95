r"""The uniform grid: affine integer quantization and its inverse.

$$ q = \mathrm{clip}\!\left(\mathrm{round}(x / s) + z,\; q_{min},\; q_{max}\right), \qquad \hat x = s\,(q - z) $$

with `scale` $s > 0$, integer `zero_point` $z$, and rounding of halves to even. The scheme is that of
Jacob et al. 2018 (arXiv 1712.05877), Eq. 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """A uniform grid: `scale` per tensor or broadcastable, `zero_point` alike, integers in `[low, high]`."""

    scale: Tensor
    zero_point: Tensor
    low: int
    high: int

    def __post_init__(self) -> None:
        """Refuse what cannot be a grid."""
        if self.high <= self.low:
            raise ValueError(f"a grid needs low < high, got {self.low} and {self.high}")
        if not bool((self.scale > 0).all()):
            raise ValueError("scale must be positive everywhere")

    def to_integers(self, x: Tensor) -> Tensor:
        """Return the integers (as int64) of the nearest grid points, clipped to the range."""
        return torch.clamp(torch.round(x / self.scale) + self.zero_point, self.low, self.high).to(torch.int64)

    def to_values(self, integers: Tensor) -> Tensor:
        """Return the real values of grid integers."""
        return self.scale * (integers.to(self.scale.dtype) - self.zero_point)

    def quantize(self, x: Tensor) -> Tensor:
        """Return the nearest grid values: `to_values(to_integers(x))`."""
        return self.to_values(self.to_integers(x))


def integer_range(bits: int, *, signed: bool, narrow: bool = False) -> tuple[int, int]:
    """Return the least and greatest integer of a width.

    Args:
        bits: 1 to 32.
        signed: two's complement if true.
        narrow: leave out the least signed value, so that the range is symmetric.

    Raises:
        ValueError: if `bits` is out of range, or narrow is asked of an unsigned or 1-bit range.

    >>> integer_range(4, signed=True), integer_range(4, signed=True, narrow=True), integer_range(8, signed=False)
    ((-8, 7), (-7, 7), (0, 255))
    """
    if not 1 <= bits <= 32:
        raise ValueError(f"bits must lie in 1..32, got {bits}")
    if narrow and (not signed or bits == 1):
        raise ValueError("a narrow range is a signed one of at least 2 bits")
    if not signed:
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)) + int(narrow), 2 ** (bits - 1) - 1


def symmetric_grid(x: Tensor, bits: int, dim: tuple[int, ...] | None = None) -> Grid:
    r"""Return the symmetric max-abs grid of a tensor: $s = \max|x| / (2^{b-1} - 1)$, $z = 0$.

    Args:
        x: the values to cover.
        bits: 2 to 32.
        dim: axes that share a scale (all of them when not given); the others get one scale per slice.

    Raises:
        ValueError: if `bits` is out of range.
    """
    low, high = integer_range(bits, signed=True, narrow=True)
    largest = x.abs().amax() if dim is None else x.abs().amax(dim=dim, keepdim=True)
    scale = torch.where(largest > 0, largest / high, torch.ones_like(largest))
    return Grid(scale, torch.zeros_like(scale), low, high)


def affine_grid(minimum: Tensor, maximum: Tensor, bits: int) -> Grid:
    r"""Return the unsigned affine grid that covers `[minimum, maximum]` and represents 0 exactly.

    $$ s = (\max - \min) / (2^b - 1), \qquad z = \mathrm{round}(-\min / s) $$

    Args:
        minimum: least value; lowered to 0 where it is above.
        maximum: greatest value; raised to 0 where it is below; same shape.
        bits: 1 to 32.

    Raises:
        ValueError: if `bits` is out of range or a minimum exceeds its maximum.
    """
    if bool((minimum > maximum).any()):
        raise ValueError("minimum exceeds maximum")
    low, high = integer_range(bits, signed=False)
    bottom, top = torch.clamp(minimum, max=0.0), torch.clamp(maximum, min=0.0)
    width = top - bottom
    scale = torch.where(width > 0, width / high, torch.ones_like(width))
    return Grid(scale, torch.clamp(torch.round(-bottom / scale), low, high), low, high)
