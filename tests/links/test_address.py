from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkb.links.address import host_of, private, wrong


@pytest.mark.parametrize(
    "url",
    ["https://a.example", "http://a.example:8080/x?y#z", "https://bücher.example/ä", "https://[2001:db8::1]:80/", "https://a.example./",
     "https://a_b.example/", "https://a.example:/x"],
)  # fmt: skip
def test_sound_addresses(url: str) -> None:
    assert wrong(url) == ""


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "only http and https"),
        ("//a.example", "only http and https"),
        ("ftp://a.example", "only http and https"),
        ("JavaScript:alert(1)", "only http and https"),
        ("data:text/html,x", "only http and https"),
        ("http://", "names no host"),
        ("https:///x", "names no host"),
        ("https://ada@a.example", "a name or a password"),
        ("https://a.example\\@b.example/", "a backslash"),
        ("https://a.example/\n", "a character that cannot be seen"),
        ("https://a .example/", "a space"),
        ("https://a.example:99999/", "host or port"),
        ("https://a.example:0/", "host or port"),
        ("https://a.example:x/", "host or port"),
        ("https://[oops/", "host or port"),
        ("https://a..example/", "host or port"),
        ("https://-a.example/", "host or port"),
        ("https://a%2eb/", "host or port"),
        (f"https://a.example/{'x' * 5000}", "more than 4000"),
    ],
)
def test_what_is_no_link(url: str, why: str) -> None:
    assert why in wrong(url)


@given(st.text(max_size=60).map(lambda text: f"https://{text}"))
def test_any_text_is_judged_and_what_passes_has_a_host(url: str) -> None:
    if not wrong(url):
        assert host_of(url)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "64:ff9b::808:808", "2002:808:808::"]
)
def test_public_addresses(address: str) -> None:
    assert private(address) == ""


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.255.0.3", "0.0.0.0", "10.0.0.1", "172.31.0.1", "192.168.0.1", "100.64.0.1", "100.127.255.254",  # noqa: S104
     "169.254.169.254", "168.63.129.16", "192.0.0.192", "198.18.0.1", "192.0.2.1", "224.0.0.251", "240.0.0.1",
     "255.255.255.255", "::", "::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
     "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:a00:1::",
     "2001:0:1::1", "::ffff:0:10.0.0.1", "not an address", ""],
)  # fmt: skip
def test_addresses_that_nobody_else_can_reach(address: str) -> None:
    assert private(address)
