"""Watch a prefix: the watch continues after restarts of etcd and loses no event."""

import asyncio
import os

from micro_etcd import EtcdClient, EtcdCompactedError

etcd = EtcdClient(os.environ.get("ETCD", "127.0.0.1:2379"))


async def main() -> None:
    async with etcd.connect() as communicator:
        try:
            # Entered, the watch is on the server: what is written from here on is seen.
            async with communicator.watch_prefix("/lamp/", prev_kv=True) as watch:
                await communicator.put("/lamp/hall", "on")
                await communicator.put("/lamp/hall", "off")
                await communicator.delete("/lamp/hall")
                for _ in range(3):
                    event = await anext(watch)
                    print(event.event.name, event.key, event.prev_value, "->", event.value)
        except EtcdCompactedError as error:
            print("too late, history starts at", error.compact_revision)


asyncio.run(main())
