from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
import torch

from reference_impls.kit.claims import Difference
from reference_impls.kit.measure import measure
from reference_impls.kit.quantizers import Quantizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from reference_impls.kit.catalogue import Method


def method(reproduce: Callable[[int], dict[str, float]], *claims: Difference) -> Method:
    offered = Quantizer("weights", 1, torch.sign, lambda x: (torch.sign(x).long(), torch.ones(1)))
    return cast(
        "Method",
        SimpleNamespace(
            RECORD="made-up", SEEDS=range(4), CLAIMS=claims, QUANTIZERS=(offered,), reproduce=reproduce, __doc__="x"
        ),
    )


def test_all_seeds_are_run_judged_and_sampled() -> None:
    seen: list[tuple[int, int]] = []
    result = measure(
        method(lambda seed: {"new": seed + 1.0, "old": 0.0}, Difference("c", "new", "old")),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert result.seeds == (0, 1, 2, 3)
    assert result.metrics == {"new": (1.0, 2.0, 3.0, 4.0), "old": (0.0,) * 4}
    assert [claim.verdict for claim in result.claims] == ["reproduced"]
    assert [curve.name for curve in result.quantizers] == ["weights"]
    assert seen == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_chosen_seeds_and_no_interval_from_one() -> None:
    result = measure(method(lambda seed: {"new": float(seed)}, Difference("c", "new", "new")), [7])
    assert result.seeds == (7,)
    assert result.metrics == {"new": (7.0,)}
    assert result.claims == ()


def test_a_method_runs_with_one_thread_and_its_own_seed() -> None:
    def reproduce(_: int) -> dict[str, float]:
        return {"threads": torch.get_num_threads(), "draw": float(torch.rand(1))}

    first, second = measure(method(reproduce)), measure(method(reproduce))
    assert first.metrics == second.metrics
    assert set(first.metrics["threads"]) == {1.0}
    assert len(set(first.metrics["draw"])) == 4


def test_uneven_or_infinite_metrics_are_refused() -> None:
    with pytest.raises(ValueError, match="seed 1 returned other metrics than seed 0"):
        measure(method(lambda seed: {f"m{seed}": 1.0}))
    with pytest.raises(ValueError, match="seed 0 returned a metric that is not finite"):
        measure(method(lambda _: {"m": float("inf")}))
