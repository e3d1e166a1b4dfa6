"""A namespace reads, writes, compares and watches inside its prefix only."""

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.micro_etcd.versions import every_version

from micro_etcd import CompareKey, EtcdClient, WatchEventType
from micro_etcd._model.keys import EVERYTHING, Namespace, prefix_end, prefix_range

KEYS = st.binary(max_size=6) | st.lists(
    st.sampled_from([b"\x00", b"\xff", b"/", b"..", b"*", b">", b".", b" ", b"a"]), max_size=5
).map(b"".join)

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine


def within(key: bytes, range_end: bytes, candidate: bytes) -> bool:
    """Say whether etcd's range [key, range_end) has a key."""
    if not range_end:
        return candidate == key
    return key <= candidate and (range_end == EVERYTHING or candidate < range_end)


@PATIENT
@given(prefix=KEYS, candidate=KEYS)
def test_prefix_range_has_exactly_the_keys_with_the_prefix(prefix: bytes, candidate: bytes) -> None:
    if candidate:  # etcd has no empty key
        assert within(*prefix_range(prefix), candidate) is candidate.startswith(prefix)


@PATIENT
@given(prefix=KEYS.filter(bool), key=KEYS.filter(bool), end=KEYS, candidate=KEYS)
def test_namespaced_range_never_reaches_outside(
    prefix: bytes, key: bytes, end: bytes, candidate: bytes
) -> None:
    space = Namespace(prefix)
    if within(space.key(key), space.end(end), candidate):
        assert candidate.startswith(prefix)
        assert within(key, end, space.strip(candidate))


@PATIENT
@given(prefix=KEYS.filter(bool), key=KEYS.filter(bool), end=KEYS, inner=KEYS.filter(bool))
def test_namespaced_range_loses_nothing_inside(
    prefix: bytes, key: bytes, end: bytes, inner: bytes
) -> None:
    space = Namespace(prefix)
    assert within(space.key(key), space.end(end), space.key(inner)) is within(key, end, inner)


def test_empty_key_stays_empty() -> None:
    assert Namespace(b"a/").key(b"") == b""
    assert prefix_end(b"\xff\xff") == EVERYTHING


@every_version
async def test_everything_stays_inside(etcd: EtcdClient[str], prefix: str) -> None:
    async with etcd.connect() as whole:
        await whole.put(f"{prefix}outside", "o")
        space = whole.namespace(prefix).namespace("in/")
        async with space.watch_prefix("") as watch:
            await whole.put(f"{prefix}in0", "behind")
            await space.put("a", "1")
            assert await whole.get(f"{prefix}in/a") == "1"
            assert await space.get("a") == "1"
            assert await space.get_prefix("") == {"a": "1"}
            assert list(await asyncio.gather(space.get("a"), space.get("b"))) == [
                "1",
                None,
            ]  # coalesced
            result = await space.txn_compare(
                [CompareKey("a").value == "1"], lambda success, _: success.get("a")
            )
            assert result == ["1"]
            kv = await space.kv.get(b"a")
            assert kv is not None
            assert kv.key == b"a"
            assert await space.delete_prefix("", prev_kv=True) == ["1"]
            events = [await anext(watch) for _ in range(2)]
        assert [(event.event, event.key) for event in events] == [
            (WatchEventType.PUT, "a"),
            (WatchEventType.DELETE, "a"),
        ]
        assert await whole.keys_prefix(prefix) == [f"{prefix}in0", f"{prefix}outside"]
        async with space.with_lock("lock") as held:
            assert await whole.keys_prefix(f"{prefix}in/lock/") == [
                f"{prefix}in/{held.key.decode()}"
            ]
            guarded = await space.txn_compare(
                [held.guard], lambda success, _: success.put("g", "1")
            )
            assert guarded.succeeded
        async with space.election("e") as election:
            await election.campaign("me")
            assert await election.leader() == "me"
