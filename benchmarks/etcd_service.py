"""The etcd service against a direct client: gets by 64 callers, and a put seen through a watch.

The servers, the service and the caller are processes of their own. Rates and delays are
measured in turns, and what counts is their ratio: gets over NATS to a bare grpc.aio stub, and put
to event over NATS to the same with the direct client.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import grpc
import grpc.aio

import micro
from micro import options
from micro.testing import nats_server
from micro_etcd import EtcdClient, EtcdCommunicator, NatsEtcd
from micro_etcd._pb import micro_etcd_pb2 as pb
from micro_etcd.testing import EtcdServer

CALLERS = 64
VALUE = "x" * 64
GOALS = {"gets": 1.5, "delay": 2.0}
Get = Callable[[int], Awaitable[object]]


async def rate(get: Get, seconds: float) -> float:
    """Return calls per second of all callers together."""
    until = time.perf_counter() + seconds

    async def call(number: int) -> int:
        count = 0
        while time.perf_counter() < until:
            await get(number)
            count += 1
        return count

    started = time.perf_counter()
    counts = await asyncio.gather(*(call(number) for number in range(CALLERS)))
    return sum(counts) / (time.perf_counter() - started)


async def delays(
    writer: EtcdCommunicator[str],
    reader: EtcdCommunicator[str] | NatsEtcd[str],
    key: str,
    count: int,
) -> float:
    """Return the median seconds from calling put to having the event."""
    found = []
    async with reader.watch(key) as watch:
        for number in range(count):
            started = time.perf_counter()
            putting = asyncio.ensure_future(writer.put(key, str(number)))
            event = await anext(watch)
            found.append(time.perf_counter() - started)
            assert event.value == str(number)
            await putting
    return statistics.median(found)


async def measure(rounds: int, seconds: float, url: str, address: str) -> None:
    async with (
        micro.Context() as ctx,
        EtcdClient(address).connect() as direct,
        grpc.aio.insecure_channel(address) as channel,
    ):
        await ctx.connect(options.servers(url))
        store = NatsEtcd(ctx, "bench")
        for number in range(CALLERS):
            await store.put(f"k{number}", VALUE)
        bare = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=pb.RangeRequest.SerializeToString,
            response_deserializer=pb.RangeResponse.FromString,
        )
        requests = [pb.RangeRequest(key=b"/bench/k%d" % number) for number in range(CALLERS)]
        gets: dict[str, list[float]] = {"bare": [], "direct": [], "nats": []}
        late: dict[str, list[float]] = {"direct": [], "nats": []}
        for _ in range(rounds):
            gets["bare"].append(await rate(lambda n: bare(requests[n]), seconds))
            gets["direct"].append(await rate(lambda n: direct.get(f"/bench/k{n}"), seconds))
            gets["nats"].append(await rate(lambda n: store.get(f"k{n}"), seconds))
            late["direct"].append(await delays(direct, direct, "/bench/d", 200))
            late["nats"].append(await delays(direct.namespace("/bench/"), store, "n", 200))
    report(gets, late)


def report(gets: dict[str, list[float]], late: dict[str, list[float]]) -> None:
    bare = statistics.median(gets["bare"])
    for name, found in gets.items():
        middle = statistics.median(found)
        print(f"get, {CALLERS} callers  {name:7} {middle:9,.0f}/s  {middle / bare:.2f} x bare")
    direct = statistics.median(late["direct"])
    for name, found in late.items():
        middle = statistics.median(found)
        print(f"put to event    {name:7} {middle * 1e3:9.2f} ms  {middle / direct:.2f} x direct")
    for what, met in [
        ("gets", statistics.median(gets["nats"]) / bare >= GOALS["gets"]),
        ("delay", statistics.median(late["nats"]) / direct <= GOALS["delay"]),
    ]:
        print(f"goal {what} {GOALS[what]}: {'met' if met else 'MISSED'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    with nats_server() as nats, EtcdServer() as etcd:
        address = str(etcd.address)
        environment = {
            **os.environ,
            "NATS_URL": nats.url,
            "ETCD_ENDPOINTS": address,
            "ETCD_NAMESPACES": "bench=/bench/:all",
        }
        command = [sys.executable, "-m", "micro_etcd"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as service:
            try:
                assert service.stdout is not None
                service.stdout.readline()
                asyncio.run(measure(given.rounds, given.seconds, nats.url, address))
            finally:
                service.terminate()


if __name__ == "__main__":
    main()
