"""The README examples of the original client, with only the import line changed."""

import ast
import asyncio
import re
import textwrap
from collections.abc import Iterator
from types import CodeType

import pytest

from micro_etcd import CompareKey, EtcdClient, EtcdLockLostError, HostPortPair
from micro_etcd.testing import EtcdServer


@pytest.fixture
def server() -> Iterator[EtcdServer]:
    """Run a server for the examples, which share keys and lock names."""
    with EtcdServer() as server:
        yield server


async def run(server: EtcdServer, *parts: str, **names: object) -> dict[str, object]:
    """Run example code at the top level of one namespace, with `await` allowed."""
    space: dict[str, object] = {
        "asyncio": asyncio,
        "EtcdClient": EtcdClient,
        "HostPortPair": HostPortPair,
        "CompareKey": CompareKey,
        "etcd": EtcdClient(server.address),
        **names,
    }
    for part in parts:
        code = compile(
            textwrap.dedent(part), "README", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        )
        assert isinstance(code, CodeType)
        result = eval(code, space)
        if asyncio.iscoroutine(result):
            await result
    return space


async def test_client_is_made_without_connecting() -> None:
    space: dict[str, object] = {}
    exec(
        "from micro_etcd import EtcdClient, HostPortPair\n"
        "etcd = EtcdClient(HostPortPair('127.0.0.1', 2379))",
        space,
    )

    assert isinstance(space["etcd"], EtcdClient)


async def test_put_and_get(server: EtcdServer, capsys: pytest.CaptureFixture[str]) -> None:
    await run(
        server,
        """
        async with etcd.connect() as communicator:
            await communicator.put('testkey', 'testvalue')
            value = await communicator.get('testkey')
            print(value)  # testvalue
        """,
    )

    assert capsys.readouterr().out == "testvalue\n"


async def test_get_prefix(server: EtcdServer, capsys: pytest.CaptureFixture[str]) -> None:
    await run(
        server,
        """
        async with etcd.connect() as communicator:
            await communicator.put('/testdir', 'root')
            await communicator.put('/testdir/1', '1')
            await communicator.put('/testdir/2', '2')
            await communicator.put('/testdir/2/3', '3')
            test_dir = await communicator.get_prefix('/testdir')
            print(test_dir)
        """,
    )

    assert capsys.readouterr().out == (
        "{'/testdir': 'root', '/testdir/1': '1', '/testdir/2': '2', '/testdir/2/3': '3'}\n"
    )


LOCK = """
async def first():
    async with etcd.with_lock('foolock') as communicator:
        value = await communicator.get('testkey')
        print('first:', value, end=' | ')

async def second():
    await asyncio.sleep(0.1)
    async with etcd.with_lock('foolock') as communicator:
        value = await communicator.get('testkey')
        print('second:', value)

async with etcd.connect() as communicator:
    await communicator.put('testkey', 'testvalue')
await asyncio.gather(first(), second())  # first: testvalue | second: testvalue
"""


async def test_lock(server: EtcdServer, capsys: pytest.CaptureFixture[str]) -> None:
    await run(server, LOCK)

    assert capsys.readouterr().out == "first: testvalue | second: testvalue\n"


LOCK_TIMEOUT = """
async def first():
    async with etcd.with_lock('foolock') as communicator:
        value = await communicator.get('testkey')
        print('first:', value)
        await asyncio.sleep(10)

async def second():
    await asyncio.sleep(0.1)
    async with etcd.with_lock('foolock', timeout=5) as communicator:
        value = await communicator.get('testkey')
        print('second:', value)

async with etcd.connect() as communicator:
    await communicator.put('testkey', 'testvalue')
await asyncio.gather(first(), second())  # asyncio.TimeoutError followed by first: testvalue output
"""


async def test_lock_timeout(server: EtcdServer, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await run(server, LOCK_TIMEOUT)

    assert capsys.readouterr().out == "first: testvalue\n"
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


LOCK_TTL_FIRST = """
async def first():
    async with etcd.with_lock('foolock', ttl=5) as communicator:
        await asyncio.sleep(10)

await first()
"""
LOCK_TTL_SECOND = """
import time

async def second():
    start = time.time()
    async with etcd.with_lock('foolock', ttl=5) as communicator:
        print(f'acquired lock after {time.time() - start} seconds')

await second()  # acquired lock after 4.756163120269775 seconds
"""


async def test_lock_ttl(server: EtcdServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The two files of the example run at once; the first is told that its lock ended under it."""
    first = asyncio.create_task(run(server, LOCK_TTL_FIRST))
    async with EtcdClient(server.address).connect() as communicator:
        async with asyncio.timeout(10):
            while not await communicator.get_prefix("foolock/"):
                await asyncio.sleep(0.01)
    await run(server, LOCK_TTL_SECOND)
    with pytest.raises(EtcdLockLostError):
        await first

    match = re.fullmatch(r"acquired lock after ([\d.]+) seconds\n", capsys.readouterr().out)
    assert match is not None
    assert 4 < float(match[1]) < 8


WATCH = """
async def watch():
    async with etcd.connect() as communicator:
        async for event in communicator.watch('testkey'):
            print(event.event, event.value)

async def update():
    await asyncio.sleep(0.1)
    async with etcd.connect() as communicator:
        await communicator.put('testkey', '1')
        await communicator.put('testkey', '2')
        await communicator.put('testkey', '3')
        await communicator.put('testkey', '4')
        await communicator.put('testkey', '5')

await asyncio.gather(watch(), update())
"""

WATCH_PREFIX = """
async def watch():
    async with etcd.connect() as communicator:
        async for event in communicator.watch_prefix('/testdir'):
            print(event.event, event.key, event.value)

async def update():
    await asyncio.sleep(0.1)
    async with etcd.connect() as communicator:
        await communicator.put('/testdir', '1')
        await communicator.put('/testdir/foo', '2')
        await communicator.put('/testdir/bar', '3')
        await communicator.put('/testdir/foo/baz', '4')

await asyncio.gather(watch(), update())
"""

WATCHED = "".join(f"WatchEventType.PUT {number}\n" for number in range(1, 6))
WATCHED_PREFIX = """\
WatchEventType.PUT /testdir 1
WatchEventType.PUT /testdir/foo 2
WatchEventType.PUT /testdir/bar 3
WatchEventType.PUT /testdir/foo/baz 4
"""


@pytest.mark.parametrize(("example", "printed"), [(WATCH, WATCHED), (WATCH_PREFIX, WATCHED_PREFIX)])
async def test_watch(server: EtcdServer, example: str, printed: str) -> None:
    lines: list[str] = []
    complete = asyncio.Event()

    def note(*words: object) -> None:
        lines.append(" ".join(str(word) for word in words) + "\n")
        if len(lines) == printed.count("\n"):
            complete.set()

    running = asyncio.create_task(run(server, example, print=note))
    async with asyncio.timeout(20):
        await complete.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert "".join(lines) == printed


async def test_txn(server: EtcdServer, capsys: pytest.CaptureFixture[str]) -> None:
    """The README writes `with` between `connect()` and `communicator` where `as` is meant."""
    await run(
        server,
        """
        compares = [
            CompareKey('cmpkey1').value == 'foo',
            CompareKey('cmpkey2').value > 'bar',
        ]
        """,
        """
        async with etcd.connect() as communicator:
            await communicator.put('cmpkey1', 'foo')
            await communicator.put('cmpkey2', 'baz')
            await communicator.put('successkey', 'asdf')

            def _txn(success, failure):
                success.get('successkey')

            values = await communicator.txn_compare(compares, _txn)
            print(values)  # ['asdf']
        """,
        """
        compares = [
            CompareKey('cmpkey1').value == 'foo',
            CompareKey('cmpkey2').value < 'bar',
        ]
        async with etcd.connect() as communicator:
            await communicator.put('failurekey', 'asdf')

            def _txn(success, failure):
                failure.get('failurekey')

            values = await communicator.txn_compare(compares, _txn)
            print(values)  # ['asdf']
        """,
        """
        async with etcd.connect() as communicator:
            def _txn(action):
                action.get('cmpkey1')
                action.get('cmpkey2')

            values = await communicator.txn(_txn)
            print(values)  # ['foo', 'baz']
        """,
    )

    assert capsys.readouterr().out == "['asdf']\n['asdf']\n['foo', 'baz']\n"
