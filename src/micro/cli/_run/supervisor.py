"""Worker processes of one program: restarted when they end, replaced without a gap."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import Process

from micro._backoff import Backoff
from micro._program.stopping import grace_time
from micro.cli._output import Exit
from micro.cli._run.program import Program

logger = logging.getLogger("micro.supervisor")

MARGIN = 5.0
"""Seconds beyond the grace time until a worker that does not stop is killed."""

HEALTHY = 10.0
"""Seconds of uptime after which a failure counts as the first again."""

BACKOFF = Backoff(first_delay=0.2, max_delay=15.0, jitter=0)
"""The delays before a worker is started again."""


class Worker:
    """A process that runs the program."""

    def __init__(self, process: Process, ready: asyncio.StreamReader) -> None:
        self.process = process
        self._ready = ready
        # Different signals, because two of one kind in a row may arrive as one.
        self._signals = [signal.SIGTERM, signal.SIGINT]

    @classmethod
    async def start(cls, program: Program) -> Worker:
        """Start a process and send it the program."""
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "micro.cli._run.worker",
                str(write_end),
                stdin=asyncio.subprocess.PIPE,
                pass_fds=(write_end,),
                process_group=0,  # Ctrl-C reaches only the supervisor, which passes it on once
            )
        finally:
            os.close(write_end)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb")
        )
        if process.stdin is not None:
            process.stdin.write(program.to_json().encode() + b"\n")
        return cls(process, reader)

    async def ready(self) -> bool:
        """Wait for the end of the setup; return False if the process ends first."""
        return await self._ready.read(1) != b""

    def stop(self) -> None:
        """Signal the process: stop, then cancel the handlers, then kill."""
        if self.process.returncode is None:
            number = self._signals.pop(0) if self._signals else signal.SIGKILL
            self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the end of the process and return its exit code."""
        return await self.process.wait()


class Slot:
    """A place for one worker, filled again when the worker ends.

    Attributes:
        outcome: 0 once the first worker is ready, or its exit code once it has failed.
    """

    def __init__(self, program: Program) -> None:
        self.outcome: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._program = program
        self._stop_limit = grace_time(program.grace) + MARGIN
        self._worker: Worker | None = None
        self._stopping = asyncio.Event()
        self._task = asyncio.create_task(self._keep())

    @property
    def over(self) -> bool:
        """Whether this slot has given up."""
        return self._task.done()

    async def stop(self) -> None:
        """Stop the worker and start no other; a second call hurries the worker."""
        self._stopping.set()
        if self._worker is not None:
            self._worker.stop()
        await asyncio.wait({self._task}, timeout=self._stop_limit)
        if not self._task.done() and self._worker is not None:
            logger.error("worker %d does not stop: killing it", self._worker.process.pid)
            self._worker.process.kill()
        await self._task

    async def _keep(self) -> None:
        try:
            await self._restart()
        finally:
            self._resolve(Exit.FAILED)  # also if a process cannot be started

    async def _restart(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            self._worker = worker = await Worker.start(self._program)
            if self._stopping.is_set():  # stopped while the process started
                worker.stop()
            ready = await worker.ready()
            if ready:
                logger.info("worker %d is ready", worker.process.pid)
                self._resolve(Exit.DONE)
            code = await worker.ended()
            if self._stopping.is_set():
                return
            if not ready and self._resolve(code):
                logger.error("worker %d failed with exit code %d", worker.process.pid, code)
                return
            failures = 0 if ready and time.monotonic() - began > HEALTHY else failures + 1
            await self._pause(worker, code, failures)

    async def _pause(self, worker: Worker, code: int, failures: int) -> None:
        delay = BACKOFF.delay(failures)
        logger.error(
            "worker %d ended with exit code %d: another one in %.1f s",
            worker.process.pid,
            code,
            delay,
        )
        try:
            await asyncio.wait_for(self._stopping.wait(), delay)
        except TimeoutError:
            return

    def _resolve(self, code: int) -> bool:
        """Set the outcome of the first start; return False if it is set."""
        if self.outcome.done():
            return False
        self.outcome.set_result(code)
        return True


class Supervisor:
    """The supervisor of several processes until SIGINT or SIGTERM; SIGHUP replaces them in turn.

    Args:
        program: The program to run.
        count: The number of processes.
        patient: Whether to go on if a first start fails, as while code is edited.
    """

    def __init__(self, program: Program, count: int, *, patient: bool = False) -> None:
        self._program = program
        self._count = count
        self._patient = patient
        self._slots: list[Slot] = []
        self._replaced: set[Slot] = set()  # and their replacements
        self._code: int = Exit.DONE
        self._stop = asyncio.Event()
        self._roll = asyncio.Event()
        self._hurried: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Run until a stop signal and return the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGHUP, self.roll)
        self._slots = [Slot(self._program) for _ in range(self._count)]
        if not self._patient:
            for slot in self._slots:
                slot.outcome.add_done_callback(self._started)
        rolling = asyncio.create_task(self._keep_rolling())
        try:
            await self._stop.wait()
        finally:
            rolling.cancel()
            await asyncio.wait({rolling})
            await asyncio.gather(*(slot.stop() for slot in self._everyone()))
        return self._code

    def roll(self) -> None:
        """Replace all workers in turn; an old one stops when the new one is ready."""
        self._roll.set()

    def _started(self, outcome: asyncio.Future[int]) -> None:
        if outcome.result() != Exit.DONE and not self._stop.is_set():
            self._code = outcome.result()
            self._stop.set()

    def _signalled(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            logger.warning("%s again: hurrying the workers", number.name)
            self._hurried |= {asyncio.create_task(slot.stop()) for slot in self._everyone()}
            return
        logger.info("%s: stopping %d workers", number.name, len(self._slots))
        self._stop.set()

    def _everyone(self) -> set[Slot]:
        return {*self._slots, *self._replaced}

    async def _keep_rolling(self) -> None:
        while True:
            await self._roll.wait()
            self._roll.clear()
            logger.info("replacing %d workers", len(self._slots))
            for index in range(len(self._slots)):
                if not await self._replace(index):
                    logger.error("the new worker failed: the old ones stay")
                    break

    async def _replace(self, index: int) -> bool:
        old, fresh = self._slots[index], Slot(self._program)
        self._replaced.add(fresh)
        ready = await asyncio.shield(fresh.outcome) == Exit.DONE
        if ready or old.over:
            self._slots[index] = fresh
            self._replaced.add(old)
            await old.stop()
            self._replaced.discard(old)
        self._replaced.discard(fresh)
        return ready
