"""A service on a nats-py connection, without a context."""

import asyncio
import os

import nats

import micro


async def echo(request: micro.Request) -> None:
    await request.respond(request.data())


async def main(url: str) -> bytes:
    nc = await nats.connect(url)
    async with micro.add_service(nc, "plain", "1.0.0") as service:
        await service.add_endpoint("echo", echo, subject="plain.echo")
        answer = await micro.Client(nc).request("plain.echo", b"hello")
    await nc.close()
    return answer.data


if __name__ == "__main__":
    print(asyncio.run(main(os.environ.get("NATS_URL", "nats://localhost:4222"))).decode())
