"""No message can stop the service or its discovery."""

from __future__ import annotations

import asyncio

import nats
from nats.aio.msg import Msg

import micro
from micro.testing import nats_server

from .conftest import Launch
from .hostile import hostile, send_raw


async def test_hostile_messages_stop_nothing(path: str, launch: Launch) -> None:
    """After each of them requests are answered and discovery finds the same instance."""
    with nats_server() as server:
        caller = await nats.connect(server.url)
        client = micro.Client(caller)
        instance = await (await launch(server.url)).ready()
        (known,) = await client.ping("faults", max_count=1, max_wait=5)
        for message in hostile():
            await asyncio.to_thread(send_raw, server.port, message)
            answer = await client.request("faults.echo", b"x", timeout=3)
            found = await client.ping("faults", max_count=1, max_wait=3)

            assert answer.data == b"x", message[:80]
            assert [each.id for each in found] == [known.id], message[:80]
        (stats,) = await client.stats("faults", max_count=1, max_wait=5)
        await caller.close()

    requests = {each.name: each.num_requests for each in stats.endpoints}
    print(f"{path}: {len(hostile())} hostile messages, 0 violations (bar 0): {requests}")
    assert instance.process.returncode is None


async def test_answers_never_go_to_subjects_of_the_server(path: str, launch: Launch) -> None:
    """A caller who may not publish there must not get a service to do it."""
    with nats_server() as server:
        caller = await nats.connect(server.url)
        seen: list[str] = []

        async def note(message: Msg) -> None:
            seen.append(message.subject)

        await (await launch(server.url)).ready()
        await caller.subscribe("$JS.API.>", cb=note)
        await caller.subscribe("$SRV.victim", cb=note)
        inbox = caller.new_inbox()
        plain = await caller.subscribe(inbox)
        for reply in ("$JS.API.STREAM.LIST", "$SRV.victim", inbox):
            await caller.publish("faults.echo", b"x", reply=reply)
        # An answer to the last one shows that the ones before have been dealt with.
        assert (await plain.next_msg(10)).data == b"x"
        await caller.close()

    assert seen == []
