from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.kit.packing import pack_signs, unpack_signs, xnor_dot

SIGNS = st.lists(st.sampled_from([-1, 1]), min_size=1, max_size=40)


@given(SIGNS)
def test_pack_and_unpack_are_inverse(signs: list[int]) -> None:
    array = np.array(signs)
    packed = pack_signs(array)
    assert packed.shape == (-(-len(signs) // 8),)
    assert unpack_signs(packed, len(signs)).tolist() == signs


@given(SIGNS, st.integers(1, 5), st.integers(1, 5))
def test_xnor_dot_is_the_integer_product(signs: list[int], m: int, k: int) -> None:
    generator = np.random.default_rng(len(signs) * 100 + 10 * m + k)
    a = generator.choice([-1, 1], size=(m, len(signs)))
    b = generator.choice([-1, 1], size=(k, len(signs)))
    assert np.array_equal(xnor_dot(pack_signs(a), pack_signs(b), len(signs)), a @ b.T)


def test_only_signs_can_be_packed() -> None:
    with pytest.raises(ValueError, match=r"only \+1 and -1"):
        pack_signs(np.array([1, 0, -1]))
