"""The services on a server and their state, in any language."""

import asyncio
import os

import nats

import micro


async def main(url: str) -> None:
    nc = await nats.connect(url)
    client = micro.Client(nc)
    for instance in await client.ping():
        print(f"{instance.name} {instance.version} {instance.id}")

    for info in await client.info("echo", max_wait=2, max_interval=0.2):
        for endpoint in info.endpoints:
            print(f"{endpoint.name} listens on {endpoint.subject}")
    async with client.stats_iter("echo", max_wait=2, max_count=1) as answers:
        async for stats in answers:
            for counters in stats.endpoints:
                print(f"{counters.name}: {counters.num_requests} requests")
    everyone = client.service("echo")
    for ping in await everyone.ping():
        one = everyone.instance(ping.id)
        print((await one.stats()).started)
    until = micro.Until(max_wait=1, max_interval=0.2)
    async with client.request_many("$SRV.PING", until=until) as replies:
        async for message in replies:
            print(len(message.data), "bytes")
    print("ended by", replies.reason)
    await nc.close()


if __name__ == "__main__":
    asyncio.run(main(os.environ.get("NATS_URL", "nats://localhost:4222")))
