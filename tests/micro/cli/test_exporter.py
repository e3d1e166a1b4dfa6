"""`micro exporter`: its metrics, start and end."""

from __future__ import annotations

import re
import signal
import socket
import sys
import urllib.request

import pytest

from micro.testing import NatsServer, nats_server

from .conftest import Cli, Running


def scrape(line: str) -> str:
    """Fetch the metrics from the address in a line."""
    url = re.search(r"http://\S+", line)
    assert url is not None
    return fetch(url[0], "text/plain")


def fetch(url: str, content_type: str = "application/json") -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith(content_type)
        text = answer.read().decode()
        assert isinstance(text, str)
        return text


def test_a_service_is_exported(cli: Cli, service: Running) -> None:
    assert cli("request", "math.add", '{"a": 1, "b": 2}').out == "3"
    running = cli.start("exporter", "--listen", "127.0.0.1:0")

    text = scrape(running.line("metrics of the services at http://127.0.0.1:"))

    assert re.search(
        r'micro_service_info\{instance="\w+",service="echo",version="1.2.3"\} 1.0', text
    )
    requests = r'micro_endpoint_requests_total\{.*endpoint="add".*subject="math.add".*\} [1-9]'
    assert re.search(requests, text)
    assert "micro_discovery_up 1.0" in text
    assert running.stop(signal.SIGTERM) == 0


def test_only_one_service_is_exported(cli: Cli, service: Running) -> None:
    running = cli.start("exporter", "--listen", "127.0.0.1:0", "--service", "other")

    assert "micro_service_info{" not in scrape(running.line("http://"))
    assert running.stop(signal.SIGINT) == 0


def test_it_goes_on_when_the_server_comes_back(cli: Cli) -> None:
    with nats_server() as first:
        running = cli.start("exporter", "--listen", "127.0.0.1:0", "--server", first.url)
        line = running.line("http://")
        assert "micro_discovery_up 1.0" in scrape(line)
        first.stop()
        while "micro_discovery_up 0.0" not in scrape(line):
            pass
        with nats_server(port=first.port):
            while "micro_discovery_up 1.0" not in scrape(line):
                pass
            assert running.stop() == 0


def test_an_address_in_use(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = cli("exporter", "--listen", address)

    assert (done.code, done.err) == (
        1,
        f"micro: cannot listen on {address} for metrics: Address already in use\n",
    )


@pytest.mark.parametrize("text", ["9100", "localhost", "a:b", "127.0.0.1:99999"])
def test_an_address_that_is_none(cli: Cli, text: str) -> None:
    done = cli.quick("exporter", "--listen", text)

    assert done.code == 2
    assert "expected HOST:PORT, such as 127.0.0.1:9100" in done.err


def test_a_server_that_is_not_there(cli: Cli) -> None:
    done = cli("exporter", "--listen", "127.0.0.1:0", "--server", "nats://127.0.0.1:1")

    assert done.code == 1
    assert done.err.startswith("micro: cannot connect to nats://127.0.0.1:1: ")


def test_a_missing_package(cli: Cli, server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    done = cli.quick("exporter", "--listen", "127.0.0.1:0")

    expected = (
        "micro: micro exporter needs prometheus-client: pip install 'natsmicro[prometheus]'\n"
    )
    assert (done.code, done.err) == (2, expected)
