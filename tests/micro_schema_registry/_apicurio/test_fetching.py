"""How often the clients ask, and whom they let wait: cache, single flight, the fetch rule."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.micro_schema_registry.stub import SCHEMA, URL, Stub, problem, version

from micro_schema_registry import (
    ApicurioRegistryClient,
    AsyncApicurioRegistryClient,
    RegistryConnectionError,
    SchemaNotFoundError,
)

LATEST = "GET /groups/g/artifacts/user/versions/branch%3Dlatest"


def async_client(stub: Stub, **options: Any) -> AsyncApicurioRegistryClient:
    return AsyncApicurioRegistryClient(URL, "g", http_client=stub.async_client(), **options)


def blocking_client(stub: Stub, **options: Any) -> ApicurioRegistryClient:
    return ApicurioRegistryClient(URL, "g", http_client=stub.client(), **options)


class Gate:
    """A transport that holds every request until told to let go."""

    def __init__(self, stub: Stub) -> None:
        self.stub = stub
        self.arrived = asyncio.Semaphore(0)
        self.released = asyncio.Event()
        self.cancelled = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.arrived.release()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.stub(request)

    def client(self, **options: Any) -> AsyncApicurioRegistryClient:
        http = httpx.AsyncClient(transport=httpx.MockTransport(self))
        return AsyncApicurioRegistryClient(URL, "g", http_client=http, **options)


# --- the fetch rule


async def test_ids_in_headers_make_one_request() -> None:
    stub = Stub(ids_in_headers=True)
    client = async_client(stub)

    cached = await client.get_schema("user")

    assert (cached.schema, cached.global_id, cached.content_id) == (SCHEMA, 17, 9)
    assert stub.requests == {f"{LATEST}/content": 1}


async def test_without_headers_each_url_is_asked_once_and_later_schemas_skip_the_probe() -> None:
    stub = Stub()
    client = async_client(stub)

    cached = await client.get_schema("user")

    assert (cached.schema, cached.global_id, cached.content_id) == (SCHEMA, 17, 9)
    assert (cached.version, cached.artifact_type) == ("1", "AVRO")
    assert stub.requests == {f"{LATEST}/content": 1, LATEST: 1, "GET /ids/globalIds/17": 1}

    stub.requests.clear()
    stub.answers[LATEST.replace("user", "order")] = [
        httpx.Response(200, json=version("order", globalId=18))
    ]
    assert (await client.get_schema("order")).global_id == 18
    assert stub.requests == {LATEST.replace("user", "order"): 1, "GET /ids/globalIds/18": 1}


async def test_an_old_version_asked_again_takes_its_content_from_the_cache() -> None:
    stub = Stub()
    client = async_client(stub)
    await client.get_schema("user")
    stub.requests.clear()

    client.forget("user")
    await client.get_schema("user")

    assert stub.requests == {LATEST: 1}


async def test_a_missing_artifact_takes_one_request() -> None:
    stub = Stub()
    stub.answers[f"{LATEST}/content"] = [problem(404, "VersionNotFoundException", "no version")]

    with pytest.raises(SchemaNotFoundError) as caught:
        await async_client(stub).get_schema("user")

    assert caught.value.name == "VersionNotFoundException"
    assert stub.requests.total() == 1


async def test_only_the_first_fetches_test_whether_ids_come_with_content() -> None:
    stub = Stub()
    client = async_client(stub)

    await asyncio.gather(*(client.get_schema(f"a{number}") for number in range(100)))

    assert sum(key.endswith("/content") for key in stub.requests) == 10


async def test_ids_are_not_believed_unless_both_are_numbers() -> None:
    stub = Stub()
    headers = {"X-Registry-GlobalId": "17", "X-Registry-ContentId": "x"}
    stub.answers[f"{LATEST}/content"] = [httpx.Response(200, json=SCHEMA, headers=headers)]

    await async_client(stub).get_schema("user")

    assert stub.requests.total() == 3


# --- single flight


async def test_a_hundred_callers_of_one_schema_make_one_fetch() -> None:
    stub = Stub(ids_in_headers=True)
    client = async_client(stub)

    results = await asyncio.gather(*(client.get_schema("user") for _ in range(100)))

    assert stub.requests.total() == 1
    assert all(result is results[0] for result in results)


async def test_a_hundred_callers_of_one_id_make_one_fetch() -> None:
    stub = Stub()
    client = async_client(stub)

    await asyncio.gather(*(client.get_schema_by_content_id(9) for _ in range(100)))

    assert stub.requests == {"GET /ids/contentIds/9": 1}


async def test_different_schemas_never_wait_for_each_other() -> None:
    gate = Gate(Stub(ids_in_headers=True))
    client = gate.client()

    async with asyncio.TaskGroup() as tasks:
        for name in "abcdefghij":
            tasks.create_task(client.get_schema(name))
        for _ in range(10):  # all are on their way before one is answered
            await gate.arrived.acquire()
        gate.released.set()


async def test_as_many_schemas_are_fetched_at_a_time_as_a_pool_has_connections() -> None:
    """A consumer of 500 topics starts: httpx itself would fail most of them."""
    stub = Stub(ids_in_headers=True)
    under_way: list[int] = []
    now = 0

    async def transport(request: httpx.Request) -> httpx.Response:
        nonlocal now
        now += 1
        under_way.append(now)
        await asyncio.sleep(0)
        now -= 1
        return stub(request)

    http = httpx.AsyncClient(transport=httpx.MockTransport(transport))
    async with AsyncApicurioRegistryClient(URL, "g", http_client=http) as client:
        schemas = await asyncio.gather(*(client.get_schema(f"a{n}") for n in range(500)))

    assert len(schemas) == 500
    assert max(under_way) == 100


async def test_hundreds_of_new_schemas_at_once_come_from_a_real_registry(
    apicurio_url: str, group_id: str
) -> None:
    async with AsyncApicurioRegistryClient(apicurio_url, group_id) as writer:
        await asyncio.gather(*(writer.register_schema(f"a{n}", SCHEMA) for n in range(200)))

    async with AsyncApicurioRegistryClient(apicurio_url, group_id) as reader:
        schemas = await asyncio.gather(*(reader.get_schema(f"a{n}") for n in range(200)))

    assert len({cached.global_id for cached in schemas}) == 200


async def test_fifty_equal_registrations_are_one_request() -> None:
    stub = Stub()
    client = async_client(stub)

    results = await asyncio.gather(*(client.register_schema("user", SCHEMA) for _ in range(50)))

    assert stub.requests == {"POST /groups/g/artifacts": 1}
    assert len({result.global_id for result in results}) == 1


async def test_different_registrations_are_not_shared() -> None:
    stub = Stub()
    client = async_client(stub)

    await asyncio.gather(
        client.register_schema("user", SCHEMA),
        client.register_schema("user", SCHEMA, labels={"a": "b"}),
        client.register_schema("user", SCHEMA, canonical=True),
        client.register_schema("other", SCHEMA),
        client.register_schema("user", SCHEMA, group_id="h"),
        *(client.register_schema("user", SCHEMA, "CREATE_VERSION") for _ in range(2)),
    )

    posts = sum(count for key, count in stub.requests.items() if key.startswith("POST"))
    assert posts == 7


async def test_a_cancelled_caller_does_not_harm_the_others() -> None:
    gate = Gate(Stub(ids_in_headers=True))
    client = gate.client()
    first = asyncio.create_task(client.get_schema("user"))
    await gate.arrived.acquire()
    second = asyncio.create_task(client.get_schema("user"))
    await asyncio.sleep(0)

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.released.set()

    assert (await second).global_id == 17
    assert gate.stub.requests.total() == 1


async def test_the_last_caller_to_go_cancels_the_fetch_and_the_next_starts_anew() -> None:
    gate = Gate(Stub(ids_in_headers=True))
    client = gate.client()
    callers = [asyncio.create_task(client.get_schema("user")) for _ in range(2)]
    await gate.arrived.acquire()

    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    gate.released.set()

    assert (await client.get_schema("user")).global_id == 17
    assert gate.cancelled == 1


async def test_an_error_reaches_every_caller_and_is_not_kept() -> None:
    stub = Stub(ids_in_headers=True)
    stub.answers[f"{LATEST}/content"] = [problem(500, "SomeException", "broken")]
    client = async_client(stub)

    results = await asyncio.gather(
        *(client.get_schema("user") for _ in range(5)), return_exceptions=True
    )

    assert [type(result) for result in results] == [RegistryConnectionError] * 5
    assert (await client.get_schema("user")).global_id == 17
    assert stub.requests.total() == 2


async def test_closing_ends_fetches_under_way() -> None:
    gate = Gate(Stub(ids_in_headers=True))
    client = gate.client()
    caller = asyncio.create_task(client.get_schema("user"))
    await gate.arrived.acquire()

    await client.aclose()

    with pytest.raises(RuntimeError, match="client is closed"):
        await caller
    assert gate.cancelled == 1


def in_threads(count: int, act: Callable[[int], object]) -> list[Any]:
    """Run an action in as many threads, all let go at the same moment."""
    barrier = threading.Barrier(count)

    def run(number: int) -> object:
        barrier.wait()
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_threads_that_want_one_schema_make_one_fetch() -> None:
    stub = Stub()
    client = blocking_client(stub)

    results = in_threads(20, lambda _: client.get_schema("user"))

    assert set(stub.requests.values()) == {1}
    assert all(result is results[0] for result in results)


def test_threads_that_register_the_same_make_one_request() -> None:
    stub = Stub()
    together = threading.Event()

    def transport(request: httpx.Request) -> httpx.Response:
        together.wait(30)
        return stub(request)

    http = httpx.Client(transport=httpx.MockTransport(transport))
    client = ApicurioRegistryClient(URL, "g", http_client=http)
    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(client.register_schema, "user", SCHEMA) for _ in range(20)]
        while not all(call.running() for call in calls):
            time.sleep(0.001)
        together.set()
        assert {call.result(30).global_id for call in calls} == {17}

    assert stub.requests.total() < 20


def test_threads_that_want_different_schemas_never_wait_for_each_other() -> None:
    """Each request is answered only when all ten are there."""
    stub = Stub(ids_in_headers=True)
    together = threading.Barrier(10, timeout=30)

    def transport(request: httpx.Request) -> httpx.Response:
        together.wait()
        return stub(request)

    http = httpx.Client(transport=httpx.MockTransport(transport))
    with ApicurioRegistryClient(URL, "g", http_client=http) as client:
        results = in_threads(10, lambda number: client.get_schema(f"schema-{number}"))

    assert len(results) == 10


def test_an_interrupted_thread_hands_the_fetch_to_another() -> None:
    stub = Stub(ids_in_headers=True)
    fetching, waiting = threading.Event(), threading.Event()
    interrupts: list[BaseException] = [KeyboardInterrupt()]

    def transport(request: httpx.Request) -> httpx.Response:
        if interrupts:
            fetching.set()
            waiting.wait(30)
            raise interrupts.pop()
        return stub(request)

    http = httpx.Client(transport=httpx.MockTransport(transport))
    client = ApicurioRegistryClient(URL, "g", http_client=http)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.get_schema, "user")
        fetching.wait(30)
        second = pool.submit(client.get_schema, "user")
        waiting.set()

        assert isinstance(first.exception(30), KeyboardInterrupt)
        assert second.result(30).global_id == 17


# --- cache


async def test_a_schema_is_asked_for_again_after_its_time() -> None:
    stub = Stub(ids_in_headers=True)
    client = async_client(stub, cache_ttl_seconds=0.05)
    await client.get_schema("user")
    await client.get_schema("user")
    assert stub.requests.total() == 1

    expired = time.monotonic() + 0.06
    while time.monotonic() < expired:
        await asyncio.sleep(0.01)
    await client.get_schema("user")

    assert stub.requests.total() == 2


async def test_the_least_recently_used_schema_goes_first() -> None:
    stub = Stub(ids_in_headers=True)
    client = async_client(stub, cache_max_size=2)
    for name in ("a", "b", "a", "c"):
        await client.get_schema(name)
    stub.requests.clear()

    for name in ("a", "c"):
        await client.get_schema(name)

    assert stub.requests.total() == 0


async def test_forget_drops_one_artifact_or_the_group() -> None:
    stub = Stub(ids_in_headers=True)
    client = async_client(stub)

    async def asked(name: str, group_id: str | None = None) -> bool:
        before = stub.requests.total()
        await client.get_schema(name, group_id=group_id)
        return stub.requests.total() > before

    for name, group_id in (("a", None), ("b", None), ("a", "other")):
        await client.get_schema(name, group_id=group_id)

    client.forget("a")
    assert (await asked("a"), await asked("b"), await asked("a", "other")) == (True, False, False)
    client.forget()
    assert (await asked("a"), await asked("b"), await asked("a", "other")) == (True, True, False)


async def test_forgetting_holds_for_a_fetch_under_way() -> None:
    """Its own caller gets what it finds; later callers ask again."""
    gate = Gate(Stub(ids_in_headers=True))
    client = gate.client()
    before = asyncio.create_task(client.get_schema("user"))
    await gate.arrived.acquire()

    client.forget("user")
    after = asyncio.create_task(client.get_schema("user"))
    await gate.arrived.acquire()
    gate.released.set()

    assert (await before, gate.stub.requests.total()) == (await after, 2)


async def test_what_was_fetched_before_forgetting_is_not_kept() -> None:
    gate = Gate(Stub(ids_in_headers=True))
    client = gate.client()
    before = asyncio.create_task(client.get_schema("user"))
    await gate.arrived.acquire()
    client.forget("user")
    gate.released.set()
    await before

    await client.get_schema("user")

    assert gate.stub.requests.total() == 2


async def test_a_registration_is_not_overwritten_by_an_older_fetch() -> None:
    """The fetch is answered with the old version after the new one was registered."""
    stub = Stub(ids_in_headers=True)
    asked, registered = asyncio.Event(), asyncio.Event()

    async def transport(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            asked.set()
            await registered.wait()
        else:
            stub.answers["POST /groups/g/artifacts"] = [
                httpx.Response(200, json={"version": version("user", globalId=18)})
            ]
        return stub(request)

    http = httpx.AsyncClient(transport=httpx.MockTransport(transport))
    client = AsyncApicurioRegistryClient(URL, "g", http_client=http)
    fetch = asyncio.create_task(client.get_schema("user"))
    await asked.wait()
    await client.register_schema("user", SCHEMA)
    registered.set()
    await fetch

    assert (await client.get_schema("user")).global_id == 18


async def test_a_disabled_version_that_was_found_is_not_kept_as_the_newest() -> None:
    stub = Stub()
    disabled = {"version": version("user", state="DISABLED")}
    stub.answers["POST /groups/g/artifacts"] = [httpx.Response(200, json=disabled)]
    client = async_client(stub)

    registered = await client.register_schema("user", SCHEMA)
    await client.get_schema("user")

    assert registered.global_id == 17
    assert stub.requests[LATEST] == 1


def test_cached_ids_fit_into_64_bits() -> None:
    from micro_schema_registry import CachedSchema

    CachedSchema({}, 2**63 - 1, 0)
    for wrong in (-1, 2**63):
        with pytest.raises(ValueError, match="expected 0 to"):
            CachedSchema({}, wrong, 0)
        with pytest.raises(ValueError, match="expected 0 to"):
            CachedSchema({}, 0, wrong)
