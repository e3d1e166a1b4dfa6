"""Measure etcd clients: python etcd_worker.py HOST:PORT OPERATION CALLERS SECONDS CLIENT...

The clients take turns of a tenth of a second, so that other load affects all of them. The output is
one line for each: calls per second, processor microseconds per call. A client is imported only when
requested, so that it can come from its own environment.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

TURN = 0.1  # seconds
KEYS = [f"bench/{number:04}" for number in range(1024)]  # each caller has its own
VALUE = "v" * 64
Call = Callable[[int], Awaitable[Any]]


@asynccontextmanager
async def bare(host: str, port: int) -> AsyncIterator[tuple[Call, Call]]:
    """Yield what a stub of grpc.aio does, with nothing around it."""
    import grpc.aio

    from micro_etcd._pb import micro_etcd_pb2 as pb

    async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
        fetch = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=pb.RangeRequest.SerializeToString,
            response_deserializer=pb.RangeResponse.FromString,
        )
        store = channel.unary_unary(
            "/etcdserverpb.KV/Put",
            request_serializer=pb.PutRequest.SerializeToString,
            response_deserializer=pb.PutResponse.FromString,
        )

        async def get(number: int) -> str:
            answer = await fetch(pb.RangeRequest(key=KEYS[number].encode()))
            return answer.kvs[0].value.decode()

        async def put(number: int) -> None:
            await store(pb.PutRequest(key=KEYS[number].encode(), value=VALUE.encode()))

        yield get, put


@asynccontextmanager
async def micro_etcd(host: str, port: int) -> AsyncIterator[tuple[Call, Call]]:
    from micro_etcd import EtcdClient, HostPortPair

    async with EtcdClient(HostPortPair(host, port)).connect() as communicator:
        yield (
            lambda number: communicator.get(KEYS[number]),
            lambda number: communicator.put(KEYS[number], VALUE),
        )


@asynccontextmanager
async def etcetra(host: str, port: int) -> AsyncIterator[tuple[Call, Call]]:
    from etcetra import EtcdClient, HostPortPair

    async with EtcdClient(HostPortPair(host, port)).connect() as communicator:
        yield (
            lambda number: communicator.get(KEYS[number]),
            lambda number: communicator.put(KEYS[number], VALUE),
        )


@asynccontextmanager
async def aetcd(host: str, port: int) -> AsyncIterator[tuple[Call, Call]]:
    import aetcd as library

    async with library.Client(host=host, port=port) as client:
        yield (
            lambda number: client.get(KEYS[number].encode()),
            lambda number: client.put(KEYS[number].encode(), VALUE.encode()),
        )


CLIENTS = {client.__name__: client for client in (bare, micro_etcd, etcetra, aetcd)}


async def turn(call: Call, callers: int) -> tuple[int, float, float]:
    """Return calls made in one turn, its seconds and its processor seconds."""
    count = 0
    begun, cpu = time.perf_counter(), time.process_time()
    end = begun + TURN

    async def caller(number: int) -> None:
        nonlocal count
        while time.perf_counter() < end:
            await call(number)
            count += 1

    await asyncio.gather(*(caller(number) for number in range(callers)))
    return count, time.perf_counter() - begun, time.process_time() - cpu


async def main() -> None:
    address, operation, callers, seconds, *names = sys.argv[1:]
    host, port = address.rsplit(":", 1)
    async with AsyncExitStack() as stack:
        calls = []
        for name in names:
            get, put = await stack.enter_async_context(CLIENTS[name](host, int(port)))
            await asyncio.gather(*(put(number) for number in range(int(callers))))
            calls.append(get if operation == "get" else put)
            await turn(calls[-1], int(callers))  # warms up
        sums = [[0.0, 0.0, 0.0] for _ in names]
        for _ in range(max(1, round(float(seconds) / TURN))):
            for call, total in zip(calls, sums, strict=True):
                for place, figure in enumerate(await turn(call, int(callers))):
                    total[place] += figure
    for count, elapsed, cpu in sums:
        print(count / elapsed, cpu / count * 1e6)


if __name__ == "__main__":
    asyncio.run(main())
