"""Elect a leader and observe the leadership."""

import asyncio
import os

from micro_etcd import EtcdClient

etcd = EtcdClient(os.environ.get("ETCD", "127.0.0.1:2379"))


async def candidate(name: str, seen: asyncio.Event) -> None:
    async with etcd.connect() as communicator, communicator.election("team") as election:
        await election.campaign(name)
        await election.proclaim(f"{name}, ready")
        await seen.wait()  # the leader works here; leaving the block resigns


async def main() -> None:
    async with etcd.connect() as communicator:
        leaders = communicator.election("team").observe()
        for name in ("ada", "bob"):
            seen = asyncio.Event()
            leading = asyncio.create_task(candidate(name, seen))
            async for leader in leaders:
                if leader == f"{name}, ready":
                    print("leader:", leader)
                    break
            seen.set()
            await leading
        await leaders.aclose()


asyncio.run(main())
