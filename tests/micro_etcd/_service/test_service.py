"""The endpoints of the etcd service as callers of any language see them: JSON, headers, codes."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from nats.aio.client import Client as NatsClient
from tests.micro_etcd.service import Instance, ask, instance, refusal

import micro
from micro_etcd import CompareKey, EtcdClient, EtcdTransactionAction, NatsEtcd
from micro_etcd._model.keys import prefix_range
from micro_etcd.testing import EtcdServer


@pytest.fixture
async def serving(
    server_url: str, shared_server: EtcdServer, prefix: str
) -> AsyncIterator[Instance]:
    rules = {
        "app": {"prefix": prefix, "allow": ["all"]},
        "reader": {"prefix": prefix, "allow": ["read"]},
        "none": {"prefix": prefix},
        "writer": {"prefix": prefix, "allow": ["put", "txn"]},
    }
    async with instance(server_url, shared_server, rules) as running:
        yield running


def b64(data: bytes) -> dict[str, str]:
    return {"b": base64.b64encode(data).decode()}


async def test_put_get_list_delete(serving: Instance, caller: NatsClient) -> None:
    put = await ask(caller, "etcd.app.kv.put", {"key": "a", "value": "1"})
    assert put == {"revision": put["revision"], "prev_kv": None}
    got = await ask(caller, "etcd.app.kv.get", {"key": {"s": "a"}})
    item = {
        "key": {"s": "a"},
        "value": {"s": "1"},
        "create_revision": put["revision"],
        "mod_revision": put["revision"],
        "version": 1,
        "lease": "0",
    }
    assert got == {"found": True, "kv": item}
    raw = {"key": b64(b"\xff\x00"), "value": b64(b"\xfe"), "prev_kv": True}
    second = await ask(caller, "etcd.app.kv.put", raw)
    listed = await ask(caller, "etcd.app.kv.list", {"prefix": ""})
    assert listed["revision"] == second["revision"]
    assert [(found["key"], found["value"]) for found in listed["items"]] == [
        ({"s": "a"}, {"s": "1"}),
        (b64(b"\xff\x00"), b64(b"\xfe")),
    ]
    gone = await ask(caller, "etcd.app.kv.delete", {"key": "a", "prev_kv": True})
    assert (gone["deleted"], gone["prev_kvs"]) == (1, [item])
    assert await ask(caller, "etcd.app.kv.get", {"key": "a"}) == {"found": False, "kv": None}


async def test_raw_mode_carries_keys_in_headers(serving: Instance, caller: NatsClient) -> None:
    client = micro.Client(caller)
    headers = {"Etcd-Key": base64.b64encode(b"\x00k").decode()}
    missing = await client.request("etcd.app.kv.get", b"", headers, timeout=20)
    assert missing.headers == {"Etcd-Found": "false"}
    put = await client.request("etcd.app.kv.put", b"\xff\x00", headers, timeout=20)
    found = await client.request("etcd.app.kv.get", b"", headers, timeout=20)
    assert found.data == b"\xff\x00"
    revision = (put.headers or {})["Etcd-Revision"]
    assert found.headers == {
        "Etcd-Found": "true",
        "Etcd-Mod-Revision": revision,
        "Etcd-Create-Revision": revision,
        "Etcd-Version": "1",
        "Etcd-Lease": "0",
    }
    for bad in ("", "*", "YQ"):
        with pytest.raises(micro.ServiceError) as caught:
            await client.request("etcd.app.kv.get", b"", {"Etcd-Key": bad}, timeout=20)
        assert caught.value.code == 400


async def test_conditions_and_guards_refuse_writes(serving: Instance, caller: NatsClient) -> None:
    put = "etcd.app.kv.put"
    first = await ask(caller, put, {"key": "a", "value": "1", "if": {"absent": True}})
    error = await refusal(caller, put, {"key": "a", "value": "2", "if": {"absent": True}})
    assert (error.code, error.headers["Etcd-Error"]) == (409, "CONDITION_FAILED")
    assert error.headers["Etcd-Outcome"] == "not-applied"
    newer = {"mod_revision": first["revision"]}
    await ask(caller, put, {"key": "a", "value": "2", "if": newer})
    assert (await refusal(caller, put, {"key": "a", "value": "3", "if": newer})).code == 409
    lock = await ask(caller, "etcd.app.lock.acquire", {"name": "l", "ttl": 30})
    guard = {"key": lock["key"], "create_revision": lock["token"]}
    await ask(caller, put, {"key": "a", "value": "4", "guard": guard, "if": {"version": 2}})
    await ask(caller, "etcd.app.lock.release", {"lease": lock["lease"]})
    await ask(caller, "etcd.app.lock.release", {"lease": lock["lease"]})
    error = await refusal(caller, put, {"key": "a", "value": "5", "guard": guard})
    assert (error.code, error.headers["Etcd-Error"]) == (409, "LOCK_LOST")
    delete = {"key": "a", "if": {"version": 9}}
    assert (await refusal(caller, "etcd.app.kv.delete", delete)).code == 409
    found = await ask(caller, "etcd.app.kv.get", {"key": "a"})
    assert found["kv"]["value"] == {"s": "4"}


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("kv.get", {"key": ""}),
        ("kv.get", {"key": {"b": "?"}}),
        ("kv.get", {"key": "a", "x": 1}),
        ("kv.get", {}),
        ("kv.put", {"key": "a", "value": "1", "iff": {"absent": True}}),
        ("kv.put", {"key": "a", "value": "1", "if": {}}),
        ("kv.list", {}),
        ("kv.list", {"key": "a", "prefix": "b"}),
        ("kv.list", {"start": "a"}),
        ("kv.list", {"prefix": "", "cursor": "nonsense"}),
        ("kv.list", {"prefix": "", "cursor": "LTE6YQ=="}),
        ("kv.delete", {"prefix": "", "if": {"version": 1}}),
        ("txn", {"compare": [{"span": {"key": "a"}, "target": "mod", "operand": "x"}]}),
        ("txn", {"success": [{"put": {"key": "a"}, "get": {"key": "b"}}]}),
        (
            "txn",
            {"success": [{"put": {"key": "a", "value": ""}}, {"put": {"key": "a", "value": ""}}]},
        ),
        ("lease.grant", {"ttl": 0}),
        ("lock.acquire", {"name": "", "ttl": 5}),
        ("lock.acquire", {"name": "a", "ttl": 5, "wait_s": 5}),
        ("watch.start", {"prefix": ""}),
    ],
)
async def test_what_can_never_work_is_400(
    operation: str, body: Any, serving: Instance, caller: NatsClient
) -> None:
    error = await refusal(caller, f"etcd.app.{operation}", body)
    assert error.code == 400
    assert error.headers["Etcd-Error"] == "INVALID_ARGUMENT"
    assert error.headers["Etcd-Outcome"] == "not-applied"


@pytest.mark.parametrize(
    ("namespace", "operation", "body", "word"),
    [
        ("unknown", "kv.get", {"key": "a"}, "there is no namespace 'unknown'"),
        ("none", "kv.get", {"key": "a"}, "namespace 'none' may not get"),
        ("none", "status", {}, "namespace 'none' may not status"),
        ("reader", "kv.put", {"key": "a"}, "namespace 'reader' may not put"),
        ("reader", "kv.delete", {"key": "a"}, "namespace 'reader' may not delete"),
        ("reader", "txn", {}, "namespace 'reader' may not txn"),
        ("reader", "lock.acquire", {"name": "a"}, "namespace 'reader' may not lock"),
        ("reader", "lease.grant", {"ttl": 5}, "namespace 'reader' may not lease"),
        ("writer", "txn", {"success": [{"get": {"key": "a"}}]}, "namespace 'writer' may not get"),
        ("writer", "txn", {"failure": [{"get": {"prefix": ""}}]}, "'writer' may not list"),
        ("writer", "txn", {"success": [{"delete": {"key": "a"}}]}, "'writer' may not delete"),
        (
            "writer",
            "txn",
            {"compare": [{"span": {"key": "a"}, "target": "mod", "operand": 0}]},
            "namespace 'writer' may not get",
        ),
    ],
)
async def test_what_is_not_allowed_is_403(
    namespace: str, operation: str, body: Any, word: str, serving: Instance, caller: NatsClient
) -> None:
    error = await refusal(caller, f"etcd.{namespace}.{operation}", body)
    assert (error.code, error.headers["Etcd-Error"]) == (403, "PERMISSION_DENIED")
    assert word in error.description


async def test_errors_of_etcd_have_their_code(serving: Instance, caller: NatsClient) -> None:
    cases: list[tuple[str, Any, int, str]] = [
        ("kv.get", {"key": "a", "revision": 1 << 40}, 416, "FUTURE_REVISION"),
        ("lease.keepalive", {"lease": "77"}, 404, "LEASE_NOT_FOUND"),
        ("lease.revoke", {"lease": 77}, 404, "LEASE_NOT_FOUND"),
        ("lease.grant", {"ttl": 1 << 50}, 416, "OUT_OF_RANGE"),
        ("kv.put", {"key": "a", "value": "b", "lease": "77"}, 404, "LEASE_NOT_FOUND"),
    ]
    for operation, body, code, name in cases:
        error = await refusal(caller, f"etcd.app.{operation}", body)
        assert (error.code, error.headers["Etcd-Error"]) == (code, name), operation
    stats = await micro.Client(caller).stats("etcd")
    data = next(e.data for e in stats[0].endpoints if e.name == "kv-get")
    assert data["etcd_errors"] == {"FUTURE_REVISION": 1, "LEASE_NOT_FOUND": 3, "OUT_OF_RANGE": 1}


async def test_pages_show_one_snapshot_and_fit_messages(
    serving: Instance, caller: NatsClient, shared_server: EtcdServer, prefix: str
) -> None:
    async with EtcdClient(shared_server.address).connect() as direct:
        for number in range(40):
            await direct.put(f"{prefix}big{number:02}", "x" * 60_000)
        page = await ask(caller, "etcd.app.kv.list", {"prefix": "big"})
        assert page["cursor"] is not None
        await direct.put(f"{prefix}big99", "later")
        await direct.delete(f"{prefix}big39")
        keys = [item["key"]["s"] for item in page["items"]]
        first = page["revision"]
        while page["cursor"] is not None:
            body = {"prefix": "big", "cursor": page["cursor"]}
            page = await ask(caller, "etcd.app.kv.list", body)
            assert page["revision"] == first
            keys += [item["key"]["s"] for item in page["items"]]
        assert keys == [f"big{number:02}" for number in range(40)]
        small = await ask(caller, "etcd.app.kv.list", {"prefix": "big", "limit": 3})
        assert (len(small["items"]), small["cursor"] is not None) == (3, True)
        body = {"prefix": "big", "keys_only": True}
        names = await ask(caller, "etcd.app.kv.list", body)
        assert (len(names["items"]), names["cursor"]) == (40, None)
        assert {item["value"] is None for item in names["items"]} == {True}
        await direct.put(f"{prefix}large", "x" * 1_200_000)
        for operation in ("kv.get", "kv.list"):
            error = await refusal(caller, f"etcd.app.{operation}", {"key": "large"})
            assert (error.code, error.headers["Etcd-Error"]) == (413, "PAYLOAD_TOO_LARGE")
            assert int(error.headers["Etcd-Size"]) > 1_200_000


async def test_leases(serving: Instance, caller: NatsClient) -> None:
    granted = await ask(caller, "etcd.app.lease.grant", {"ttl": 30})
    lease = granted["lease"]
    assert isinstance(lease, str)
    await ask(caller, "etcd.app.kv.put", {"key": "a", "value": "1", "lease": lease})
    assert (await ask(caller, "etcd.app.lease.keepalive", {"lease": lease}))["ttl"] == 30
    state = await ask(caller, "etcd.app.lease.ttl", {"lease": lease})
    assert (state["granted_ttl"], state["keys"]) == (30, [{"s": "a"}])
    await ask(caller, "etcd.app.lease.revoke", {"lease": lease})
    assert (await ask(caller, "etcd.app.lease.ttl", {"lease": lease}))["ttl"] == -1
    assert not (await ask(caller, "etcd.app.kv.get", {"key": "a"}))["found"]


async def test_a_lock_is_refused_granted_and_fenced(
    serving: Instance, caller: NatsClient, shared_server: EtcdServer
) -> None:
    acquire = "etcd.app.lock.acquire"
    first = await ask(caller, acquire, {"name": "l", "ttl": 30})
    assert first["state"] == "granted"
    async with EtcdClient(shared_server.address).connect() as direct:
        before = set(await direct.leases.ids())
        error = await refusal(caller, acquire, {"name": "l", "ttl": 30, "wait_s": 0.2})
        assert (error.code, error.headers["Etcd-Error"]) == (409, "LOCK_BUSY")
        assert set(await direct.leases.ids()) <= before, "a waiter that gave up leaves no lease"
    waiting = asyncio.create_task(ask(caller, acquire, {"name": "l", "ttl": 30, "wait_s": 20}))
    await ask(caller, "etcd.app.lock.release", {"lease": first["lease"]})
    second = await waiting
    assert second["state"] == "granted"
    assert second["token"] > first["token"]
    mine = (await ask(caller, "etcd.app.lease.grant", {"ttl": 30}))["lease"]
    queued = await ask(caller, acquire, {"name": "l", "lease": mine})
    assert queued["state"] == "queued"
    await ask(caller, "etcd.app.lock.release", {"lease": second["lease"]})
    third = await ask(caller, acquire, {"name": "l", "lease": mine, "wait_s": 20})
    assert (third["state"], third["token"]) == ("granted", queued["token"])


async def test_status_and_info(serving: Instance, caller: NatsClient) -> None:
    found = await ask(caller, "etcd.reader.status", {})
    assert found["allow"] == ["get", "list", "status", "watch"]
    assert found["endpoints"][0]["errors"] == []
    info = (await micro.Client(caller).info("etcd"))[0]
    subjects = {endpoint.subject for endpoint in info.endpoints}
    assert "etcd.*.kv.get" in subjects
    assert f"etcd.*.watch.stop.{info.id}" in subjects
    metadata = {endpoint.name: endpoint.metadata or {} for endpoint in info.endpoints}
    schema = json.loads(metadata["kv-put"]["micro.request.schema"])
    assert "if" in schema["properties"]


SECRET = b"secret"
nasty = st.one_of(
    st.binary(min_size=1, max_size=4),
    st.text(alphabet="\x00/.*>$ aé\uffff", min_size=1, max_size=6).map(str.encode),
    st.sampled_from([b"\x00", b"\xff", b"\xff\xff", b"..", b"../", b"/", b">", b"*", b"0", b"."]),
)


@hypothesis.settings(
    max_examples=40, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(nasty, nasty, st.sampled_from(["key", "prefix", "range", "all"]))
async def test_a_namespace_reaches_nothing_outside_its_prefix(
    server: EtcdServer,
    outsider: "Outsider",
    one: bytes,
    other: bytes,
    form: str,
) -> None:
    """Neither reading, writing, watching nor comparing, whatever the keys."""
    start, end = min(one, other), max(one, other) + b"\x00"
    span = {"key": (one, b""), "prefix": prefix_range(one), "range": (start, end)}
    key, range_end = {**span, "all": prefix_range(b"")}[form]
    await outsider.attempt(key, range_end, one)


class Outsider:
    """Keys around a namespace, and everything a caller of that namespace can try."""

    PREFIX = b"/ns/"
    OUTSIDE = (
        b"\x00",
        b"/",
        b"/ns",
        b"/ns.",
        b"/ns0",
        b"/nr/z",
        b"/ns/"[:-1] + b"\xff",
        b"a",
        b"\xff\xff",
    )

    def __init__(self, nc: NatsClient, direct: Any) -> None:
        self._etcd = NatsEtcd(nc, "app", None)
        self._direct = direct

    async def attempt(self, key: bytes, end: bytes, one: bytes) -> None:
        for outside in self.OUTSIDE:
            await self._direct.put(outside, SECRET)
        before = await self.outside()
        stream = self._etcd.events(key, end)
        await stream.start()
        try:
            await self._direct.put(b"/ns0", SECRET)
            before = await self.outside()
            await self._write(key, end, one)
            async with asyncio.timeout(30):
                batch = await anext(stream)
            assert {event.kv.value for event in batch.events} == {b"mine"}
        finally:
            stream.close()
        await self._read(key, end)
        await self._etcd.kv.delete(key, end)
        await self._etcd.delete_prefix(b"")
        assert await self.outside() == before

    async def _write(self, key: bytes, end: bytes, one: bytes) -> None:
        mine = one if (key, end) == prefix_range(b"") else key
        await self._etcd.kv.put(mine, b"mine")
        await self._etcd.txn(lambda action: action.put(mine, b"mine"))

    async def _read(self, key: bytes, end: bytes) -> None:
        found = await self._etcd.kv.range(key, end)
        assert {kv.value for kv in found.kvs} <= {b"mine"}

        def read(
            success: EtcdTransactionAction[bytes], failure: EtcdTransactionAction[bytes]
        ) -> None:
            success.get(key)
            failure.get(key, range_end=end if end else None)

        compare = CompareKey(key, range_end=end if end else None).value == SECRET
        compared = await self._etcd.txn_compare([compare], read)
        assert not compared.succeeded
        assert SECRET not in compared

    async def outside(self) -> list[Any]:
        found = await self._direct.kv.range(b"\x00", b"\x00")
        return [kv for kv in found.kvs if not kv.key.startswith(self.PREFIX)]


@pytest.fixture
async def outsider(
    server_url: str, server: EtcdServer, caller: NatsClient
) -> AsyncIterator[Outsider]:
    rules = {"app": {"prefix": "/ns/", "allow": ["all"]}}
    async with (
        instance(server_url, server, rules),
        EtcdClient(server.address, encoding=None).connect() as direct,
    ):
        yield Outsider(caller, direct)


async def test_a_lease_of_elsewhere_cannot_be_revoked(
    serving: Instance, caller: NatsClient, shared_server: EtcdServer, prefix: str
) -> None:
    async with EtcdClient(shared_server.address).connect() as direct:
        lease = await direct.grant_lease(60)
        await direct.put(f"{prefix[:-1]}0", "theirs", lease=lease)
        for operation in ("lease.revoke", "lock.release", "lease.ttl"):
            error = await refusal(caller, f"etcd.app.{operation}", {"lease": str(lease)})
            assert error.code == 403, operation
        assert await direct.get(f"{prefix[:-1]}0") == "theirs"
