"""The life of a client and its tasks: opening, cancelling, waiting, closing."""

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.micro_http.conftest import Log, Reply, Server, failing

from micro_http import (
    AsyncEvent,
    AsyncResilientClient,
    ClosedError,
    EventType,
    LoopChangedError,
    RequestContext,
    RetryPolicy,
    no_delays,
)


@pytest.fixture(autouse=True)
def instant() -> Iterator[None]:
    with no_delays():
        yield


async def test_closing_ends_running_requests_delivers_their_events_and_is_idempotent(
    server: Server,
) -> None:
    server.answer = lambda seen: Reply(hang=True)
    client = AsyncResilientClient()
    log = Log(client)
    tasks = [await client.get(server.url) for _ in range(3)]
    await server.arrived.wait()
    await client.close()
    await client.close()

    assert [type(task.exception()) for task in tasks] == [ClosedError] * 3
    assert log.types == ["CANCELLED"] * 3
    assert [type(event.error) for event in log.events] == [ClosedError] * 3
    with pytest.raises(ClosedError, match="client is closed"):
        await client.get(server.url)
    with pytest.raises(ClosedError):
        await client._initialize_client()


async def test_closing_closes_the_connections(server: Server) -> None:
    closed = asyncio.Event()

    class Watched(httpx.AsyncHTTPTransport):
        async def aclose(self) -> None:
            await super().aclose()
            closed.set()

    async with AsyncResilientClient(transport=Watched()) as client:
        await (await client.get(server.url))
        assert not closed.is_set()

    assert closed.is_set()


async def test_closing_without_having_opened() -> None:
    client = AsyncResilientClient()
    await client.close()

    with pytest.raises(ClosedError):
        async with client:
            pass


async def test_a_cancelled_request_leaves_one_event_and_a_result(server: Server) -> None:
    server.script = [Reply(hang=True)]
    async with AsyncResilientClient() as client:
        log = Log(client)
        task = await client.get(server.url, context=RequestContext(request_id="it"))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        result = client.get_result("it")
        await client.wait_for_all_requests()

    assert result is not None
    assert (result.outcome, result.attempts) == (EventType.CANCELLED, 1)
    assert log.types == ["CANCELLED"]


async def test_a_request_cancelled_before_its_first_step_is_told_about_too(server: Server) -> None:
    async with AsyncResilientClient() as client:
        log = Log(client)
        (await client.get(server.url, context=RequestContext(request_id="it"))).cancel()
        results = await client.wait_for_all_requests()

    assert results["it"].attempts == 0
    assert log.types == ["CANCELLED"]
    assert server.seen == []


async def test_waiting_for_all_covers_tasks_nobody_awaits_and_raises_nothing(
    refused_port: int,
) -> None:
    done: list[str] = []

    async def slow(event: AsyncEvent) -> None:
        await asyncio.sleep(0.05)
        done.append(event.context.request_id)

    async with AsyncResilientClient() as client:
        client.add_event_callback(EventType.ERROR, slow)
        for number in range(3):
            context = RequestContext(request_id=str(number), max_retries=0)
            await client.get(f"http://127.0.0.1:{refused_port}/", context=context)
        results = await client.wait_for_all_requests()
        assert sorted(done) == ["0", "1", "2"]

    assert sorted(results) == ["0", "1", "2"]
    assert not any(result.success for result in results.values())


async def test_an_error_nobody_awaits_is_not_reported_by_the_loop(
    refused_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with AsyncResilientClient() as client:
        await client.get(f"http://127.0.0.1:{refused_port}/")
        await client.wait_for_all_requests()
    gc.collect()

    assert "never retrieved" not in caplog.text


def test_a_module_level_client_is_made_without_a_loop() -> None:
    client = AsyncResilientClient(transport=failing(KeyError("unused"), 0))

    async def main() -> int:
        await client._initialize_client()
        await client._initialize_client()
        try:
            return (await (await client.get("http://x.test/"))).status_code
        finally:
            await client.close()

    assert asyncio.run(main()) == 200


@pytest.mark.parametrize("turns", range(4))
async def test_closing_ends_requests_that_have_not_begun_or_wait(
    server: Server, turns: int
) -> None:
    server.answer = lambda seen: Reply(hang=True)
    client = AsyncResilientClient(RetryPolicy(max_concurrency=1))
    tasks = [await client.get(server.url) for _ in range(2)]
    for _ in range(turns):
        await asyncio.sleep(0)
    await client.close()

    assert [type(task.exception()) for task in tasks] == [ClosedError] * 2


def test_a_client_of_several_event_loops_has_a_pool_for_each() -> None:
    """A pool that was given cannot be made anew, which the error says."""
    script = Path(__file__).with_name("loops.py")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True
    )

    assert json.loads(done.stdout) == {
        "client": ["200"] * 3,
        "registry policy": ["200"] * 3,
        "transport": ["200"] * 3,
        "given transport": ["200", "LoopChangedError", "200"],
        "events": ["SUCCESS"] * 3,
    }


async def test_two_running_event_loops_cannot_share_a_client(server: Server) -> None:
    async with AsyncResilientClient() as client:
        await (await client.get(server.url))

        def other() -> None:
            with pytest.raises(LoopChangedError):
                asyncio.run(client.get(server.url))

        await asyncio.to_thread(other)
