"""Callbacks: order, clones, isolation from the requests, bounds."""

import asyncio
import gc
import weakref
from collections.abc import Iterator

import httpx
import pytest
from tests.micro_http.conftest import Log, Reply, Server, failing

from micro_http import (
    AsyncEvent,
    AsyncResilientClient,
    ConfigError,
    EventType,
    RequestContext,
    no_delays,
)


@pytest.fixture(autouse=True)
def instant() -> Iterator[None]:
    with no_delays():
        yield


async def test_the_callers_context_is_untouched_and_events_are_clones_per_delivery() -> None:
    context = RequestContext(metadata={"list": []}, request_id="it")
    seen: list[list[str]] = []

    def spoil(event: AsyncEvent) -> None:
        event.context.metadata["list"].append("spoilt")
        seen.append(event.context.metadata["list"])

    async with AsyncResilientClient(transport=failing(httpx.ConnectError("x"), 1)) as client:
        for event_type in (EventType.RETRY, EventType.SUCCESS, EventType.SUCCESS):
            client.add_event_callback(event_type, spoil)
        task = await client.get("http://x.test/", context=context)
        context.metadata["list"].append("later")
        await task

    assert seen == [["spoilt"]] * 3
    assert context == RequestContext(metadata={"list": ["later"]}, request_id="it")


async def test_callbacks_run_in_order_and_a_raising_one_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines: list[str] = []

    async def broken(event: AsyncEvent) -> None:
        raise ZeroDivisionError("my callback")

    async def awaits_something_cancelled(event: AsyncEvent) -> None:
        raise asyncio.CancelledError

    def log(event: AsyncEvent) -> None:
        lines.append(
            f"{event.event_type} {event.context.current_attempt}/{event.context.max_retries}"
        )

    async with AsyncResilientClient(transport=failing(httpx.ConnectError("x"), 3)) as client:
        for event_type in (EventType.RETRY, EventType.SUCCESS):
            for callback in (broken, awaits_something_cancelled, log):
                client.add_event_callback(event_type, callback)
        task = await client.get("http://x.test/", context=RequestContext(max_retries=3))
        assert (await task).status_code == 200

    assert lines == ["RETRY 1/3", "RETRY 2/3", "RETRY 3/3", "SUCCESS 3/3"]
    assert caplog.text.count("ZeroDivisionError: my callback") == 4


async def test_an_unknown_event_type_is_refused() -> None:
    async with AsyncResilientClient() as client:
        with pytest.raises(ConfigError) as refused:
            client.add_event_callback("DONE", print)
    assert str(refused.value) == (
        "invalid event type 'DONE': expected one of SUCCESS, RETRY, ERROR, TIMEOUT, CANCELLED"
    )


async def test_a_slow_callback_delays_no_answer_and_its_events_are_delivered_on_close(
    server: Server,
) -> None:
    release = asyncio.Event()
    seen: list[str] = []

    async def slow(event: AsyncEvent) -> None:
        await release.wait()
        seen.append(event.context.request_id)

    async with AsyncResilientClient() as client:
        client.add_event_callback(EventType.SUCCESS, slow)
        for number in range(5):
            await (await client.get(server.url, context=RequestContext(request_id=str(number))))
        assert seen == []
        release.set()

    assert seen == ["0", "1", "2", "3", "4"]


async def test_a_callback_that_never_returns_does_not_hang_close(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("micro_http._observability.monitor.DRAIN_SECONDS", 0.05)

    async def stuck(event: AsyncEvent) -> None:
        await asyncio.Event().wait()

    async with AsyncResilientClient() as client:
        client.add_event_callback(EventType.SUCCESS, stuck)
        await (await client.get(server.url))

    assert "gave up on 1 events" in caplog.text


async def test_a_callback_may_use_and_close_its_client(server: Server) -> None:
    closed = asyncio.Event()
    client = AsyncResilientClient()

    async def close(event: AsyncEvent) -> None:
        if event.context.request_id == "first":
            await (await client.get(server.url, context=RequestContext(request_id="second")))
            assert set(await client.wait_for_all_requests()) == {"first", "second"}
            await client.close()
            closed.set()

    client.add_event_callback(EventType.SUCCESS, close)
    await (await client.get(server.url, context=RequestContext(request_id="first")))
    await closed.wait()

    assert len(server.seen) == 2


async def test_events_beyond_the_limit_are_dropped_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = asyncio.Event()
    seen: list[str] = []

    async def slow(event: AsyncEvent) -> None:
        await release.wait()
        seen.append(event.context.request_id)

    async with AsyncResilientClient(
        max_pending_events=2, transport=failing(KeyError("unused"), 0)
    ) as client:
        client.add_event_callback(EventType.SUCCESS, slow)
        for number in range(6):
            await (
                await client.get("http://x.test/", context=RequestContext(request_id=str(number)))
            )
        release.set()
        results = await client.wait_for_all_requests()

    assert len(results) == 6
    assert seen == ["0", "1", "2"]
    assert caplog.text.count("dropped event SUCCESS") == 3


async def test_three_thousand_events_arrive() -> None:
    counted = 0

    def count(event: AsyncEvent) -> None:
        nonlocal counted
        counted += 1

    async with AsyncResilientClient(transport=failing(httpx.ConnectError("x"), 1500)) as client:
        client.add_event_callback(EventType.RETRY, count)
        client.add_event_callback(EventType.SUCCESS, count)
        context = RequestContext(max_retries=1500)
        tasks = [await client.get("http://x.test/", context=context) for _ in range(1500)]
        await asyncio.gather(*tasks)
        await client.wait_for_all_requests()

    assert counted == 3000


async def test_waiting_events_keep_few_responses(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """An event that waits for a slow callback goes without its response when these are large."""
    release = asyncio.Event()
    sizes: list[int | None] = []

    async def slow(event: AsyncEvent) -> None:
        await release.wait()
        sizes.append(None if event.data is None else len(event.data.content))

    server.answer = lambda seen: Reply(body=b"x" * 1_000_000)
    async with AsyncResilientClient() as client:
        client.add_event_callback(EventType.SUCCESS, slow)
        for _ in range(12):
            await (await client.get(server.url))
        release.set()
        await client.wait_for_all_requests()
        await (await client.get(server.url))

    assert sizes == [1_000_000] * 8 + [None] * 4 + [1_000_000]
    assert caplog.text.count("goes without its response") == 4


async def test_an_event_that_is_alone_keeps_a_response_of_any_size(server: Server) -> None:
    server.answer = lambda seen: Reply(body=b"x" * 20_000_000)
    async with AsyncResilientClient() as client:
        log = Log(client)
        await (await client.get(server.url))
        await client.wait_for_all_requests()

    assert [len(event.data.content) for event in log.events if event.data] == [20_000_000]


async def test_an_event_without_callbacks_is_not_kept(server: Server) -> None:
    async with AsyncResilientClient(max_pending_events=1) as client:
        client.add_event_callback(EventType.ERROR, print)
        responses = [weakref.ref(await (await client.get(server.url))) for _ in range(3)]
        await asyncio.sleep(0)  # the loop still holds the last task
        gc.collect()

        assert [response() for response in responses] == [None] * 3
