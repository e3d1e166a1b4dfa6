"""Large answers on their way out are bounded, and each of them arrives."""

import asyncio
import json
import uuid

from nats.aio.client import Client
from tests.micro_schema_registry.conftest import running
from tests.micro_schema_registry.jetstream import JetStreamServer

import micro
from micro_schema_registry import NatsRegistryClient, ServiceConfig, ServiceOptions
from micro_schema_registry._service.outgoing import Outgoing

MIB = 1024 * 1024


class Server:
    """A server that takes what was sent when it is allowed to."""

    def __init__(self) -> None:
        self.takes = asyncio.Event()
        self.asked = 0

    async def confirm(self) -> None:
        self.asked += 1
        await self.takes.wait()


async def test_answers_wait_until_the_server_has_taken_those_before() -> None:
    server = Server()
    outgoing = Outgoing(server.confirm, lambda: MIB)
    admitted: list[int] = []

    async def answer(number: int) -> None:
        await outgoing.admit(MIB)
        admitted.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(answer(number))
        while server.asked == 0:
            await asyncio.sleep(0)
        assert admitted == list(range(8))
        await asyncio.wait_for(outgoing.admit(1000), 1)  # small ones never wait
        server.takes.set()

    assert admitted == list(range(20))
    await outgoing.aclose()


async def test_an_answer_above_the_bound_goes_alone() -> None:
    server = Server()
    outgoing = Outgoing(server.confirm, lambda: MIB)
    await outgoing.admit(100 * MIB)
    waiting = asyncio.create_task(outgoing.admit(MIB))
    while server.asked == 0:
        await asyncio.sleep(0)
    assert not waiting.done()

    server.takes.set()

    await waiting
    await outgoing.aclose()


async def test_an_answer_whose_caller_goes_leaves_its_room() -> None:
    server = Server()
    outgoing = Outgoing(server.confirm, lambda: MIB)
    await outgoing.admit(8 * MIB)
    gone = asyncio.create_task(outgoing.admit(MIB))
    next_one = asyncio.create_task(outgoing.admit(MIB))
    while server.asked == 0:
        await asyncio.sleep(0)
    gone.cancel()

    server.takes.set()

    await next_one
    assert gone.cancelled()
    await outgoing.aclose()


async def test_a_burst_of_large_answers_arrives_whole(
    jetstream: JetStreamServer, nc: Client, bucket: str
) -> None:
    prefix = f"registry-{uuid.uuid4().hex}"
    options = ServiceOptions(group=prefix, timeout=30)
    async with running(jetstream, ServiceConfig(bucket=bucket, options=options)):
        registry = NatsRegistryClient(nc, "default", prefix=prefix, timeout=30)
        document = {"type": "record", "name": "R", "doc": "x" * 500_000, "fields": []}
        made = await registry.register_schema("large", document)
        query = json.dumps({"artifact": "large"}).encode()

        client = micro.Client(nc)
        answers = await asyncio.gather(
            *(client.request(f"{prefix}.get", query, timeout=30) for _ in range(60))
        )

    assert all(json.loads(each.data)["content"] == made.content for each in answers)
