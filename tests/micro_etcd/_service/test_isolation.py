"""Namespaces do not reach one another, hold one another up, or use up the memory of the service."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient
from tests.micro_etcd.service import Instance, ask, instance, refusal
from tests.micro_etcd.versions import every_version

import micro
from micro import ConfigError
from micro_etcd import (
    CompareKey,
    EtcdClient,
    EtcdError,
    EtcdPermissionDeniedError,
    EtcdServiceSettings,
    EtcdTransactionAction,
    NatsEtcd,
)
from micro_etcd.testing import EtcdServer

SECONDS = 30


@pytest.fixture
async def serving(
    server_url: str, shared_server: EtcdServer, prefix: str
) -> AsyncIterator[Instance]:
    rules = {
        "mine": {"prefix": f"{prefix}mine/", "allow": ["all"]},
        "twin": {"prefix": f"{prefix}mine/", "allow": ["all"]},
        "theirs": {"prefix": f"{prefix}theirs/", "allow": ["all"]},
    }
    async with instance(
        server_url,
        shared_server,
        rules,
        max_waiting=3,
        max_in_flight=2,
        max_watches_per_namespace=2,
    ) as serving:
        yield serving


# ---- leases


@pytest.mark.parametrize("bound", [False, True], ids=["without keys", "with a key"])
@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("lease.keepalive", {}),
        ("lease.revoke", {}),
        ("lease.ttl", {}),
        ("lock.release", {}),
        ("lock.acquire", {"name": "l"}),
        ("kv.put", {"key": "k", "value": "v"}),
        ("kv.put", {"key": "k", "value": "v", "if": {"absent": True}}),
    ],
)
@every_version
async def test_a_lease_of_another_namespace_is_refused(
    operation: str, body: dict[str, Any], bound: bool, serving: Instance, caller: NatsClient
) -> None:
    lease = (await ask(caller, "etcd.theirs.lease.grant", {"ttl": 60}))["lease"]
    if bound:
        await ask(caller, "etcd.theirs.kv.put", {"key": "k", "value": "v", "lease": lease})

    error = await refusal(caller, f"etcd.mine.{operation}", {**body, "lease": lease})

    assert (error.code, error.headers["Etcd-Error"]) == (403, "PERMISSION_DENIED")
    assert (await ask(caller, "etcd.theirs.lease.ttl", {"lease": lease}))["ttl"] > 0
    assert not (await ask(caller, "etcd.mine.kv.get", {"key": "k"}))["found"]


async def test_a_raw_put_and_a_txn_refuse_the_lease_of_another(
    serving: Instance, caller: NatsClient
) -> None:
    theirs, mine = NatsEtcd(caller, "theirs"), NatsEtcd(caller, "mine")
    lease = await theirs.grant_lease(60)

    with pytest.raises(EtcdPermissionDeniedError):
        await mine.put("k", "v", lease=lease)
    with pytest.raises(EtcdPermissionDeniedError):
        await mine.txn(lambda action: action.put("k", "v", lease=lease))

    assert await mine.get("k") is None


async def test_rules_with_one_prefix_share_their_leases(
    serving: Instance, caller: NatsClient
) -> None:
    lease = await NatsEtcd(caller, "mine").grant_lease(60)

    await NatsEtcd(caller, "twin").put("k", "v", lease=lease)

    assert await NatsEtcd(caller, "twin").leases.keep_alive(lease) == 60


async def test_a_lease_survives_the_instance_that_granted_it(
    server_url: str, shared_server: EtcdServer, caller: NatsClient, prefix: str
) -> None:
    rules = {"app": {"prefix": prefix, "allow": ["all"]}}
    async with instance(server_url, shared_server, rules):
        lease = await NatsEtcd(caller, "app").grant_lease(60)
    async with instance(server_url, shared_server, rules):
        assert await NatsEtcd(caller, "app").leases.keep_alive(lease) == 60


async def test_the_lease_of_another_is_shown_to_nobody(
    serving: Instance, caller: NatsClient, shared_server: EtcdServer, prefix: str
) -> None:
    mine = NatsEtcd(caller, "mine")
    lease = await NatsEtcd(caller, "theirs").grant_lease(60)
    own = await mine.grant_lease(60)
    await mine.put("own", "v", lease=own)
    events = mine.events(b"k")
    await events.start()
    async with EtcdClient(shared_server.address).connect() as direct:
        await direct.put(f"{prefix}mine/k", "v", lease=lease)

    kv = await mine.kv.get(b"k")
    assert kv is not None
    assert kv.lease == 0
    assert [kv.lease for kv in (await mine.kv.range(b"k", b"p")).kvs] == [0, own]
    many = await asyncio.gather(mine.kv.get(b"k"), mine.kv.get(b"own"))
    assert [kv and kv.lease for kv in many] == [0, own]
    batch = await asyncio.wait_for(anext(events), SECONDS)
    assert [event.kv.lease for event in batch.events] == [0]
    answer = await mine.txn(lambda action: action.get("k"))
    assert [kv.lease for kv in answer.responses[0].kvs] == [0]  # type: ignore[union-attr]  # a get
    events.close()


async def test_comparisons_tell_nothing_of_the_lease_of_another(
    serving: Instance, caller: NatsClient
) -> None:
    mine = NatsEtcd(caller, "mine")
    lease = await NatsEtcd(caller, "theirs").grant_lease(60)
    own = await mine.grant_lease(60)
    await mine.put("k", "v", lease=own)

    def nothing(*_: EtcdTransactionAction[str]) -> None:
        """Do nothing."""

    for compare in (CompareKey("k").lease == lease, CompareKey("k").lease > 1):
        with pytest.raises(EtcdPermissionDeniedError):
            await mine.txn_compare([compare], nothing)
    assert (await mine.txn_compare([CompareKey("k").lease == own], nothing)).succeeded
    assert not (await mine.txn_compare([CompareKey("k").lease == 0], nothing)).succeeded


# ---- waiting


@every_version
async def test_waiting_for_a_lock_holds_up_nothing_else(
    serving: Instance, caller: NatsClient, shared_server: EtcdServer, prefix: str
) -> None:
    """More wait than may be in flight, and still the others get their locks."""
    await ask(caller, "etcd.mine.lock.acquire", {"name": "l", "ttl": 60})
    body = {"name": "l", "ttl": 60, "wait_s": 25}
    waiting = [asyncio.create_task(ask(caller, "etcd.mine.lock.acquire", body)) for _ in range(3)]
    async with EtcdClient(shared_server.address).connect() as direct:
        async with asyncio.timeout(SECONDS):
            while len(await direct.keys_prefix(f"{prefix}mine/l/")) < 4:
                await asyncio.sleep(0.01)

    for _ in range(5):
        granted = await ask(caller, "etcd.theirs.lock.acquire", {"name": "l", "ttl": 60})
        await ask(caller, "etcd.theirs.lock.release", {"lease": granted["lease"]})
    refused = await refusal(caller, "etcd.mine.lock.acquire", body)

    assert (refused.code, refused.headers["Etcd-Error"]) == (429, "TOO_MANY_REQUESTS")
    assert "3 requests of namespace 'mine' wait for locks already" in refused.description
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_client_beyond_the_limit_of_waiters_waits_until_its_own_timeout(
    serving: Instance, caller: NatsClient
) -> None:
    store = NatsEtcd(caller, "mine")
    had: list[int] = []

    async def hold(number: int) -> None:
        async with store.with_lock("l", timeout=SECONDS):
            had.append(number)

    async with store.with_lock("l"):
        waiters = [asyncio.create_task(hold(number)) for number in range(8)]
        async with asyncio.timeout(SECONDS):
            while not serving.service.failures.get("TOO_MANY_REQUESTS"):
                await asyncio.sleep(0.01)
    await asyncio.gather(*waiters)

    assert sorted(had) == list(range(8))


# ---- watches


async def test_watches_of_a_namespace_are_bounded(serving: Instance, caller: NatsClient) -> None:
    inbox = caller.new_inbox()
    await caller.subscribe(f"{inbox}.*")
    bodies = [{"prefix": "", "deliver": f"{inbox}.{number}"} for number in range(4)]
    answers = await asyncio.gather(
        *(ask(caller, "etcd.mine.watch.start", body) for body in bodies), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, micro.ServiceError)]
    served = [answer for answer in answers if not isinstance(answer, BaseException)]

    assert {error.code for error in refused} == {429}
    assert (len(served), len(refused)) == (2, 2)
    assert "2 watches of namespace 'mine' already" in refused[0].description
    await ask(caller, "etcd.theirs.watch.start", {"prefix": "", "deliver": f"{inbox}.4"})
    stop = f"etcd.mine.watch.stop.{served[0]['instance']}"
    await ask(caller, stop, {"watch_id": served[0]["watch_id"]})
    await ask(caller, "etcd.mine.watch.start", bodies[0])


async def test_one_namespace_leaves_watches_to_the_others(
    server_url: str, shared_server: EtcdServer, caller: NatsClient, prefix: str
) -> None:
    rules = {name: {"prefix": f"{prefix}{name}/", "allow": ["all"]} for name in ("one", "other")}
    inbox = caller.new_inbox()
    await caller.subscribe(f"{inbox}.*")
    async with instance(server_url, shared_server, rules, max_watches=4):
        body = {"prefix": "", "deliver": f"{inbox}.0"}
        for _ in range(2):
            await ask(caller, "etcd.one.watch.start", body)
        error = await refusal(caller, "etcd.one.watch.start", body)
        await ask(caller, "etcd.other.watch.start", body)

    assert error.code == 429


# ---- prefixes


@pytest.mark.parametrize(
    ("one", "other"), [("/app/", "/app/eu/"), ("/app/eu/", "/app/"), ("", "/app/"), ("/a", "/ab/")]
)
def test_prefixes_that_contain_each_other_are_refused(one: str, other: str) -> None:
    environ = {"ETCD_NAMESPACES": f"one={one}:read other={other}:read between=/aa:read"}

    with pytest.raises(ConfigError, match="expected prefixes that do not contain each other"):
        EtcdServiceSettings.load(None, environ)


def test_the_error_names_both_namespaces() -> None:
    environ = {"ETCD_NAMESPACES": "one=/app/:read other=/app/eu/:read"}
    expected = (
        "invalid configuration: namespaces: namespace 'other' with the prefix '/app/eu/' lies "
        "inside of 'one' with '/app/': expected prefixes that do not contain each other"
    )

    with pytest.raises(ConfigError, match=f"^{re.escape(expected)}$"):
        EtcdServiceSettings.load(None, environ)


def test_prefixes_side_by_side_and_the_same_one_twice_are_taken() -> None:
    environ = {"ETCD_NAMESPACES": "a=/app/:read b=/app/:all c=/app-2/:all d=/apq/:all"}

    assert len(EtcdServiceSettings.load(None, environ).namespaces) == 4


# ---- sizes


@pytest.fixture
async def large(serving: Instance, shared_server: EtcdServer, prefix: str) -> str:
    """Write a value that fits into etcd but not into a message; return its key."""
    async with EtcdClient(shared_server.address).connect() as direct:
        await direct.put(f"{prefix}mine/large", "x" * 1_200_000)
    return "large"


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("kv.delete", {"key": "large", "prev_kv": True}),
        ("kv.delete", {"prefix": "", "prev_kv": True}),
        ("kv.delete", {"key": "large", "prev_kv": True, "if": {"version": 1}}),
        ("kv.put", {"key": "large", "value": "new", "prev_kv": True}),
        ("kv.put", {"key": "large", "value": "new", "prev_kv": True, "if": {"version": 1}}),
        ("txn", {"success": [{"put": {"key": "a", "value": "1"}}, {"get": {"key": "large"}}]}),
        ("txn", {"success": [{"put": {"key": "a", "value": "1"}}, {"get": {"prefix": ""}}]}),
        ("txn", {"success": [{"delete": {"prefix": ""}, "prev_kv": True}]}),
        (
            "txn",
            {
                "compare": [{"span": {"key": "a"}, "target": "version", "operand": 7}],
                "failure": [{"put": {"key": "a", "value": "1"}}, {"get": {"key": "large"}}],
            },
        ),
    ],
)
@every_version
async def test_a_write_whose_answer_fits_no_message_is_not_applied(
    operation: str, body: dict[str, Any], large: str, caller: NatsClient
) -> None:
    error = await refusal(caller, f"etcd.mine.{operation}", body)

    assert (error.code, error.headers["Etcd-Error"]) == (413, "PAYLOAD_TOO_LARGE")
    assert error.headers["Etcd-Outcome"] == "not-applied"
    assert int(error.headers["Etcd-Size"]) > 1_200_000
    names = await ask(caller, "etcd.mine.kv.list", {"prefix": "", "keys_only": True})
    assert [(item["key"]["s"], item["version"]) for item in names["items"]] == [("large", 1)]


async def test_only_the_branch_to_be_taken_has_to_fit(large: str, caller: NatsClient) -> None:
    compare = {"span": {"key": "absent"}, "target": "version", "operand": 0}
    put = {"put": {"key": "a", "value": "1"}}
    body = {"compare": [compare], "success": [put], "failure": [put, {"get": {"key": "large"}}]}

    answer = await ask(caller, "etcd.mine.txn", body)

    assert answer["succeeded"]


async def test_a_large_write_without_its_reading_is_applied(large: str, caller: NatsClient) -> None:
    assert (await ask(caller, "etcd.mine.kv.delete", {"key": "large"}))["deleted"] == 1


async def test_the_client_says_that_nothing_was_deleted(large: str, caller: NatsClient) -> None:
    store = NatsEtcd(caller, "mine")

    with pytest.raises(EtcdError) as error:
        await store.delete("large", prev_kv=True)

    assert error.value.outcome == "not-applied"
    assert await store.keys_prefix("") == ["large"]


@every_version
async def test_lists_shrink_to_what_a_message_carries(
    serving: Instance, caller: NatsClient, shared_server: EtcdServer, prefix: str
) -> None:
    """The first reads are refused, since etcd's answers are larger than any message."""
    async with EtcdClient(shared_server.address).connect() as direct:
        for number in range(20):
            await direct.put(f"{prefix}mine/{number:02}", "x" * (10 if number < 5 else 300_000))

    items = await NatsEtcd(caller, "mine").get_prefix("")

    assert [len(value) for value in items.values()] == [10] * 5 + [300_000] * 15
