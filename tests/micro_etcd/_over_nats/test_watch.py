"""A reader of watches over NATS starts again behind what it has whole, whatever it is sent."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from micro_etcd import NatsEtcd

SECONDS = 60
Script = Callable[["Service", str], Awaitable[None]]


def body(key: str, revision: int) -> bytes:
    item = {"create_revision": 1, "mod_revision": revision, "version": 1, "lease": "0"}
    kv = {"key": key, "value": str(revision), **item}
    return json.dumps({"events": [{"type": "put", "kv": kv}]}).encode()


class Service:
    """Speaks the protocol of a watch as a script says; then as it should."""

    def __init__(self, nc: NatsClient, script: Script) -> None:
        self.nc = nc
        self.started: list[dict[str, Any]] = []
        self.stopped = 0
        self._script = script

    async def start(self, message: Msg) -> None:
        asked = json.loads(message.data)
        self.started.append(asked)
        reply = {"watch_id": "w", "revision": 10, "instance": "i", "heartbeat_s": 0.2}
        await self.nc.publish(message.reply, json.dumps(reply).encode())
        if len(self.started) == 1:
            await self._script(self, asked["deliver"])
        else:
            await self.send(asked["deliver"], 1, body("k", 12), **{"Etcd-Revision": "12"})

    async def stop(self, _message: Msg) -> None:
        self.stopped += 1

    async def send(self, deliver: str, seq: int, data: bytes, **headers: str) -> None:
        named = {"Etcd-Watch": "w", "Etcd-Seq": str(seq), **headers}
        await self.nc.publish(deliver, data, headers=named)


async def skip(service: Service, deliver: str) -> None:
    await service.send(deliver, 2, body("k", 12), **{"Etcd-Revision": "12"})


async def fall_silent(service: Service, deliver: str) -> None:
    """Send nothing more."""


async def beat_ahead(service: Service, deliver: str) -> None:
    headers = {"Etcd-Heartbeat": "1", "Etcd-Revision": "12"}
    await service.send(deliver, 1, b"", **headers)


async def garble(service: Service, deliver: str) -> None:
    await service.send(deliver, 1, b"{", **{"Etcd-Revision": "12"})


async def forget_headers(service: Service, deliver: str) -> None:
    await service.nc.publish(deliver, b"")


async def lose_a_part(service: Service, deliver: str) -> None:
    parts = {"Etcd-Revision": "12"}
    await service.send(deliver, 1, body("k", 12)[:9], **parts, **{"Etcd-Part": "1/3"})
    await service.send(deliver, 2, body("k", 12)[20:], **parts, **{"Etcd-Part": "3/3"})


async def move(service: Service, deliver: str) -> None:
    headers = {"Etcd-Error": "UNAVAILABLE", "Nats-Service-Error": "moved"}
    await service.send(deliver, 1, b"", **headers)


@pytest.mark.parametrize(
    "script", [skip, fall_silent, beat_ahead, garble, forget_headers, lose_a_part, move]
)
async def test_starts_again_behind_the_last_whole_revision(
    script: Script, server_url: str, caller: NatsClient
) -> None:
    namespace = script.__name__.replace("_", "-")

    async def first(service: Service, deliver: str) -> None:
        await service.send(deliver, 1, body("k", 11), **{"Etcd-Revision": "11"})
        # The script counts from the message after this one.
        await script(Shifted(service), deliver)

    service = Service(caller, first)
    await caller.subscribe(f"etcd.{namespace}.watch.start", cb=service.start)
    await caller.subscribe(f"etcd.{namespace}.watch.stop.i", cb=service.stop)
    watch = NatsEtcd(caller, namespace, heartbeat=0.2).watch("k")
    async with asyncio.timeout(SECONDS):
        values = [(await anext(watch)).value for _ in range(2)]
    await watch.aclose()
    assert values == ["11", "12"]
    again = service.started[1]
    assert (again["start_revision"], again["resume"]) == (12, True)
    assert service.started[0]["deliver"] != again["deliver"]
    assert service.stopped >= 1


class Shifted(Service):
    """The same service, one message later."""

    def __init__(self, service: Service) -> None:
        super().__init__(service.nc, fall_silent)

    async def send(self, deliver: str, seq: int, data: bytes, **headers: str) -> None:
        await super().send(deliver, seq + 1, data, **headers)


async def test_acknowledges_what_was_taken_and_learns_of_progress(caller: NatsClient) -> None:
    acks: list[str] = []

    async def script(service: Service, deliver: str) -> None:
        await service.send(deliver, 1, body("k", 11), **{"Etcd-Revision": "11"})
        headers = {"Etcd-Heartbeat": "1", "Etcd-Revision": "40", "Etcd-Seq": "1"}
        answer = await service.nc.request(deliver, b"", timeout=SECONDS, headers=headers)
        acks.append((answer.headers or {})["Etcd-Ack"])
        await skip(service, deliver)
        await service.send(deliver, 9, b"")

    service = Service(caller, script)
    await caller.subscribe("etcd.acks.watch.start", cb=service.start)
    watch = NatsEtcd(caller, "acks", heartbeat=0.2).watch("k")
    async with asyncio.timeout(SECONDS):
        assert (await anext(watch)).value == "11"
        while len(service.started) < 2:
            await asyncio.sleep(0.01)
    await watch.aclose()
    assert acks in (["0"], ["1"])
    assert service.started[1]["start_revision"] == 41
