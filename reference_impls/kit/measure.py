"""Runs a method over its seeds and turns the numbers into a result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from reference_impls.kit.catalogue import Method, load
from reference_impls.kit.quantizers import curve
from reference_impls.kit.results import Result, from_json, to_json
from reference_impls.kit.train import deterministic
from reference_impls.kit.verdicts import judge

Progress = Callable[[int, int], None]


def measure(method: Method, seeds: Sequence[int] | None = None, progress: Progress | None = None) -> Result:
    """Run `reproduce` for every seed with one thread, judge the claims and sample the quantizers.

    Args:
        method: the method's module.
        seeds: other seeds than the method's own; with fewer than two, claims on differences are left out.
        progress: called as `progress(done, all)` before the first and after every seed.

    Raises:
        ValueError: if the seeds do not return the same finite metrics, or a claim cannot be judged.
    """
    chosen = tuple(method.SEEDS if seeds is None else seeds)
    rows: list[dict[str, float]] = []
    for done, seed in enumerate(chosen):
        if progress is not None:
            progress(done, len(chosen))
        with deterministic(seed):
            rows.append(method.reproduce(seed))
        if rows[-1].keys() != rows[0].keys():
            raise ValueError(f"seed {seed} returned other metrics than seed {chosen[0]}")
        if not all(math.isfinite(value) for value in rows[-1].values()):
            raise ValueError(f"seed {seed} returned a metric that is not finite: {rows[-1]}")
    if progress is not None:
        progress(len(chosen), len(chosen))
    metrics = {key: tuple(float(row[key]) for row in rows) for key in rows[0]}
    claims = tuple(judge(claim, metrics) for claim in method.CLAIMS) if len(chosen) > 1 else ()
    curves = tuple(curve(quantizer) for quantizer in method.QUANTIZERS)
    return from_json(to_json(Result(torch.__version__.split("+")[0], chosen, metrics, claims, curves)))


def measure_by_name(name: str, seeds: Sequence[int] | None = None) -> Result:
    """Load and measure a method: one argument that travels to another process."""
    return measure(load(name), seeds)
