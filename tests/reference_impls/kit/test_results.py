from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reference_impls.kit.results import Curve, Outcome, Result, drift, from_json, read, rounded, to_json, write

if TYPE_CHECKING:
    from pathlib import Path

OUTCOME = Outcome("claim-a", "reproduced", "new - old", "> 0", 2.0, 1.5, 2.5, "points", "Said with an umlaut: ü.")
CURVE = Curve("weights", 1, (-1.0, 0.0, 1.0), (-1.0, 1.0, 1.0), (1.0, 1.0, 0.5))
RESULT = Result(
    torch="2.13.0",
    seeds=(0, 1, 2),
    metrics={"new": (91.0, 92.0, 93.5), "old": (89.0, 90.0, 91.5), "count": (7.0, 7.0, 7.0)},
    claims=(OUTCOME,),
    quantizers=(CURVE,),
)


def test_round_trip() -> None:
    assert from_json(to_json(RESULT)) == RESULT
    empty = replace(RESULT, claims=(), quantizers=())
    assert from_json(to_json(empty)) == empty


def test_numbers_are_rounded_to_six_digits() -> None:
    noisy = replace(RESULT, metrics={"new": (91.00000012345, 1 / 3, 1e-9 / 3)})
    assert json.loads(to_json(noisy))["metrics"]["new"] == [91.0, 0.333333, 3.33333e-10]
    assert rounded(0.0) == 0.0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"torch": "x"}', to_json(RESULT).replace("verdict", "opinion")])
def test_what_is_no_result_file_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a result file"):
        from_json(text)


def test_files_are_written_whole_and_read_with_their_name(tmp_path: Path) -> None:
    path = tmp_path / "results" / "a.json"
    write(path, RESULT)
    assert read(path) == RESULT
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]
    path.write_text("{")
    with pytest.raises(ValueError, match=r"^a\.json: not a result file"):
        read(path)


def test_mean_and_spread() -> None:
    assert RESULT.mean("count") == 7
    assert RESULT.spread("count") == 0
    assert RESULT.spread("new") == pytest.approx(1.258, abs=1e-3)
    assert replace(RESULT, metrics={"new": (1.0,)}).spread("new") == 0


def changed(**metrics: tuple[float, ...]) -> Result:
    return replace(RESULT, metrics={**RESULT.metrics, **metrics})


def test_no_drift_against_itself_or_within_sampling_error() -> None:
    assert drift(RESULT, RESULT) == []
    assert drift(RESULT, changed(new=(91.0, 93.0, 94.5))) == []


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        (changed(new=(81.0, 82.0, 83.5)), "new: the accepted mean is 92.1667, now 82.1667"),
        (changed(count=(7.0, 7.0, 7.003)), "count: the accepted mean is 7, now 7.001"),
        (changed(extra=(1.0, 1.0, 1.0)), "metrics appeared or went: extra"),
        (replace(RESULT, seeds=(0, 1)), "seeds were [0, 1, 2], now [0, 1]"),
        (replace(RESULT, claims=()), "claim claim-a appeared or went"),
        (replace(RESULT, claims=(replace(OUTCOME, verdict="inconclusive"),)), "'reproduced', now 'inconclusive'"),
        (replace(RESULT, claims=(replace(OUTCOME, bound="> -9"),)), "claim claim-a is stated otherwise"),
        (replace(RESULT, quantizers=()), "quantizers appeared"),
        (replace(RESULT, quantizers=(replace(CURVE, bits=2),)), "quantizers appeared, went or changed their bits"),
        (replace(RESULT, quantizers=(replace(CURVE, gradient=(1.0, 1.0, 0.6)),)), "its curve (gradient) changed"),
    ],
)
def test_drift_is_named(measured: Result, said: str) -> None:
    assert any(said in line for line in drift(RESULT, measured)), drift(RESULT, measured)


def test_one_seed_in_many_moving_a_little_is_caught_for_exact_numbers_only() -> None:
    assert drift(RESULT, changed(count=(7.0, 7.0, 8.0))) != []
    assert drift(RESULT, changed(new=(91.0, 92.0, 94.0))) == []
