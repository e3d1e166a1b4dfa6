"""Real delays between tries: nothing here is skipped by `no_delays`."""

import asyncio
import time

import httpx
import pytest

from micro_http import (
    AsyncResilientClient,
    AsyncRetryTransport,
    EventType,
    RequestContext,
    RetryPolicy,
    RetryTransport,
    no_delays,
)


class Flaky:
    """Refuse twice, then answer."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.calls <= 2:
            raise httpx.ConnectError("refused")
        return httpx.Response(200)


async def test_total_time_includes_the_delays() -> None:
    async with AsyncResilientClient(transport=httpx.MockTransport(Flaky())) as client:
        context = RequestContext(base_delay=0.05, request_id="it", jitter="none")
        await (await client.get("http://x.test/", context=context))
        result = client.get_result("it")

    assert result is not None
    assert result.total_time >= 0.149  # 0.05 and 0.1, and what the clock rounds off


async def test_cancelling_during_a_delay_ends_it_at_once(refused_port: int) -> None:
    retrying = asyncio.Event()
    seen: list[str] = []
    async with AsyncResilientClient() as client:
        client.add_event_callback(EventType.RETRY, lambda event: retrying.set())
        client.add_event_callback(EventType.CANCELLED, lambda event: seen.append(event.event_type))
        context = RequestContext(base_delay=3600, max_delay=3600, request_id="it")
        task = await client.get(f"http://127.0.0.1:{refused_port}/", context=context)
        await retrying.wait()
        task.cancel()
        results = await client.wait_for_all_requests()

    assert (results["it"].outcome, results["it"].attempts) == (EventType.CANCELLED, 1)
    assert seen == ["CANCELLED"]


POLICY = RetryPolicy(base_delay=0.05, jitter="none")


def test_the_blocking_transport_waits_between_tries() -> None:
    started = time.monotonic()
    with httpx.Client(
        transport=RetryTransport(POLICY, transport=httpx.MockTransport(Flaky()))
    ) as client:
        client.get("http://x.test/")

    assert time.monotonic() - started >= 0.149


async def test_the_awaiting_transport_waits_between_tries() -> None:
    started = time.monotonic()
    transport = AsyncRetryTransport(POLICY, transport=httpx.MockTransport(Flaky()))
    async with httpx.AsyncClient(transport=transport) as client:
        await client.get("http://x.test/")

    assert time.monotonic() - started >= 0.149


def test_no_delays_ends_with_its_block_even_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), no_delays():
        raise ZeroDivisionError
    started = time.monotonic()
    with httpx.Client(
        transport=RetryTransport(POLICY, transport=httpx.MockTransport(Flaky()))
    ) as client:
        client.get("http://x.test/")

    assert time.monotonic() - started >= 0.149
