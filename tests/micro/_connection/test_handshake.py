"""What servers that the cluster tells of take from the given URLs."""

from __future__ import annotations

from urllib.parse import urlparse

import pytest

from micro import options
from micro._connection.handshake import Handshake
from micro._connection.settings import resolve


@pytest.mark.parametrize(
    ("given", "host", "expected"),
    [
        ("tls://nats.example:4222", "10.0.0.1", "nats.example"),
        ("tls://nats.example:4222", "nats.example", "nats.example"),
        ("tls://nats.example:4222", "n2.example", "n2.example"),
        ("tls://10.0.0.9:4222", "10.0.0.1", "10.0.0.1"),
        ("tls://10.0.0.9:4222,tls://nats.example", "10.0.0.9", "10.0.0.9"),
    ],
)
def test_a_discovered_address_keeps_the_name_in_the_certificate(
    given: str, host: str, expected: str
) -> None:
    assert Handshake(resolve([options.servers(given)], {})).tls_name(host) == expected


@pytest.mark.parametrize(
    ("given", "told", "expected"),
    [
        ("nats://a:1", "nats://b:2", "nats://b:2"),
        ("tls://a:1", "tls://b:2", "tls://b:2"),
        ("tls://a:1", "nats://a:1", "nats://a:1"),
    ],
)
def test_a_discovered_server_is_reached_as_the_given_ones(
    given: str, told: str, expected: str
) -> None:
    handshake = Handshake(resolve([options.servers(given)], {}))

    assert handshake.target(urlparse(told)).geturl() == expected


def test_a_discovered_websocket_server_keeps_scheme_and_path() -> None:
    pytest.importorskip("aiohttp", reason="WebSocket needs aiohttp")
    handshake = Handshake(resolve([options.servers("wss://a:1/nats?x=1")], {}))

    assert handshake.target(urlparse("nats://b:2")).geturl() == "wss://b:2/nats?x=1"
