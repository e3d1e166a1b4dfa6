"""The cost of one namespace of the etcd service for the others: lock latency and memory.

- locks: the time to acquire and release a free lock in one namespace, while `--waiters` callers
  wait for one lock in another; none of these may fail before its own time-out.
- memory: the peak of the service's resident memory during a request, less what it sends.

The servers, the service, the waiters and the caller are processes of their own.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import micro
from micro import options
from micro.testing import nats_server
from micro_etcd import EtcdClient, EtcdError, NatsEtcd
from micro_etcd.testing import EtcdServer

GOALS = {"lock": 20.0, "memory": 64.0}  # milliseconds, MiB
MIB = 1 << 20


async def wait_for_lock(url: str, count: int) -> None:
    """Wait for one lock with many callers, and print how many failed."""
    async with micro.Context() as ctx:
        await ctx.connect(options.servers(url))
        store = NatsEtcd(ctx, "busy")
        failures = 0

        async def wait() -> None:
            nonlocal failures
            try:
                async with store.with_lock("hot", timeout=3600):
                    await asyncio.sleep(3600)
            except (EtcdError, TimeoutError) as error:
                failures += 1
                print(f"waiter failed: {error!r}", file=sys.stderr)

        tasks = [asyncio.create_task(wait()) for _ in range(count + 1)]
        await asyncio.to_thread(sys.stdin.readline)
        print(failures, flush=True)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def measure_locks(url: str, address: str, count: int, rounds: int) -> tuple[list[float], int]:
    """Return the milliseconds of each lock, and how many waiters failed."""
    command = [sys.executable, __file__, "--wait", url, "--waiters", str(count)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with micro.Context() as ctx, EtcdClient(address).connect() as direct:
        await ctx.connect(options.servers(url))
        until = time.monotonic() + 120
        while len(await direct.keys_prefix("/busy/hot/")) <= count and time.monotonic() < until:  # noqa: ASYNC110 - the waiters are another process
            await asyncio.sleep(0.2)
        await asyncio.sleep(6)  # they ask again every few seconds: that is part of the load
        calm = NatsEtcd(ctx, "calm")
        times = []
        for _ in range(rounds):
            started = time.perf_counter()
            async with calm.with_lock("free", timeout=30):
                pass
            times.append((time.perf_counter() - started) * 1e3)
            await asyncio.sleep(0.05)
    process.stdin.write(b"\n")
    failures = int(await process.stdout.readline())
    await process.communicate()
    return times, failures


async def measure_memory(url: str, address: str, pid: int) -> dict[str, tuple[float, float]]:
    """Return, by case, MiB of peak memory above what was sent, and MiB sent."""
    found = {}
    async with micro.Context() as ctx, EtcdClient(address).connect() as direct:
        await ctx.connect(options.servers(url))
        for number in range(100):
            await direct.put(f"/busy/big/{number:03}", "x" * 500_000)
        client = micro.Client(ctx.client)
        keys = ", ".join(f'"big/{number:03}"' for number in range(100))

        async def ask(operation: str, body: str) -> int:
            try:
                return len(
                    (await client.request(f"etcd.busy.{operation}", body.encode(), timeout=60)).data
                )
            except micro.ServiceError as error:
                print(f"  {operation}: {error.code} {error.description}"[:100])
                return 0

        deletes = '{"prefix": "none/", "prev_kv": true}'
        cases: dict[str, Callable[[], Awaitable[list[int]]]] = {
            "get.many of 100 x 500 KB": lambda: asyncio.gather(
                ask("kv.get.many", f'{{"keys": [{keys}]}}')
            ),
            "16 lists": lambda: asyncio.gather(
                *(ask("kv.list", '{"prefix": "big/"}') for _ in range(16))
            ),
            "txn that reads 50 MB": lambda: asyncio.gather(
                ask("txn", '{"success": [{"get": {"prefix": "big/"}}]}')
            ),
            "16 txns that read 50 MB": lambda: asyncio.gather(
                *(ask("txn", '{"success": [{"get": {"prefix": "big/"}}]}') for _ in range(16))
            ),
            "delete of 50 MB with prev_kv": lambda: asyncio.gather(
                ask("kv.delete", deletes.replace("none", "big"))
            ),
        }
        for name, case in cases.items():
            _reset_peak(pid)
            before = _memory(pid, "VmRSS")
            sent = sum(await case()) / MIB
            found[name] = (_memory(pid, "VmHWM") - before - sent, sent)
            await asyncio.sleep(0.5)
    return found


def _reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _memory(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":")) / 1024


def serve(url: str, address: str) -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ,
        "NATS_URL": url,
        "ETCD_ENDPOINTS": address,
        "ETCD_NAMESPACES": "busy=/busy/:all calm=/calm/:all",
    }
    command = [sys.executable, "-m", "micro_etcd"]
    service = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    assert service.stdout is not None
    service.stdout.readline()
    return service


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiters", type=int, default=700)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--wait", metavar="URL", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.wait:
        asyncio.run(wait_for_lock(given.wait, given.waiters))
        return
    with nats_server() as nats, EtcdServer() as etcd:
        address = str(etcd.address)
        for waiters in (0, given.waiters):
            with serve(nats.url, address) as service:
                times, failures = asyncio.run(
                    measure_locks(nats.url, address, waiters, given.rounds)
                )
                service.terminate()
            middle, late = statistics.median(times), statistics.quantiles(times, n=20)[-1]
            print(
                f"lock elsewhere, {waiters:4} waiters  {middle:7.1f} ms  95 %: {late:.1f} ms  "
                f"failed waiters: {failures}"
            )
        met = middle <= GOALS["lock"] and not failures
        print(f"goal lock {GOALS['lock']} ms: {'met' if met else 'MISSED'}")
        with serve(nats.url, address) as service:
            cases = asyncio.run(measure_memory(nats.url, address, service.pid))
            service.terminate()
        for name, (above, sent) in cases.items():
            print(f"memory  {name:30} {above:7.1f} MiB above the {sent:.1f} MiB sent")
        met = max(above for above, _ in cases.values()) <= GOALS["memory"]
        print(f"goal memory {GOALS['memory']} MiB: {'met' if met else 'MISSED'}")


if __name__ == "__main__":
    main()
