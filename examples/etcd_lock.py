"""A safe lock: writes carry its guard, so a holder that is too slow does no harm."""

import asyncio
import os

from micro_etcd import EtcdClient, EtcdLockLostError

etcd = EtcdClient(os.environ.get("ETCD", "127.0.0.1:2379"))


async def main() -> None:
    async with etcd.with_lock("report", timeout=5) as communicator:
        written = await communicator.txn_compare(
            [communicator.lock.guard],
            lambda success, _failure: success.put("/report", "finished"),
        )
        print("written under the lock:", written.succeeded)

    try:
        async with etcd.with_lock("report", ttl=2) as communicator:
            await communicator.lock.wait_lost()  # longer than the two seconds allowed
            print("lost:", communicator.lock.lost)
    except EtcdLockLostError as error:
        print(error)


asyncio.run(main())
