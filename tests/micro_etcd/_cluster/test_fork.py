"""Clients in forked processes."""

import subprocess
import sys

from micro_etcd.testing import EtcdServer

PROGRAM = """
import asyncio, os, sys
from micro_etcd import EtcdClient, EtcdUnavailableError

client = EtcdClient(sys.argv[1], timeout=5)

async def read():
    async with client.connect() as etcd:
        return await etcd.get("k")

async def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            print(asyncio.run(work), flush=True)
        except EtcdUnavailableError as error:
            print(error, flush=True)
        os._exit(0)
    await asyncio.to_thread(os.waitpid, child, 0)

async def main():
    async with client.connect() as etcd:
        await etcd.put("k", "v")
        for work in (etcd.get("k"), etcd.put("k", "w"), anext(etcd.watch("k")), read()):
            await in_child(work)
            if asyncio.iscoroutine(work):
                work.close()
        print("parent", await etcd.get("k"), flush=True)

asyncio.run(main())
child = os.fork()
if child == 0:
    print("child", asyncio.run(read()), flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_client_in_a_forked_child_says_so_instead_of_hanging(shared_server: EtcdServer) -> None:
    """One that was connected at the fork, and a new one; without a connection nothing is lost."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(shared_server.address)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    *refused, parent, child = ran.stdout.splitlines()

    assert [line.partition(":")[0] for line in refused] == [
        "this process was forked while an etcd client was connected, and gRPC does not survive that"
    ] * 4
    assert (parent, child) == ("parent v", "child v")
