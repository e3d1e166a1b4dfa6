"""The peer that is written with `nats.micro` of nats-py.

``serve URL`` offers a service until standard input ends, ``call URL NAME`` finds and calls one and
prints what it saw as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import warnings
from typing import Any

import nats
from nats.aio.client import Client
from nats.micro import add_service
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER, Request, ServiceError
from nats.micro.service import (
    EndpointStats,
    ServiceInfo,
    ServicePing,
    ServiceStats,
    ServiceVerb,
    control_subject,
)


async def serve(nc: Client) -> None:
    service = await add_service(
        nc,
        name="interop",
        version="2.1.0-rc.1+build.7",
        description="What every peer offers",
        metadata={"peer": "nats-py"},
        stats_handler=report,
    )
    await service.add_endpoint(
        name="echo", handler=echo, subject="interop.echo", metadata={"kind": "raw"}
    )
    await service.add_endpoint(name="refuse", handler=refuse)
    await service.add_endpoint(name="crash", handler=crash)
    group = service.add_group(name="math", queue_group="calc").add_group(name="v1")
    await group.add_endpoint(name="add", handler=add)
    await nc.flush()
    print(json.dumps({"id": service.id}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await service.stop()


def report(stats: EndpointStats) -> dict[str, Any]:
    return {"about": stats.name, "load": 0.5}


async def echo(request: Request) -> None:
    await request.respond(request.data, headers=request.headers)


async def refuse(request: Request) -> None:
    await request.respond_error(
        "418", "I'm a teapot", b"short and stout", headers={"Retry-After": "7"}
    )


async def crash(request: Request) -> None:
    raise RuntimeError("secret")


async def add(request: Request) -> None:
    pair = json.loads(request.data)
    if not isinstance(pair.get("a"), int) or not isinstance(pair.get("b"), int):
        await request.respond_error("400", "expected two integers", request.data)
        return
    await request.respond(json.dumps(pair["a"] + pair["b"]).encode())


async def call(nc: Client, name: str) -> None:
    seen: dict[str, Any] = {
        "echo": await ask(nc, "interop.echo", b"hello", {"X-Trace": "t-1"}),
        "add": await ask(nc, "math.v1.add", b'{"a": 19, "b": 23}'),
        "bad": await ask(nc, "math.v1.add", b'{"a": "nineteen"}'),
        "refuse": await ask(nc, "refuse"),
        "crash": await ask(nc, "crash"),
    }
    id = ServicePing.from_dict(await control(nc, ServiceVerb.PING, name)).id
    for level, scope in {"all": (), "name": (name,), "id": (name, id)}.items():
        stats = await control(nc, ServiceVerb.STATS, *scope)
        for endpoint in stats["endpoints"]:
            endpoint.setdefault("data", None)  # optional in ADR-32, required by this reader
        decoded = ServiceStats.from_dict(stats).to_dict()
        seen[level] = {
            "ping": ServicePing.from_dict(await control(nc, ServiceVerb.PING, *scope)).to_dict(),
            "info": ServiceInfo.from_dict(await control(nc, ServiceVerb.INFO, *scope)).to_dict(),
            "stats": decoded,
        }
    print(json.dumps(seen))


async def control(nc: Client, verb: ServiceVerb, *scope: str) -> Any:
    return json.loads((await nc.request(control_subject(verb, *scope), timeout=5)).data)


async def ask(
    nc: Client, subject: str, data: bytes = b"", headers: dict[str, str] | None = None
) -> dict[str, Any]:
    reply = await nc.request(subject, data, timeout=5, headers=headers)
    headers = dict(reply.headers or {})
    error = ServiceError(headers.pop(ERROR_CODE_HEADER, ""), headers.pop(ERROR_HEADER, ""))
    return {"data": reply.data.decode(), "headers": headers, **error.to_dict()}


async def main(verb: str, url: str, *names: str) -> None:
    nc = await nats.connect(url)
    await (serve(nc) if verb == "serve" else call(nc, *names))
    await nc.close()


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # nats-py calls utcnow()
    asyncio.run(main(*sys.argv[1:]))
