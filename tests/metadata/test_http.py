from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from qkb import __version__
from qkb.metadata import http
from qkb.metadata.http import NoAnswerError, UnreachableError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.metadata.conftest import Registry


def test_an_answer_and_none(registry: Registry) -> None:
    registry.answers["/x"] = (200, '{"a": 1}')
    client = registry.client()
    assert client.json(f"{registry.base}/x", {"q": "a b"}) == {"a": 1}
    assert client.json(f"{registry.base}/y") is None
    assert registry.asked == ["/x?q=a+b", "/y"]


def test_trouble_is_asked_again(registry: Registry) -> None:
    registry.answers["/x"] = [(503, ""), (429, ""), (200, "here")]
    assert registry.client().get(f"{registry.base}/x") == b"here"
    assert len(registry.asked) == 3


@pytest.mark.parametrize(("code", "times"), [(500, 3), (429, 3), (403, 1), (400, 1)])
def test_trouble_that_stays_is_named(registry: Registry, code: int, times: int) -> None:
    registry.answers["/x"] = (code, "")
    with pytest.raises(NoAnswerError, match=rf"^127\.0\.0\.1 answers {code}$"):
        registry.client().get(f"{registry.base}/x")
    assert len(registry.asked) == times


def test_a_short_retry_after_is_waited_for_and_a_long_one_is_not(registry: Registry) -> None:
    registry.headers["Retry-After"] = "1"
    registry.answers["/x"] = [(429, ""), (200, "here")]
    started = time.monotonic()
    assert registry.client().get(f"{registry.base}/x") == b"here"
    assert time.monotonic() - started >= 1
    registry.headers["Retry-After"] = "3600"
    registry.answers["/y"] = (429, "")
    with pytest.raises(NoAnswerError, match="asks to be left alone for 60 min"):
        registry.client().get(f"{registry.base}/y")


def test_nobody_there(registry: Registry) -> None:
    with pytest.raises(NoAnswerError, match=r"^127\.0\.0\.1 cannot be asked \(ConnectionError\)$"):
        registry.client(retries=0).get("http://127.0.0.1:9/x")


@pytest.mark.parametrize("body", ["<html>", "[1]", "", "[" * 100_000, b"\xff"])
def test_no_json(registry: Registry, body: str | bytes) -> None:
    registry.answers["/x"] = (200, body)
    client = registry.client()
    if body:
        with pytest.raises(NoAnswerError, match="gives no sensible answer"):
            client.json(f"{registry.base}/x")
    else:
        assert client.json(f"{registry.base}/x") is None


def test_an_answer_that_is_too_long(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST", 1000)
    registry.answers["/x"] = (200, "x" * 100_000)
    with pytest.raises(NoAnswerError, match="too long"):
        registry.client(retries=0).get(f"{registry.base}/x")


def test_questions_to_a_host_keep_their_distance(registry: Registry) -> None:
    registry.answers["/x"] = (200, "here")
    client = registry.client(delays={"": 0.2})
    started = time.monotonic()
    for _ in range(3):
        client.get(f"{registry.base}/x")
    assert time.monotonic() - started >= 0.4


def test_answers_are_kept_for_a_while(registry: Registry, tmp_path: Path) -> None:
    registry.answers["/x"] = (200, "here")
    client = registry.client(cache=tmp_path)
    for _ in range(2):
        assert client.get(f"{registry.base}/x") == b"here"
        assert client.get(f"{registry.base}/y") is None
    assert registry.asked == ["/x", "/y"]
    for file in (tmp_path / "registries").iterdir():
        os.utime(file, (0, 0))
    assert client.get(f"{registry.base}/x") == b"here"
    assert len(registry.asked) == 3


def test_a_cache_that_cannot_be_written_costs_nothing(registry: Registry, tmp_path: Path) -> None:
    registry.answers["/x"] = (200, "here")
    (tmp_path / "registries").write_text("in the way")
    assert registry.client(cache=tmp_path).get(f"{registry.base}/x") == b"here"


def test_offline_only_kept_answers_are_used(registry: Registry, tmp_path: Path) -> None:
    registry.answers["/x"] = (200, "here")
    registry.client(cache=tmp_path).get(f"{registry.base}/x")
    client = registry.client(cache=tmp_path, offline=True)
    assert client.get(f"{registry.base}/x") == b"here"
    with pytest.raises(UnreachableError, match="is not asked"):
        client.get(f"{registry.base}/y")
    assert registry.asked == ["/x"]


def test_what_cannot_be_reached_is_told_from_trouble(registry: Registry) -> None:
    registry.answers["/x"] = (500, "")
    client = registry.client(retries=0)
    with pytest.raises(NoAnswerError) as trouble:
        client.get(f"{registry.base}/x")
    assert not isinstance(trouble.value, UnreachableError)
    with pytest.raises(UnreachableError, match="cannot be asked"):
        client.get("http://127.0.0.1:1/x")


@pytest.mark.parametrize(
    ("mailto", "said"),
    [("", ""), ("ada@lind.example", "; mailto:ada@lind.example"), ("ada@lind.example\r\nX: y", ""), ("no address", "")],
)
def test_we_say_who_asks(monkeypatch: pytest.MonkeyPatch, mailto: str, said: str) -> None:
    monkeypatch.setenv("QKB_MAILTO", mailto)
    assert http.user_agent().startswith(f"qkb/{__version__} (")
    assert http.user_agent().endswith(f"metadata of a literature survey{said})")
