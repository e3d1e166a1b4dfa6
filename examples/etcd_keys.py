"""Keys, prefixes, conditional writes: python etcd_keys.py, with etcd at ETCD (127.0.0.1:2379)."""

import asyncio
import os

from micro_etcd import CompareKey, EtcdClient

etcd = EtcdClient(os.environ.get("ETCD", "127.0.0.1:2379"))


async def main() -> None:
    async with etcd.connect() as communicator:
        await communicator.put("/shop/apples", "3")
        await communicator.put("/shop/pears", "5")
        print(await communicator.get("/shop/apples"))
        print(await communicator.get_prefix("/shop/"))

        # Sell one apple, unless somebody else has just done so.
        sold = await communicator.txn_compare(
            [CompareKey("/shop/apples").value == "3"],
            lambda success, failure: (
                success.put("/shop/apples", "2"),
                failure.get("/shop/apples"),
            ),
        )
        print("sold" if sold.succeeded else f"there are {sold[0]}")

        # A view in which every key lies under a prefix.
        shop = communicator.namespace("/shop/")
        print(await shop.get("apples"), await shop.delete_prefix("", prev_kv=True))


asyncio.run(main())
