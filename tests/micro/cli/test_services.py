"""`micro registry` and `micro etcd`: the bundled services by one command."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from micro.testing import NatsServer, free_port, nats_server

from .conftest import Cli


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with nats_server(jetstream=True) as server:
        yield server


def test_a_registry_runs_with_the_flags_of_every_command(cli: Cli, server: NatsServer) -> None:
    port = free_port()
    running = cli.start(
        *("registry", "--bucket", "front", "--registry-timeout", "3", "--json"),
        *("-s", server.url, "--timeout", "20s", "--health", f"127.0.0.1:{port}"),
        NATS_URL="nats://127.0.0.1:1",
    )
    serving = json.loads(running.line("from bucket front"))
    line = json.loads(running.line("micro registry is set up; Ctrl-C stops it"))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30) as answer:
        ready = json.load(answer)

    assert (serving["logger"], line["logger"]) == ("micro.registry", "micro.run")
    assert ready["status"] == "ok"
    assert cli.quick("request", "registry.v1.info").code == 0
    assert running.stop() == 0


def test_an_etcd_runs_with_the_flags_of_every_command(cli: Cli) -> None:
    running = cli.start("etcd", "--embedded")
    running.line("  kv-get  ")
    running.line("micro etcd is set up; Ctrl-C stops it")
    put = cli.quick("request", "etcd.demo.kv.put", '{"key": "color", "value": "blue"}')

    assert put.code == 0
    assert running.stop() == 0


def test_a_missing_jetstream_is_told_at_start(cli: Cli) -> None:
    with nats_server() as server:
        running = cli.start("registry", "-s", server.url)
        line = running.line("WARNING")

        assert "JetStream is not enabled on the server" in line
        assert running.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("registry", "--replicas", "x"), 1, "micro: invalid REGISTRY_REPLICAS 'x'"),
        (("registry", "--colour"), 2, "micro registry: error: unrecognized arguments: --colour"),
        (("etcd",), 2, "micro: no namespace is configured"),
        (("etcd", "--config", "none.toml"), 2, "micro: cannot read configuration 'none.toml'"),
        (("etcd", "--embedded", "--check"), 2, "it goes with neither --config nor --check"),
    ],
)
def test_a_mistake_is_one_line(
    cli: Cli, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = cli(*arguments)  # argparse writes into a buffer of older runners

    assert done.code == code
    assert message in done.err.splitlines()[-1]


def test_a_configuration_is_checked(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "etcd.toml"
    path.write_text('[namespaces.app]\nprefix = "/app/"\nallow = ["read"]\n')

    done = cli.quick("etcd", "--config", str(path), "--check")

    assert (done.code, done.out) == (0, "ok: 1 namespaces\n")


def test_help_has_the_flags_of_the_command_and_of_the_service(cli: Cli) -> None:
    registry, etcd = cli.quick("registry", "--help").out, cli.quick("etcd", "-h").out

    assert {"--server", "--health", "--latest-ttl", "--registry-password"} <= set(registry.split())
    assert {"--server", "--health", "--embedded"} <= set(etcd.split())
