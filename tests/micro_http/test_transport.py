"""Any httpx client can have the policy engine, with await and without."""

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpcore
import httpx
import pytest
from tests.micro_http.conftest import Reply, Server

from micro_http import (
    AsyncResilientClient,
    AsyncRetryTransport,
    CircuitBreaker,
    CircuitOpenError,
    ConfigError,
    DeadlineExceededError,
    RetryBudget,
    RetryPolicy,
    RetryTransport,
    Try,
    TryTimeoutError,
    no_delays,
)

URL = "https://example.test/path"
Outcome = int | Exception | httpx.Response
Fetch = Callable[..., httpx.Response]


class Script:
    """A transport handler that plays outcomes and counts calls."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.calls: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request)
        outcome = self.outcomes.pop(0) if self.outcomes else 200
        if isinstance(outcome, Exception):
            raise outcome
        return outcome if isinstance(outcome, httpx.Response) else httpx.Response(outcome)


@pytest.fixture(autouse=True)
def instant() -> Iterator[None]:
    with no_delays():
        yield


@pytest.fixture(params=["async", "sync"])
def fetch(request: pytest.FixtureRequest) -> Fetch:
    """Send one request through a retrying client of either kind."""

    def fetch_sync(
        policy: RetryPolicy, script: Script, method: str = "GET", **options: Any
    ) -> httpx.Response:
        transport = RetryTransport(policy, transport=httpx.MockTransport(script))
        with httpx.Client(transport=transport) as client:
            return client.request(method, URL, **options)

    def fetch_async(
        policy: RetryPolicy, script: Script, method: str = "GET", **options: Any
    ) -> httpx.Response:
        async def main() -> httpx.Response:
            transport = AsyncRetryTransport(policy, transport=httpx.MockTransport(script))
            async with httpx.AsyncClient(transport=transport) as client:
                return await client.request(method, URL, **options)

        return asyncio.run(main())

    return fetch_async if request.param == "async" else fetch_sync


@pytest.mark.parametrize("error", [httpx.ConnectError("no"), httpcore.ConnectError("no")])
@pytest.mark.parametrize("failures", [0, 1, 2])
def test_connect_errors_are_retried(fetch: Fetch, error: Exception, failures: int) -> None:
    script = Script(*[error] * failures)

    assert fetch(RetryPolicy(), script).status_code == 200
    assert len(script.calls) == failures + 1


def test_the_last_error_is_raised_when_retries_run_out(fetch: Fetch) -> None:
    errors = [httpx.ConnectError(f"failure {n}") for n in range(4)]
    script = Script(*errors)

    with pytest.raises(httpx.ConnectError, match="failure 2"):
        fetch(RetryPolicy(max_retries=2), script)
    assert len(script.calls) == 3


@pytest.mark.parametrize("outcome", [400, 404, 429, 500, 502, 503])
def test_no_status_is_retried_by_default(fetch: Fetch, outcome: int) -> None:
    script = Script(outcome)

    assert fetch(RetryPolicy(), script).status_code == outcome
    assert len(script.calls) == 1


@pytest.mark.parametrize(
    "error",
    [httpx.ReadTimeout("x"), httpx.ConnectTimeout("x"), httpx.ReadError("x"), KeyError("x")],
)
def test_no_other_error_is_retried_by_default(fetch: Fetch, error: Exception) -> None:
    script = Script(error)

    with pytest.raises(type(error)):
        fetch(RetryPolicy(), script)
    assert len(script.calls) == 1


@pytest.mark.parametrize(
    "outcome", [429, 502, 503, 504, httpx.ReadTimeout("x"), httpx.ReadError("x")]
)
def test_the_registry_preset_retries(fetch: Fetch, outcome: Outcome) -> None:
    script = Script(outcome, outcome, outcome)

    assert fetch(RetryPolicy.for_registry(), script).status_code == 200
    assert len(script.calls) == 4


@pytest.mark.parametrize("outcome", [400, 404, 409, 500])
def test_the_registry_preset_leaves_final_answers_alone(fetch: Fetch, outcome: int) -> None:
    script = Script(outcome)

    assert fetch(RetryPolicy.for_registry(), script).status_code == outcome
    assert len(script.calls) == 1


def test_the_registry_preset_returns_the_last_response(fetch: Fetch) -> None:
    script = Script(503, 503, 503, 503, 200)

    assert fetch(RetryPolicy.for_registry(max_retries=3), script).status_code == 503
    assert len(script.calls) == 4


CAREFUL = RetryPolicy(
    statuses=frozenset({503}), retry_on=(httpx.TransportError,), idempotent_only=True
)


@pytest.mark.parametrize(
    ("method", "options", "calls"),
    [
        ("GET", {}, 2),
        ("PUT", {}, 2),
        ("POST", {}, 1),
        ("PATCH", {}, 1),
        ("POST", {"headers": {"Idempotency-Key": "k"}}, 2),
        ("POST", {"extensions": {"idempotent": True}}, 2),
        ("GET", {"extensions": {"idempotent": False}}, 1),
    ],
)
@pytest.mark.parametrize("outcome", [503, httpx.ReadError("x")])
def test_only_idempotent_requests_are_repeated_when_asked_for(
    fetch: Fetch, method: str, options: dict[str, object], calls: int, outcome: Outcome
) -> None:
    script = Script(outcome)
    if calls == 1 and isinstance(outcome, Exception):
        with pytest.raises(httpx.ReadError):
            fetch(CAREFUL, script, method, **options)
    else:
        fetch(CAREFUL, script, method, **options)

    assert len(script.calls) == calls


def test_a_post_that_was_never_sent_is_repeated(fetch: Fetch) -> None:
    script = Script(httpx.ConnectError("refused"))

    assert fetch(CAREFUL, script, "POST", content=b"body").status_code == 200
    assert [call.content for call in script.calls] == [b"body", b"body"]


def test_a_streamed_body_is_not_sent_twice() -> None:
    script = Script(503)
    transport = RetryTransport(CAREFUL, transport=httpx.MockTransport(script))
    with httpx.Client(transport=transport) as client:
        assert client.put(URL, content=iter([b"a", b"b"])).status_code == 503

    assert len(script.calls) == 1


def test_the_body_of_a_retried_response_is_closed() -> None:
    closed = []

    class Body(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield b""

        def close(self) -> None:
            closed.append(True)

    script = Script(httpx.Response(503, stream=Body()))
    with httpx.Client(
        transport=RetryTransport(CAREFUL, transport=httpx.MockTransport(script))
    ) as client:
        client.get(URL)

    assert closed == [True]


def test_the_budget_limits_retries_to_a_share_of_the_traffic() -> None:
    policy = RetryPolicy(budget=RetryBudget(ratio=0.1, burst=2))
    script = Script(*[httpx.ConnectError("x")] * 1000)
    with httpx.Client(
        transport=RetryTransport(policy, transport=httpx.MockTransport(script))
    ) as client:
        for _ in range(100):
            with pytest.raises(httpx.ConnectError):
                client.get(URL)

    assert 110 <= len(script.calls) <= 112


def test_the_breaker_opens_per_origin_and_lets_one_trial_through() -> None:
    policy = RetryPolicy(max_retries=0, breaker=CircuitBreaker(failures=3, open_for=3600))
    script = Script(500, 500, httpx.ReadError("x"))
    with httpx.Client(
        transport=RetryTransport(policy, transport=httpx.MockTransport(script))
    ) as client:
        client.get(URL)
        client.get(URL)
        with pytest.raises(httpx.ReadError):
            client.get(URL)
        with pytest.raises(CircuitOpenError) as refused:
            client.get(URL)
        assert client.get("https://other.test/").status_code == 200

    assert refused.value.origin == "https://example.test"
    assert 3500 < refused.value.retry_in <= 3600
    assert len(script.calls) == 4


def test_observers_see_each_try_and_may_raise(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Try] = []

    def broken(_: Try) -> None:
        raise ZeroDivisionError

    policy = RetryPolicy.for_registry(retry_backoff_ms=100)
    script = Script(httpx.ConnectError("x"), 503)
    transport = RetryTransport(
        policy, transport=httpx.MockTransport(script), observers=[broken, seen.append]
    )
    with httpx.Client(transport=transport) as client:
        assert client.get(URL).status_code == 200

    assert [(t.number, t.status_code, type(t.error)) for t in seen] == [
        (1, None, httpx.ConnectError),
        (2, 503, type(None)),
        (3, 200, type(None)),
    ]
    assert seen[2].retry_in is None
    assert all(t.retry_in is not None and t.retry_in <= 0.2 for t in seen[:2])
    assert "observer" in caplog.text


async def test_an_async_try_that_takes_too_long_is_ended(server: Server) -> None:
    server.script = [Reply(hang=True)]
    policy = RetryPolicy(try_timeout=0.2, retry_on=(httpx.TimeoutException,), max_retries=1)
    async with httpx.AsyncClient(transport=AsyncRetryTransport(policy)) as client:
        assert (await client.get(server.url)).status_code == 200

    assert len(server.seen) == 2


async def test_the_time_out_of_the_last_try_is_raised(server: Server) -> None:
    server.script = [Reply(hang=True)]
    async with httpx.AsyncClient(
        transport=AsyncRetryTransport(RetryPolicy(try_timeout=0.1))
    ) as client:
        with pytest.raises(TryTimeoutError):
            await client.get(server.url)


async def test_a_sync_try_that_takes_too_long_is_ended(server: Server) -> None:
    server.script = [Reply(hang=True)]
    policy = RetryPolicy(try_timeout=0.2, retry_on=(httpx.ReadTimeout,), max_retries=1)

    def fetch() -> int:
        with httpx.Client(transport=RetryTransport(policy)) as client:
            return client.get(server.url).status_code

    assert await asyncio.to_thread(fetch) == 200
    assert len(server.seen) == 2


async def test_the_deadline_ends_an_async_try(server: Server) -> None:
    server.script = [Reply(hang=True)]
    policy = RetryPolicy(deadline=0.2, retry_on=(httpx.TimeoutException,))
    async with httpx.AsyncClient(transport=AsyncRetryTransport(policy)) as client:
        with pytest.raises(DeadlineExceededError) as late:
            await client.get(server.url)

    assert late.value.deadline == 0.2
    assert len(server.seen) == 1


def test_no_retry_is_begun_that_would_miss_the_deadline(fetch: Fetch) -> None:
    script = Script(httpx.ConnectError("x"))

    with pytest.raises(httpx.ConnectError):
        fetch(RetryPolicy(deadline=1, base_delay=2), script)
    assert len(script.calls) == 1


async def test_a_time_out_of_the_callers_own_is_not_mistaken_for_the_policys() -> None:
    async def handler(request: httpx.Request) -> httpx.Response:
        raise TimeoutError("the handler's own")

    policy = RetryPolicy(deadline=60, try_timeout=60)
    async with httpx.AsyncClient(
        transport=AsyncRetryTransport(policy, transport=httpx.MockTransport(handler))
    ) as client:
        with pytest.raises(TimeoutError, match="the handler's own"):
            await client.get(URL)


async def test_concurrency_is_limited_async() -> None:
    running = most = 0

    async def handler(request: httpx.Request) -> httpx.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return httpx.Response(200)

    transport = AsyncRetryTransport(
        RetryPolicy(max_concurrency=3), transport=httpx.MockTransport(handler)
    )
    async with httpx.AsyncClient(transport=transport) as client:
        await asyncio.gather(*[client.get(URL) for _ in range(20)])

    assert most == 3


def test_concurrency_is_limited_sync_and_waits_no_longer_than_the_deadline() -> None:
    entered, leave = threading.Event(), threading.Event()

    def handler(request: httpx.Request) -> httpx.Response:
        entered.set()
        leave.wait(10)
        return httpx.Response(200)

    policy = RetryPolicy(max_concurrency=1, deadline=0.2)
    with (
        httpx.Client(
            transport=RetryTransport(policy, transport=httpx.MockTransport(handler))
        ) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(client.get, URL)
        entered.wait(10)
        with pytest.raises(DeadlineExceededError):
            client.get(URL)
        leave.set()
        assert first.result().status_code == 200


async def test_a_slow_get_is_hedged_and_the_first_answer_wins(server: Server) -> None:
    server.script = [Reply(hang=True)]
    tries: list[Try] = []
    transport = AsyncRetryTransport(RetryPolicy(hedge_after=0.05), observers=[tries.append])
    async with httpx.AsyncClient(transport=transport) as client:
        assert (await client.get(server.url)).status_code == 200

    assert len(server.seen) == 2
    assert [t.number for t in tries] == [2]


async def test_only_gets_are_hedged() -> None:
    calls = 0

    async def handler(request: httpx.Request) -> httpx.Response:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.05)
        return httpx.Response(200)

    transport = AsyncRetryTransport(
        RetryPolicy(hedge_after=0.001), transport=httpx.MockTransport(handler)
    )
    async with httpx.AsyncClient(transport=transport) as client:
        await client.post(URL)
        assert calls == 1
        await client.get(URL)

    assert calls == 3


async def test_the_first_error_of_a_hedge_waits_for_the_other_copy() -> None:
    second = asyncio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        if second.is_set():
            return httpx.Response(200)
        second.set()
        await asyncio.sleep(0.05)
        raise httpx.ReadError("the first copy failed")

    transport = AsyncRetryTransport(
        RetryPolicy(hedge_after=0.001), transport=httpx.MockTransport(handler)
    )
    async with httpx.AsyncClient(transport=transport) as client:
        assert (await client.get(URL)).status_code == 200


async def test_a_hedge_that_fails_twice_raises_the_first_error() -> None:
    errors = [httpx.ReadError("first"), httpx.ReadError("second")]

    async def handler(request: httpx.Request) -> httpx.Response:
        error = errors.pop(0)
        await asyncio.sleep(0.02)
        raise error

    transport = AsyncRetryTransport(
        RetryPolicy(hedge_after=0.001), transport=httpx.MockTransport(handler)
    )
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(httpx.ReadError, match="first"):
            await client.get(URL)


def test_a_blocking_transport_refuses_to_hedge() -> None:
    with pytest.raises(ConfigError, match="invalid hedge_after 1: expected None without asyncio"):
        RetryTransport(RetryPolicy(hedge_after=1))


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_body_cut_on_the_way_is_retried_when_it_is_read_with_the_try(
    server: Server, kind: str
) -> None:
    packed = gzip.compress(b"the whole body")
    server.script = [
        Reply(body=b"half", cut=True),
        Reply(body=packed, headers={"Content-Encoding": "gzip"}),
    ]
    policy = RetryPolicy.for_registry(retry_backoff_ms=1)

    def fetch() -> httpx.Response:
        with httpx.Client(transport=RetryTransport(policy, read_body=True)) as client:
            return client.get(server.url)

    if kind == "sync":
        response = await asyncio.to_thread(fetch)
    else:
        async with httpx.AsyncClient(
            transport=AsyncRetryTransport(policy, read_body=True)
        ) as client:
            response = await client.get(server.url)

    assert response.text == "the whole body"
    assert response.elapsed.total_seconds() > 0
    assert len(server.seen) == 2


async def test_a_body_is_streamed_when_it_is_not_read_with_the_try() -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"first"
        raise httpx.ReadError("cut")

    script = Script(httpx.Response(200, content=parts()))
    transport = AsyncRetryTransport(
        RetryPolicy.for_registry(), transport=httpx.MockTransport(script)
    )
    async with (
        httpx.AsyncClient(transport=transport) as client,
        client.stream("GET", URL) as response,
    ):
        chunks = response.aiter_raw()
        assert await anext(chunks) == b"first"
        with pytest.raises(httpx.ReadError):
            await anext(chunks)

    assert len(script.calls) == 1


async def test_cancelling_ends_the_request_and_is_no_failure_of_the_origin(server: Server) -> None:
    server.script = [Reply(hang=True)]
    policy = RetryPolicy(breaker=CircuitBreaker(failures=1), retry_on=(Exception,))
    async with httpx.AsyncClient(transport=AsyncRetryTransport(policy)) as client:
        task = asyncio.create_task(client.get(server.url))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.get(server.url)).status_code == 200

    assert len(server.seen) == 2


async def test_closing_closes_the_inner_transport() -> None:
    closed = []

    class Inner(httpx.AsyncBaseTransport, httpx.BaseTransport):
        def close(self) -> None:
            closed.append("sync")

        async def aclose(self) -> None:
            closed.append("async")

    httpx.Client(transport=RetryTransport(transport=Inner())).close()
    await httpx.AsyncClient(transport=AsyncRetryTransport(transport=Inner())).aclose()

    assert closed == ["sync", "async"]


@pytest.mark.parametrize(("method", "sent"), [("POST", 1), ("GET", 3), ("PUT", 3)])
@pytest.mark.parametrize("kind", ["client", "mocked client", "async", "sync"])
async def test_a_request_that_was_redirected_to_nowhere_counts_as_sent(
    server: Server, refused_port: int, kind: str, method: str, sent: int
) -> None:
    """A connection error after a 303 is no proof that nothing was sent."""
    location = {"Location": f"http://127.0.0.1:{refused_port}/"}
    server.answer = lambda seen: Reply(303, headers=location)
    played: list[str] = []

    def play(request: httpx.Request) -> httpx.Response:
        if request.url.port == refused_port:
            raise httpx.ConnectError("refused")
        played.append(request.method)
        return httpx.Response(303, headers=location)

    async def send() -> None:
        request = httpx.Request(method, server.url, content=b"x")
        policy = RetryPolicy(max_retries=2)
        if kind == "async":
            async with httpx.AsyncClient(follow_redirects=True) as inner:
                transport = AsyncRetryTransport(policy, transport=AsyncThrough(inner))
                await transport.handle_async_request(request)
        elif kind == "sync":
            with httpx.Client(follow_redirects=True) as blocking:
                retrying = RetryTransport(policy, transport=Through(blocking))
                await asyncio.to_thread(retrying.handle_request, request)
        else:
            mock = httpx.MockTransport(play) if kind == "mocked client" else None
            options: dict[str, Any] = {"transport": mock, "follow_redirects": True}
            async with AsyncResilientClient(policy, **options) as client:
                await (await client.request(method, server.url, content=b"x"))

    with pytest.raises(httpx.ConnectError):
        await send()

    assert len(played if kind == "mocked client" else server.seen) == sent


class AsyncThrough(httpx.AsyncBaseTransport):
    """A transport that sends through a client, as the registry clients do."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.client.send(request)


class Through(httpx.BaseTransport):
    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self.client.send(request)


@pytest.mark.parametrize("error", [httpx.PoolTimeout("full"), httpcore.PoolTimeout("full")])
def test_a_full_pool_is_a_request_that_was_not_sent(fetch: Fetch, error: Exception) -> None:
    """It may be repeated, and is no failure of the server."""
    policy = RetryPolicy(
        retry_on=(type(error),), idempotent_only=True, breaker=CircuitBreaker(failures=1)
    )
    script = Script(error, error)

    assert fetch(policy, script, "POST").status_code == 200
    assert len(script.calls) == 3
