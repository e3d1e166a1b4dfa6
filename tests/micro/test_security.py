"""A service, its callers and its operators under the least permissions of the documentation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nats
import nats.errors
import pytest
from nats.aio.client import Client as NatsClient

import micro
from micro import PermissionDeniedError, Request, options
from micro._wire.fence import fence
from micro.testing import NatsServer, nats_server

from .path_kit import PATHS, connections, ignore

CONFIG = Path(__file__).parents[2] / "examples" / "permissions.conf"
LONG = 60.0


@dataclass(frozen=True)
class Guarded:
    """A server that grants the least, and what it wrote to its log."""

    server: NatsServer
    log: Path

    def violations(self) -> list[str]:
        return [
            line
            for line in self.log.read_text().splitlines()
            if "violation" in line.lower() or "[ERR]" in line
        ]

    async def connect(self, user: str, password: str) -> NatsClient:
        prefix = f"_INBOX.{user}"
        return await nats.connect(
            self.server.url, user=user, password=password, inbox_prefix=prefix, error_cb=ignore
        )


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    log = tmp_path / "server.log"
    with nats_server("--log", str(log), config=CONFIG.read_text()) as server:
        yield Guarded(server, log)


async def echo(request: Request) -> None:
    await request.respond(request.data())


@pytest.mark.parametrize("path", PATHS)
async def test_no_violation_from_start_to_stop(guarded: Guarded, path: str) -> None:
    async with connections(path) as connect:
        nc = await connect(guarded.server.url, user="shop", password="change-me")
        caller = await guarded.connect("caller", "change-me-too")
        operator = await guarded.connect("operator", "change-me-as-well")
        async with micro.add_service(nc, "shop", "1.0.0") as service:
            endpoint = await service.add_group("shop").add_endpoint("echo", echo)
            asked = [
                micro.Client(caller).request("shop.echo", b"%d" % n, timeout=LONG)
                for n in range(50)
            ]
            answers = await asyncio.gather(*asked)
            client = micro.Client(operator)
            found = [
                (await client.ping("shop", LONG, 1))[0].id,
                (await client.info("shop", LONG, 1))[0].id,
                (await client.stats(None, LONG, 1))[0].id,
                (await client.instance("shop", service.id).ping(LONG)).id,
            ]
            await endpoint.stop()
        for other in (caller, operator):
            await fence(other)
            await other.close()

    assert [answer.data for answer in answers] == [b"%d" % n for n in range(50)]
    assert found == [service.id] * 4
    assert guarded.violations() == []


async def test_others_are_kept_out(guarded: Guarded) -> None:
    """The log that is empty above is not empty when there is something to say."""
    async with micro.Context() as context:
        await context.connect(
            options.servers(guarded.server.url), options.user_password("shop", "change-me")
        )
        service = await context.add_service("shop", "1.0.0")
        with pytest.raises(PermissionDeniedError):
            await service.add_endpoint("spy", echo, "shop.spy", queue_group="")
        with pytest.raises(PermissionDeniedError):
            await service.add_endpoint("elsewhere", echo, "bank.echo")
        caller = await guarded.connect("caller", "change-me-too")
        with pytest.raises(nats.errors.TimeoutError):
            await micro.Client(caller).request("$SRV.PING", timeout=0.3)
        await caller.close()

    refused = guarded.violations()
    assert len(refused) == 3
    assert "shop.spy" in refused[0]
    assert "bank.echo" in refused[1]
    assert "$SRV.PING" in refused[2]


@pytest.mark.parametrize("path", PATHS)
async def test_a_caller_cannot_make_the_service_publish_for_it(guarded: Guarded, path: str) -> None:
    """The server stops what would leave; `reply_prefixes` does not even try."""
    async with connections(path) as connect:
        nc = await connect(guarded.server.url, user="shop", password="change-me")
        caller = await guarded.connect("caller", "change-me-too")
        service = micro.add_service(nc, "shop", "1.0.0", reply_prefixes=["_INBOX."])
        async with service:
            endpoint = await service.add_group("shop").add_endpoint("echo", echo)
            await caller.publish("shop.echo", b"x", reply="shop.admin.delete")
            await caller.publish("shop.echo", b"x", reply="$JS.API.STREAM.DELETE.orders")
            answer = await micro.Client(caller).request("shop.echo", b"last", timeout=LONG)
            (stats,) = service.stats().endpoints
        await caller.close()

    assert endpoint.name == "echo"
    assert answer.data == b"last"
    assert stats.data["micro"]["rejected"] == 2
    assert guarded.violations() == []
