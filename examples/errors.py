"""Errors of handlers, and the exceptions that their callers receive."""

import asyncio
import json
import os

import nats

import micro

accounts = {"ada": 10, "bob": 0}


async def withdraw(request: micro.Request) -> None:
    order = json.loads(request.data())
    balance = accounts.get(order["account"])
    if balance is None:
        raise micro.ServiceError(404, "no such account")
    if balance < order["amount"]:
        details = json.dumps({"balance": balance}).encode()
        await request.respond_error(409, "not enough money", data=details)
        return
    accounts[order["account"]] = balance - order["amount"]
    await request.respond(b"done")


async def broken(request: micro.Request) -> None:
    raise KeyError("a detail that is nobody's business")


async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("bank", "1.0.0", error_handler=on_error)
    group = service.add_group("bank")
    await group.add_endpoint("withdraw", withdraw)
    await group.add_endpoint("broken", broken)


def on_error(service: micro.Service, error: BaseException) -> None:
    print(f"{service.name}: {error!r}")


async def call(url: str) -> list[str]:
    outcomes = []
    nc = await nats.connect(url)
    client = micro.Client(nc)
    for subject, data in (
        ("bank.withdraw", b'{"account": "ada", "amount": 5}'),
        ("bank.withdraw", b'{"account": "bob", "amount": 5}'),
        ("bank.withdraw", b'{"account": "eve", "amount": 5}'),
        ("bank.broken", b""),
    ):
        try:
            answer = await client.request(subject, data)
            outcomes.append(answer.data.decode())
        except micro.ServiceError as error:
            outcomes.append(f"{error.code} {error.description} {error.data.decode()}".strip())
    await nc.close()
    return outcomes


async def main(url: str) -> list[str]:
    async with micro.Context() as ctx:
        await ctx.connect(micro.options.servers(url))
        await setup(ctx)
        return await call(url)


if __name__ == "__main__":
    for line in asyncio.run(main(os.environ.get("NATS_URL", "nats://localhost:4222"))):
        print(line)
