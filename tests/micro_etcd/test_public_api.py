"""The public names, and the signatures etcetra's users rely on."""

import asyncio
import inspect
import re
from pathlib import Path

import pytest

import micro_etcd
from micro_etcd import (
    CompareKey,
    EtcdClient,
    EtcdCommunicator,
    EtcdConnectionManager,
    EtcdCredential,
    EtcdLockOption,
    EtcdTransactionAction,
    HostPortPair,
    WatchEvent,
    WatchEventType,
)
from micro_etcd.testing import EtcdServer

FILTERS = "max_create_revision max_mod_revision min_create_revision min_mod_revision revision"
SORT = "sort_order sort_target"


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        (EtcdClient.__init__, "addr credentials secure encoding"),
        (EtcdClient.connect, ""),
        (EtcdClient.with_lock, "lock_name timeout ttl"),
        (EtcdCommunicator.put, "key value lease prev_kv encoding"),
        (EtcdCommunicator.get, f"key {FILTERS} encoding"),
        (EtcdCommunicator.get_prefix, f"key {FILTERS} {SORT} encoding"),
        (EtcdCommunicator.get_range, f"key range_end limit {FILTERS} {SORT} encoding"),
        (EtcdCommunicator.keys_prefix, f"key {FILTERS} serializable {SORT} encoding"),
        (
            EtcdCommunicator.keys_range,
            f"key range_end limit {FILTERS} serializable {SORT} encoding",
        ),
        (EtcdCommunicator.delete, "key prev_kv encoding"),
        (EtcdCommunicator.delete_prefix, "key prev_kv encoding"),
        (EtcdCommunicator.delete_range, "key range_end prev_kv encoding"),
        (EtcdCommunicator.grant_lease, "ttl id"),
        (EtcdCommunicator.revoke_lease, "id"),
        (EtcdCommunicator.create_lease_keepalive_task, "id interval"),
        (
            EtcdCommunicator.watch,
            "key ready_event filters prev_kv progress_notify start_revision watch_id encoding",
        ),
        (
            EtcdCommunicator.watch_prefix,
            "key ready_event filters prev_kv progress_notify start_revision watch_id encoding",
        ),
        (EtcdCommunicator.txn, "txn_builder encoding"),
        (EtcdCommunicator.txn_compare, "compares txn_builder encoding"),
        (EtcdTransactionAction.put, "key value lease ignore_value ignore_lease encoding"),
        (EtcdTransactionAction.get, f"key limit {FILTERS} serializable {SORT} encoding"),
        (EtcdTransactionAction.delete, "key encoding"),
        (CompareKey.__init__, "key target_lease mod_revision range_end target_version encoding"),
        (EtcdCredential.__init__, "username password"),
        (EtcdLockOption.__init__, "lock_name timeout ttl"),
        (HostPortPair.__init__, "host port"),
    ],
)
def test_documented_parameters_come_first_and_in_order(method: object, parameters: str) -> None:
    assert callable(method)
    signature = inspect.signature(method)
    positional = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.name != "self"
    ]

    assert positional[: len(parameters.split())] == parameters.split()
    added = positional[len(parameters.split()) :]
    assert all(signature.parameters[name].default is not inspect.Parameter.empty for name in added)


def test_all_is_complete_and_importable() -> None:
    assert len(set(micro_etcd.__all__)) == len(micro_etcd.__all__)
    assert all(hasattr(micro_etcd, name) for name in micro_etcd.__all__)


def test_nothing_of_grpc_is_public() -> None:
    for name in micro_etcd.__all__:
        module = getattr(getattr(micro_etcd, name), "__module__", "")
        assert not module.startswith(("grpc", "google"))


def test_enumerations_print_as_documented() -> None:
    assert str(WatchEventType.PUT) == "WatchEventType.PUT"
    assert str(WatchEventType.DELETE) == "WatchEventType.DELETE"


def test_watch_events_are_hashable() -> None:
    event = WatchEvent("k", "v", None, WatchEventType.PUT)

    assert event in {event}


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost", "localhost", 2379),
        ("10.0.0.1:4001", "10.0.0.1", 4001),
        ("[::1]:2379", "::1", 2379),
        ("[::1]", "::1", 2379),
        ("fe80::1", "fe80::1", 2379),
        ("http://etcd:2379", "etcd", 2379),
        ("https://etcd", "etcd", 2379),
        ("http://[::1]:4001", "::1", 4001),
        (" etcd:2379 ", "etcd", 2379),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert HostPortPair.parse(text) == HostPortPair(host, port)
    assert HostPortPair.parse(str(HostPortPair(host, port))) == HostPortPair(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ":1",
        "h:x",
        "h:0",
        "h:70000",
        "[::1]:x",
        "[::1",
        "h:1/",
        "h/p",
        "a b:1",
        "a,b",
        "ftp://h:1",
    ],
)
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f"invalid etcd address {text!r}: expected host")
    ):
        HostPortPair.parse(text)


@pytest.mark.parametrize(
    "endpoints",
    ["{0}", "http://{0}", " {0}", "{0},{0}", "http://{0}, http://{0}", ["http://{0}", "{0}"]],
)
async def test_endpoints_are_taken_as_etcdctl_writes_them(
    endpoints: str | list[str], shared_server: EtcdServer
) -> None:
    several = [endpoints] if isinstance(endpoints, str) else endpoints
    filled = [each.format(shared_server.address) for each in several]

    async with EtcdClient(filled if isinstance(endpoints, list) else filled[0]).connect() as etcd:
        await etcd.put("endpoints", "v")


@pytest.mark.parametrize(
    ("endpoint", "secure", "wanted"),
    [
        ("https://h:2379", False, "TLS (secure) for https://"),
        ("http://h:2379", True, "https:// with TLS"),
        ("h:1,,h:2", False, "host, host:port or [v6]:port"),
    ],
)
def test_endpoints_that_contradict_the_rest_are_refused(
    endpoint: str, secure: bool, wanted: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(f"expected {wanted}")):
        EtcdClient(endpoint, secure=secure)


def test_no_endpoint_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one endpoint"):
        EtcdClient([])


def test_modules_stay_small() -> None:
    folder = Path(micro_etcd.__file__).parent
    sizes = {path.name: len(path.read_text().splitlines()) for path in folder.rglob("*.py")}

    assert {name: size for name, size in sizes.items() if size > 350} == {}


def test_one_client_serves_any_number_of_loops(shared_server: EtcdServer) -> None:
    client = EtcdClient(shared_server.address)
    connecting = client.connect()  # outside any loop

    async def roundtrip(manager: EtcdConnectionManager[str]) -> str | None:
        async with manager as communicator:
            await communicator.put("loops", "v")
            return await communicator.get("loops")

    assert asyncio.run(roundtrip(connecting)) == "v"
    assert asyncio.run(roundtrip(client.connect())) == "v"
