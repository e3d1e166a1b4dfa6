"""A job that one of many instances does; when that one ends, another takes over.

Run an etcd service with a namespace `demo` first: python -m micro_etcd --embedded
"""

import asyncio

import micro
from micro_etcd import EtcdLockLostError, NatsEtcd


async def instance(ctx: micro.Context, name: str, started: asyncio.Event) -> None:
    try:
        async with ctx.leader("nightly-report") as leadership:
            print(f"{name} leads, lost: {leadership.lost}")
            started.set()
            await asyncio.sleep(0.1)  # the job; cancelled if the leadership is lost
            print(f"{name} is done")
    except EtcdLockLostError:
        print(f"{name} is no longer the leader")


async def setup(ctx: micro.Context) -> None:
    ctx.use_store(NatsEtcd(ctx, "demo"))
    started = asyncio.Event()
    ada = asyncio.create_task(instance(ctx, "ada", started))
    await started.wait()
    bob = asyncio.create_task(instance(ctx, "bob", asyncio.Event()))
    await asyncio.gather(ada, bob)
    ctx.cancel()


if __name__ == "__main__":
    micro.run(setup, trap_signals=True)
