"""The client on real sockets: exact counts, isolation, what is forwarded and what is kept."""

import asyncio
import inspect
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpcore
import httpx
import pytest
from tests.micro_http.conftest import Log, Reply, Server, failing

import micro_http
from micro_http import (
    AsyncEvent,
    AsyncResilientClient,
    ConfigError,
    EventType,
    RequestContext,
    RetryPolicy,
    create_async_resilient_client,
    no_delays,
    simple_async_request,
)


@pytest.fixture(autouse=True)
def instant() -> Iterator[None]:
    with no_delays():
        yield


@pytest.mark.parametrize("error", [httpx.ConnectError("no"), httpcore.ConnectError("no")])
@pytest.mark.parametrize("failures", [0, 1, 2, 3])
async def test_k_connect_errors_then_success(error: Exception, failures: int) -> None:
    async with AsyncResilientClient(transport=failing(error, failures)) as client:
        log = Log(client)
        context = RequestContext(max_retries=3, request_id="it", metadata={"k": "v"})
        response = await (await client.get("http://x.test/", context=context))
        result = client.get_result("it")
        await client.wait_for_all_requests()

    assert result is not None
    assert (result.attempts, result.success, result.status_code) == (failures + 1, True, 200)
    assert log.types == ["RETRY"] * failures + ["SUCCESS"]
    assert [event.context.current_attempt for event in log.events] == [
        *range(1, failures + 1),
        failures,
    ]
    assert all(event.error is error for event in log.events[:-1])
    assert log.events[-1].data is response
    assert {event.context.request_id for event in log.events} == {"it"}


@pytest.mark.parametrize("max_retries", [0, 1, 2, 5])
async def test_exhausted_retries_on_a_refused_port(refused_port: int, max_retries: int) -> None:
    async with AsyncResilientClient() as client:
        log = Log(client)
        context = RequestContext(max_retries=max_retries, request_id="it")
        task = await client.get(f"http://127.0.0.1:{refused_port}/", context=context)
        with pytest.raises(httpx.ConnectError) as raised:
            await task
        result = client.get_result("it")
        await client.wait_for_all_requests()

    assert result is not None
    assert (result.attempts, result.success, result.status_code) == (max_retries + 1, False, None)
    assert result.error == f"ConnectError: {raised.value}"
    assert log.types == ["RETRY"] * max_retries + ["ERROR"]
    assert log.events[-1].error is raised.value


async def test_a_port_that_listens_later_is_reached(refused_port: int) -> None:
    server = Server()

    async def listen(event: AsyncEvent) -> None:
        if event.context.current_attempt == 2:
            await server.start(refused_port)

    async with AsyncResilientClient() as client:
        client.add_event_callback(EventType.RETRY, listen)
        context = RequestContext(max_retries=10_000, request_id="it")
        assert (
            await (await client.get(f"http://127.0.0.1:{refused_port}/", context=context))
        ).status_code == 200
        result = client.get_result("it")
    await server.stop()

    assert result is not None
    assert result.attempts >= 3
    assert len(server.seen) == 1


async def test_an_unknown_host_is_a_connect_error() -> None:
    """One retry only: without a name server each try takes its time."""
    async with AsyncResilientClient() as client:
        context = RequestContext(request_id="it", max_retries=1)
        task = await client.get("http://no-such-host.invalid/", context=context)
        with pytest.raises(httpx.ConnectError):
            await task
        result = client.get_result("it")

    assert result is not None
    assert result.attempts == 2


@pytest.mark.parametrize("status", [400, 404, 429, 500, 502, 503])
async def test_error_statuses_are_returned_at_once(server: Server, status: int) -> None:
    server.script = [Reply(status)]
    async with AsyncResilientClient() as client:
        log = Log(client)
        assert (await (await client.get(server.url))).status_code == status
        await client.wait_for_all_requests()

    assert len(server.seen) == 1
    assert log.types == ["SUCCESS"]


async def outcome_of(
    client: AsyncResilientClient, url: str, **options: Any
) -> tuple[Exception, Log]:
    """Return the error of a request that is made once, and its events."""
    log = Log(client)
    task = await client.get(url, context=RequestContext(request_id="it", max_retries=5), **options)
    with pytest.raises(Exception) as raised:  # noqa: PT011 - the caller looks at it
        await task
    await client.wait_for_all_requests()
    result = client.get_result("it")
    assert result is not None
    assert result.attempts == 1
    return raised.value, log


async def test_a_read_time_out_is_not_retried(server: Server) -> None:
    server.script = [Reply(hang=True)]
    async with AsyncResilientClient() as client:
        error, log = await outcome_of(client, server.url, timeout=0.1)

    assert isinstance(error, httpx.ReadTimeout)
    assert log.types == ["TIMEOUT"]
    assert len(server.seen) == 1


async def test_a_cut_connection_is_not_retried(server: Server) -> None:
    server.script = [Reply(cut=True)]
    async with AsyncResilientClient() as client:
        error, log = await outcome_of(client, server.url)

    assert isinstance(error, httpx.RemoteProtocolError)
    assert log.types == ["ERROR"]
    assert len(server.seen) == 1


@pytest.mark.parametrize("url", ["nonsense", "ftp://x.test/", "http://x.test:port/", "http://\0/"])
async def test_a_bad_url_fails_the_task(url: str) -> None:
    async with AsyncResilientClient() as client:
        _, log = await outcome_of(client, url)

    assert log.types == ["ERROR"]


@pytest.mark.parametrize(
    ("error", "event_type"),
    [
        (httpx.ConnectTimeout("x"), "TIMEOUT"),
        (httpcore.ReadTimeout("x"), "TIMEOUT"),
        (TimeoutError("x"), "TIMEOUT"),
        (httpx.ReadError("x"), "ERROR"),
        (ZeroDivisionError("x"), "ERROR"),
    ],
)
async def test_any_other_exception_ends_the_request_with_one_event(
    error: Exception, event_type: str
) -> None:
    async with AsyncResilientClient(transport=failing(error, 9)) as client:
        raised, log = await outcome_of(client, "http://x.test/")

    assert raised is error
    assert log.types == [event_type]


async def test_get_returns_a_running_task_at_once(server: Server) -> None:
    server.script = [Reply(hang=True)]
    async with AsyncResilientClient() as client:
        task = await client.get(server.url)
        assert isinstance(task, asyncio.Task)
        assert not task.done()
        await server.arrived.wait()
        assert not task.done()


@pytest.mark.parametrize("verb", ["get", "head", "options", "post", "put", "patch", "delete"])
async def test_all_verbs_forward_their_options(server: Server, verb: str) -> None:
    async with AsyncResilientClient(base_url=server.url, headers={"x-client": "c"}) as client:
        options: dict[str, Any] = {"params": {"q": "1"}, "headers": {"X-Own": "o"}}
        if verb in ("post", "put", "patch"):
            options["json"] = {"a": 1}
        response = await (await getattr(client, verb)("/path", **options))

    assert response.status_code == 200
    (seen,) = server.seen
    assert (seen.method, seen.path) == (verb.upper(), "/path?q=1")
    assert (seen.headers["x-own"], seen.headers["x-client"]) == ("o", "c")
    assert seen.body == (b'{"a":1}' if "json" in options else b"")


async def test_a_post_that_was_never_sent_is_repeated_with_its_body() -> None:
    bodies = []

    def handler(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        if len(bodies) < 3:
            raise httpx.ConnectError("refused")
        return httpx.Response(201)

    async with AsyncResilientClient(transport=httpx.MockTransport(handler)) as client:
        assert (await (await client.post("http://x.test/", content=b"data"))).status_code == 201

    assert bodies == [b"data"] * 3


async def test_requests_without_context_have_ids_of_their_own(server: Server) -> None:
    async with AsyncResilientClient() as client:
        for _ in range(3):
            await (await client.get(server.url))
        results = await client.wait_for_all_requests()

    assert len(results) == 3
    assert all(request_id == result.request_id for request_id, result in results.items())


async def test_requests_side_by_side_count_for_themselves(refused_port: int) -> None:
    async with create_async_resilient_client() as client:
        tasks = []
        for request_id, max_retries in (("users", 2), ("orders", 4), ("notes", 1)):
            context = RequestContext(request_id=request_id, max_retries=max_retries)
            tasks.append(await client.get(f"http://127.0.0.1:{refused_port}/", context=context))
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        results = await client.wait_for_all_requests()

    assert {type(outcome) for outcome in outcomes} == {httpx.ConnectError}
    assert {key: result.attempts for key, result in results.items()} == {
        "users": 3,
        "orders": 5,
        "notes": 2,
    }


async def test_a_subclass_decides_its_own_delay() -> None:
    class Patient(RequestContext):
        def calculate_delay(self) -> float:
            return 1234.5

    async with AsyncResilientClient(transport=failing(httpx.ConnectError("x"), 1)) as client:
        log = Log(client)
        await (await client.get("http://x.test/", context=Patient()))

    assert [event.context.last_delay for event in log.events] == [1234.5, 1234.5]
    assert all(isinstance(event.context, Patient) for event in log.events)


async def test_of_two_requests_with_one_id_the_last_to_end_is_kept(
    server: Server, refused_port: int
) -> None:
    async with AsyncResilientClient() as client:
        context = RequestContext(request_id="same", max_retries=0)
        await (await client.get(server.url, context=context))
        await asyncio.wait([await client.get(f"http://127.0.0.1:{refused_port}/", context=context)])
        result = client.get_result("same")

    assert result is not None
    assert not result.success


async def test_results_are_bounded_and_the_oldest_are_forgotten() -> None:
    async with AsyncResilientClient(
        max_results=3, transport=failing(KeyError("unused"), 0)
    ) as client:
        for number in range(5):
            await (
                await client.get("http://x.test/", context=RequestContext(request_id=str(number)))
            )
        results = await client.wait_for_all_requests()
        assert client.get_result("0") is None

    assert list(results) == ["2", "3", "4"]


@pytest.mark.parametrize("option", ["max_results", "max_pending_events"])
def test_limits_must_be_positive(option: str) -> None:
    limits: dict[str, Any] = {option: 0}
    with pytest.raises(ConfigError, match=f"invalid {option} 0: expected a number > 0"):
        AsyncResilientClient(**limits)


async def test_a_policy_reaches_further_when_asked_to(server: Server) -> None:
    server.script = [Reply(503, headers={"Retry-After": "0"}), Reply(cut=True), Reply(200)]
    policy = RetryPolicy(max_retries=5, statuses=frozenset({503}), retry_on=(httpx.TransportError,))
    async with AsyncResilientClient(policy) as client:
        log = Log(client)
        response = await (await client.get(server.url))
        await client.wait_for_all_requests()

    assert response.status_code == 200
    assert log.types == ["RETRY", "RETRY", "SUCCESS"]
    assert log.events[0].data is not None
    assert log.events[0].data.status_code == 503
    assert isinstance(log.events[1].error, httpx.RemoteProtocolError)
    assert log.events[2].context.max_retries == 5


@pytest.mark.parametrize(
    ("options", "requests"),
    [
        ({}, 1),
        ({"headers": {"Idempotency-Key": "k"}}, 2),
        ({"extensions": {"idempotent": True}}, 2),
        ({"extensions": {"idempotent": True}, "files": {"f": b"x"}}, 1),
    ],
)
async def test_a_post_that_may_have_arrived_is_repeated_only_if_idempotent(
    server: Server, options: dict[str, Any], requests: int
) -> None:
    server.script = [Reply(503)]
    policy = RetryPolicy(statuses=frozenset({503}), idempotent_only=True)
    async with AsyncResilientClient(policy) as client:
        await (await client.post(server.url, **options))

    assert len(server.seen) == requests


async def test_a_body_that_is_streamed_is_not_sent_twice(server: Server) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"part"

    server.script = [Reply(503)]
    async with AsyncResilientClient(RetryPolicy(statuses=frozenset({503}))) as client:
        headers = {"Content-Length": "4"}
        response = await (await client.put(server.url, content=parts(), headers=headers))

    assert response.status_code == 503
    assert len(server.seen) == 1


async def test_clients_share_one_tls_context_unless_told_otherwise() -> None:
    assert micro_http.shared_ssl_context() is micro_http.shared_ssl_context()
    async with AsyncResilientClient(verify=False) as client:
        assert client._client is not None


async def test_simple_async_request(server: Server) -> None:
    server.script = [Reply(body=b'{"n": 1}')]
    response = await simple_async_request("POST", server.url, max_retries=2, timeout=10.0, json=[1])

    assert response.json() == {"n": 1}
    assert server.seen[0].body == b"[1]"


async def test_simple_async_request_times_out(server: Server) -> None:
    server.script = [Reply(hang=True)]
    with pytest.raises(httpx.ReadTimeout):
        await simple_async_request("GET", server.url, timeout=0.1)


async def test_simple_async_request_retries_as_told(
    refused_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "httpcore")
    with pytest.raises(httpx.ConnectError):
        await simple_async_request("GET", f"http://127.0.0.1:{refused_port}/", max_retries=4)

    assert caplog.text.count("connect_tcp.started") == 5


def test_the_documented_signatures() -> None:
    parameters = inspect.signature(simple_async_request).parameters
    assert list(parameters)[:4] == ["method", "url", "max_retries", "timeout"]
    assert (parameters["max_retries"].default, parameters["timeout"].default) == (2, 10.0)
    assert list(inspect.signature(AsyncResilientClient.get).parameters) == [
        "self",
        "url",
        "context",
        "options",
    ]
    assert inspect.signature(AsyncResilientClient.get).parameters["context"].default is None


def test_everything_public_is_annotated_and_documented() -> None:
    for name in micro_http.__all__:
        item = getattr(micro_http, name)
        if inspect.isfunction(item):
            members = {name: item}
        elif inspect.isclass(item):
            members = {key: value for key, value in vars(item).items() if not key.startswith("_")}
        else:
            continue  # a type alias
        assert item.__doc__, name
        for key, member in members.items():
            if inspect.isfunction(member):
                assert member.__doc__, f"{name}.{key}"
                assert set(inspect.signature(member).parameters) - {"self"} <= set(
                    member.__annotations__
                )
                assert "return" in member.__annotations__


def test_the_public_names() -> None:
    assert sorted(micro_http.__all__) == micro_http.__all__
    assert set(micro_http.__all__) >= {
        "AsyncEvent",
        "AsyncResilientClient",
        "EventType",
        "RequestContext",
        "create_async_resilient_client",
        "simple_async_request",
    }


async def test_a_result_has_the_class_of_its_error(server: Server) -> None:
    """The text may be empty, as that of a read time-out is."""
    server.script = [Reply(hang=True)]
    async with AsyncResilientClient(timeout=0.1) as client:
        context = RequestContext(request_id="it", max_retries=0)
        await asyncio.wait([await client.get(server.url, context=context)])
        late = client.get_result("it")
        await (await client.get(server.url, context=context))
        well = client.get_result("it")

    assert late is not None
    assert well is not None
    assert (late.error, late.error_type) == ("ReadTimeout", httpx.ReadTimeout)
    assert (well.error, well.error_type) == (None, None)


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"HTTP_PROXY": "socks5://me:s3cret@127.0.0.1:1"}, "socksio"),
        ({"HTTP_PROXY": "gopher://me:s3cret@127.0.0.1:1"}, "gopher"),
        ({"NO_PROXY": "fd00::/8", "HTTP_PROXY": "http://127.0.0.1:1"}, "Invalid port"),
    ],
)
def test_settings_of_the_environment_that_httpx_refuses_are_one_line_at_construction(
    variables: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigError, match="invalid client options or proxy settings: ") as refused:
        AsyncResilientClient()

    assert reason in str(refused.value)
    assert "s3cret" not in f"{refused.value} {refused.value.__cause__}"
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("given", ["request", "base_url"])
async def test_credentials_of_a_url_become_basic_authentication(
    server: Server, given: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Httpx itself logs the whole URL of a request."""
    url = server.url.replace("http://", "http://me:p%40ss@")
    caplog.set_level(logging.DEBUG)
    options: dict[str, Any] = {"base_url": url} if given == "base_url" else {}
    async with AsyncResilientClient(**options) as client:
        response = await (await client.get("/" if options else url))
        await (await client.get("/" if options else url, auth=("other", "x")))

    assert "p%40ss" not in f"{caplog.text} {response.url} {response.request.url}"
    assert [seen.headers["authorization"] for seen in server.seen] == [
        "basic " + b64encode(pair).decode().lower() for pair in (b"me:p@ss", b"other:x")
    ]


@pytest.mark.parametrize("url", ["http://me:p/ss@x.test/", "http://me:p#ss@x.test:port/"])
async def test_a_wrong_url_does_not_show_its_password(url: str) -> None:
    async with AsyncResilientClient() as client:
        error, _ = await outcome_of(client, url)

    assert "ss@" not in repr(error)
    assert "p/s" not in str(error)
