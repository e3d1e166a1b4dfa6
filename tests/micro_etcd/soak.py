"""Random faults against a three-member cluster under load, and a check of everything that was seen.

Run for five minutes with: python -m tests.micro_etcd.soak --seconds 300

Checked: watches show every write once and in order; a write is applied at most once, and exactly
once when it succeeded; reads are never older than what was acknowledged before them; of the guarded
writes of a lock, none succeeds after one with a later token; nothing is left behind.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.micro_etcd.certificates import Authority
from tests.micro_etcd.guarded import ROOT
from tests.micro_etcd.history import Line, Reader
from tests.micro_etcd.operations import ARGUMENTS, Operator
from tests.micro_etcd.proxy import Proxy

from micro_etcd import (
    EtcdClient,
    EtcdCommunicator,
    EtcdError,
    EtcdLockLostError,
    EtcdOutcomeUnknownError,
    HostPortPair,
    PutOp,
    RangeOptions,
)
from micro_etcd._model.keys import prefix_range
from micro_etcd.testing import EtcdCluster, EtcdServer

OPERATIONS = ("learner", "authentication", "certificates")  # twice as often as the faults
WRITES, FENCED = "/soak/w/", "/soak/fenced"


@dataclass
class Seen:
    """What the clients were told."""

    done: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    acknowledged: dict[str, int] = field(default_factory=dict)  # key: newest revision
    fenced: list[tuple[int, int]] = field(default_factory=list)  # revision, token
    refused_late: int = 0
    stale: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def note(self, error: EtcdError) -> None:
        """Count an error, with its text if that is rare."""
        rare = error.code in (2, 16)
        self.errors[f"{error.name}: {error.message[:80]}" if rare else error.name] += 1


async def write(communicator: EtcdCommunicator[str], name: str, seen: Seen) -> None:
    """Write values that are never written again, and read back."""
    number = 0
    while True:
        number += 1
        key, value = f"{WRITES}{name}{number % 5}", f"{name}.{number}"
        try:
            put = await communicator.kv.put(key.encode(), value.encode())
        except (EtcdOutcomeUnknownError, asyncio.CancelledError) as error:
            seen.unknown.append(value)
            if isinstance(error, asyncio.CancelledError):
                raise
        except EtcdError as error:
            seen.note(error)
        else:
            seen.done.append(value)
            seen.acknowledged[key] = max(seen.acknowledged.get(key, 0), put.revision)
        await asyncio.sleep(0.01)


async def read(communicator: EtcdCommunicator[str], seen: Seen) -> None:
    """Look for answers older than what was acknowledged before the question."""
    while True:
        for key, revision in list(seen.acknowledged.items()):
            try:
                kv = await communicator.kv.get(key.encode())
            except EtcdError as error:
                seen.note(error)
                continue
            if kv is None or kv.mod_revision < revision:
                seen.stale.append(f"{key} at {kv and kv.mod_revision}, {revision} was acknowledged")
        await asyncio.sleep(0.02)


async def lock(client: EtcdClient[str], name: str, seen: Seen, dice: random.Random) -> None:
    """Hold a lock now and then, sometimes for longer than allowed, and write under its guard."""
    while True:
        ttl = dice.choice([None, 2])
        try:
            async with client.with_lock("soak-lock", ttl=ttl, timeout=20) as communicator:
                held = communicator.lock
                for pause in (0.0, 0.02, dice.choice([0.05, 0.1, 3.5 if ttl else 0.1])):
                    await asyncio.sleep(pause)
                    value = f"{held.token}:{name}"
                    answer = await communicator.kv.txn(
                        [held.guard], [PutOp(FENCED.encode(), value.encode())]
                    )
                    if answer.succeeded:
                        seen.fenced.append((answer.revision, held.token))
                    else:
                        seen.refused_late += 1
        except (EtcdLockLostError, TimeoutError):
            pass
        except EtcdError as error:
            seen.note(error)
        await asyncio.sleep(dice.random() / 10)


class Harm:
    """Does one thing after another to the cluster; a majority of members stays up."""

    def __init__(
        self, cluster: EtcdCluster, operator: Operator, proxies: list[Proxy], dice: random.Random
    ) -> None:
        self._cluster = cluster
        self._operator = operator
        self._proxies = proxies
        self._dice = dice
        self._faults: dict[str, Callable[[], Awaitable[object]]] = {
            "kill": self._kill,
            "stop": self._stop,
            "freeze": self._freeze,
            "leader": self._kill_leader,
            "cut": self._cut,
            "byte": self._cut_within_a_message,
            "hold": self._hold,
            "refuse": self._refuse,
            "learner": partial(asyncio.to_thread, operator.switch_learner),
            "authentication": partial(asyncio.to_thread, operator.switch_authentication),
            "certificates": partial(asyncio.to_thread, operator.renew),
        }

    async def run(self, seen: Seen) -> None:
        """Go on for ever."""
        names = list(self._faults)
        weights = [2 if name in OPERATIONS else 1 for name in names]
        while True:
            (name,) = self._dice.choices(names, weights)
            seen.faults[name] += 1
            await self._faults[name]()
            await asyncio.sleep(self._dice.random() * 3)

    async def _kill(self) -> None:
        await self._restart(self._dice.choice(self._cluster.members), EtcdServer.kill)

    async def _stop(self) -> None:
        await self._restart(self._dice.choice(self._cluster.members), EtcdServer.stop)

    async def _kill_leader(self) -> None:
        await self._restart(await asyncio.to_thread(self._cluster.leader), EtcdServer.kill)

    async def _restart(self, member: EtcdServer, end: Callable[[EtcdServer], None]) -> None:
        await asyncio.to_thread(end, member)
        await asyncio.sleep(self._dice.random() * 2)
        await asyncio.to_thread(member.start)

    async def _freeze(self) -> None:
        member = self._dice.choice(self._cluster.members)
        member.freeze()
        try:
            await asyncio.sleep(1 + self._dice.random() * 5)
        finally:
            member.thaw()

    async def _cut(self) -> None:
        self._dice.choice(self._proxies).cut()

    async def _cut_within_a_message(self) -> None:
        self._dice.choice(self._proxies).cut_after(self._dice.randint(1, 20_000))

    async def _hold(self) -> None:
        proxy = self._dice.choice(self._proxies)
        proxy.hold()
        await asyncio.sleep(self._dice.random() * 3)
        proxy.release()

    async def _refuse(self) -> None:
        proxy = self._dice.choice(self._proxies)
        await proxy.refuse()
        await asyncio.sleep(self._dice.random())
        await proxy.accept()


async def full_history(
    communicator: EtcdCommunicator[str], prefix: str, first: int, last: int
) -> list[Line]:
    """Return every put under a prefix, one read per revision, 64 at a time."""
    lines: list[Line] = []

    async def at(revision: int) -> list[Line]:
        options = RangeOptions(revision=revision, min_mod_revision=revision)
        found = await communicator.kv.range(*prefix_range(prefix.encode()), options)
        return [(kv.mod_revision, kv.key, kv.value) for kv in found.kvs]

    for start in range(first, last + 1, 64):
        parts = await asyncio.gather(*(at(r) for r in range(start, min(start + 64, last + 1))))
        lines += [line for part in parts for line in part]
    return lines


def check(seen: Seen, history: list[Line], readers: list[Reader]) -> None:
    """Compare what was seen with what etcd kept."""
    assert not seen.stale, seen.stale[:5]
    for reader in readers:
        assert reader.error is None, reader.error
        assert reader.lines == history
    written = Counter(value.decode() for _, key, value in history if key != FENCED.encode())
    assert max(written.values()) == 1
    lost = set(seen.done) - set(written)
    assert not lost, f"acknowledged, but not there: {lost}"
    denied = set(written) - set(seen.done) - set(seen.unknown)
    assert not denied, f"called not applied, but there: {denied}"
    tokens = [int(value.split(b":")[0]) for _, key, value in history if key == FENCED.encode()]
    assert tokens == sorted(tokens), "a guarded write succeeded after one with a later token"
    assert {revision for revision, _ in seen.fenced} <= {revision for revision, _, _ in history}


async def soak(seconds: float, seed: int, binary: Path | None = None) -> Seen:
    """Run the load and the faults, then check; returns what was seen."""
    dice, seen = random.Random(seed), Seen()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        authority = Authority(folder / "authority")
        files = authority.issue("server")
        cluster = stack.enter_context(
            EtcdCluster(3, binary, arguments=ARGUMENTS, tls=(*files, authority.path))
        )
        operator = Operator(cluster, authority, binary)
        stack.callback(operator.remove_learner)
        await asyncio.to_thread(operator.enable)
        targets = [*(member.address for member in cluster.members), operator.learner_address]
        proxies = [await stack.enter_async_context(Proxy(target)) for target in targets]

        def client() -> EtcdClient[str]:
            addresses: list[HostPortPair] = [proxy.address for proxy in proxies]
            dice.shuffle(addresses)
            return EtcdClient(addresses, ROOT, operator.secure)

        connected = [await stack.enter_async_context(client().connect()) for _ in range(6)]
        first = await connected[0].kv.revision(b"x") + 1
        readers = [
            Reader(communicator.events(*prefix_range(b"/soak/"))) for communicator in connected[:3]
        ]
        for reader in readers:
            await reader.stream.start()
        watching = [asyncio.create_task(reader.run()) for reader in readers]
        load = [
            *(write(connected[3 + n % 3], f"w{n}-", seen) for n in range(4)),
            *(lock(client(), f"l{n}", seen, dice) for n in range(4)),
            read(connected[3], seen),
            Harm(cluster, operator, proxies, dice).run(seen),
        ]
        tasks = [asyncio.create_task(job) for job in load]
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        failed = [task for task in tasks if task.done()]  # each runs for ever, so it has failed
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in failed:
            task.result()
        await heal(cluster, proxies)
        last = (await connected[0].kv.put(f"{WRITES}end".encode(), b"end")).revision
        seen.done.append("end")
        await asyncio.gather(*(reader.until(last, 90) for reader in readers))
        check(seen, await full_history(connected[0], "/soak/", first, last), readers)
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        await nothing_left(connected[0])
    return seen


async def heal(cluster: EtcdCluster, proxies: list[Proxy]) -> None:
    for proxy in proxies:
        proxy.release()
        await proxy.refuse()
        await proxy.accept()
    for member in cluster.members:
        await asyncio.to_thread(member.kill)
        await asyncio.to_thread(member.launch)
    for member in cluster.members:
        await asyncio.to_thread(member.wait_ready)


async def nothing_left(communicator: EtcdCommunicator[str]) -> None:
    """Wait until the keys and leases of the locks are gone: at once, or by their ttl."""
    async with asyncio.timeout(40):
        while await communicator.leases.ids() or await communicator.keys_prefix("soak-lock/"):
            await asyncio.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Random faults against an etcd cluster under load."
    )
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.seconds:.0f} s", flush=True)
    seen = asyncio.run(soak(options.seconds, options.seed))
    print(
        f"ok: {len(seen.done)} writes done, {len(seen.unknown)} unknown, {len(seen.fenced)} "
        f"guarded writes, {seen.refused_late} refused late; faults {dict(seen.faults)}; "
        f"errors {dict(seen.errors)}"
    )


if __name__ == "__main__":
    main()
