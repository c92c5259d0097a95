"""The harness of `benchmarks/fuzz.py` without the fuzzer: its seeds, hard inputs, and what hypothesis makes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]


def harness() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "benchmarks" / "fuzz.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FUZZ = harness()
HARD = [
    b"", b"\0", b"\xff\xfe", b"\xef\xbb\xbfa: b\n", b"a: [", b"a: {b: [c, {d", b"&a a: *a\n", b"!!python/object:x {}\n",
    b"a: b\na: c\n", b"? [a]\n: b\n", b"a: |\n  x\n   y\n", b'a: "\\u0007\\x1b[2J"\n', b"a: \xf0\x9f\x92\xa9\n",
    b"--- a\n...\n--- b\n", b"%YAML 9.9\n---\na: b\n", b"a:\n\t- b\n", b"- " * 5000, b"[" * 5000, b"{a: " * 5000,
    b"notes: |\n  " + b"x" * 15_000, b"title: '\r\n'\r\n", b"links: {url: javascript:alert(1)}\n", b"bits: 0x10\n",
    b"<<: {a: b}\n", b"=: a\n", b"a: 2001-01-01\n", b"\xc2\x85: a\n", b"a: \xe2\x80\xa8b\n", b"# only a comment\n",
    b"code: [{url: [1]}]\nclaims: {id: x}\nauthors: a\n", b"id: x\nyear: 1\n",
]  # fmt: skip


@pytest.mark.parametrize("target", FUZZ.TARGETS)
def test_seeds_and_hard_inputs_keep_every_promise(target: str) -> None:
    tried = [*FUZZ.seeds(target), *HARD, *(bytes([form]) + data for form in range(4) for data in HARD)]
    for data in tried:
        FUZZ.TARGETS[target](data)
    assert len(tried) > 100


@pytest.mark.parametrize("target", FUZZ.TARGETS)
def test_mutated_seeds_keep_every_promise(target: str) -> None:
    assert FUZZ.blind(target, 1.0) > 10


@pytest.mark.parametrize("target", FUZZ.TARGETS)
def test_any_text_keeps_every_promise(target: str) -> None:
    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
    @given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))))
    def run(data: bytes) -> None:
        FUZZ.TARGETS[target](data)

    run()
    assert FUZZ.TARGETS[target].__doc__


LEAVES = st.one_of(st.text(max_size=40), st.integers(-10, 40), st.booleans(), st.none())
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=12), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(
    ["title", "authors", "venue", "kind", "tags", "topics", "bits", "links", "code", "claims", "notes", "aliases", "x"]
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(KEYS, TREES, min_size=1, max_size=6))
def test_any_data_under_the_keys_of_a_record(fields: dict[str, object]) -> None:
    import yaml

    data = yaml.safe_dump(fields, allow_unicode=True, sort_keys=False).encode("utf-8", "replace")
    FUZZ.fuzz_yaml(data)
    FUZZ.fuzz_record(data)
    FUZZ.fuzz_layout(data)
    assert data


def test_a_broken_promise_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(FUZZ.TARGETS, "yaml", lambda _: FUZZ.promise(None, "broken"))
    with pytest.raises(FUZZ.BrokenPromiseError, match="broken"):
        FUZZ.blind("yaml", 1.0)
    assert (tmp_path / "fuzz-yaml.bin").is_file()
