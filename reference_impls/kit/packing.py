r"""Bit packing and the XNOR-popcount dot product, in numpy integers.

With +1 stored as bit 1 and -1 as bit 0, two sign vectors of length $n$ have the dot product

$$ a \cdot b = 2\,\mathrm{popcount}(\mathrm{xnor}(a, b)) - n . $$
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pack_signs(signs: NDArray[np.signedinteger | np.floating]) -> NDArray[np.uint8]:
    """Pack +1 and -1 along the last axis into bytes, first element in the highest bit; zero bits fill the end.

    Args:
        signs: array of +1 and -1, shape (..., n).

    Returns:
        bytes, shape (..., ceil(n / 8)).

    Raises:
        ValueError: if anything but +1 and -1 is in it.

    >>> pack_signs(np.array([1, -1, -1, -1, -1, -1, -1, 1]))
    array([129], dtype=uint8)
    """
    if not np.isin(signs, (-1, 1)).all():
        raise ValueError("only +1 and -1 can be packed")
    return np.packbits(signs > 0, axis=-1)


def unpack_signs(packed: NDArray[np.uint8], length: int) -> NDArray[np.int8]:
    """Return the +1 and -1 that `pack_signs` packed, shape (..., length)."""
    bits = np.unpackbits(packed, axis=-1, count=length)
    return (2 * bits.astype(np.int8) - 1).astype(np.int8)


def xnor_dot(a: NDArray[np.uint8], b: NDArray[np.uint8], length: int) -> NDArray[np.int64]:
    r"""Return the dot products of packed sign vectors with XNOR and popcount alone.

    Args:
        a: packed rows, shape (m, bytes).
        b: packed rows, shape (k, bytes).
        length: number of signs $n$ in each row.

    Returns:
        integers, shape (m, k), each in $[-n, n]$ and of the parity of $n$.

    >>> row = pack_signs(np.array([[1, -1, 1]]))
    >>> int(xnor_dot(row, row, 3)[0, 0])
    3
    """
    differing = np.bitwise_count(a[:, None, :] ^ b[None, :, :]).sum(axis=-1, dtype=np.int64)
    dots: NDArray[np.int64] = length - 2 * differing
    return dots
