"""The task that takes events from a queue and calls their callbacks in order."""

import asyncio
import inspect
import logging
from collections import defaultdict
from dataclasses import replace

from micro_http._httpx import httpx
from micro_http._observability.events import AsyncEvent, EventCallback

logger = logging.getLogger("micro_http.monitor")

KEPT_BYTES = 8 * 2**20
DRAIN_SECONDS = 5.0  # bound of stop(); a callback that hangs must not hang close()


class EventMonitor:
    """The delivery of events to callbacks, apart from the requests.

    The responses of waiting events take `KEPT_BYTES` at most; further events go without theirs.
    """

    def __init__(self, max_pending: int) -> None:
        self._callbacks: defaultdict[str, list[EventCallback]] = defaultdict(list)
        self._max_pending = max_pending
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def add_callback(self, event_type: str, callback: EventCallback) -> None:
        """Deliver events of this type to the callback."""
        self._callbacks[event_type].append(callback)

    def put(self, event: AsyncEvent) -> None:
        """Queue an event that has a callback; drop it if callbacks are far behind."""
        if not self._callbacks.get(event.event_type):
            return
        if not self._is_running:
            self._queue: asyncio.Queue[AsyncEvent] = asyncio.Queue(self._max_pending)
            self._kept_bytes = 0
            self._task = asyncio.create_task(self._run(), name="micro_http event monitor")
        size = _size(event)
        if size and self._kept_bytes and self._kept_bytes + size > KEPT_BYTES:
            logger.warning(
                "event %s of request %r goes without its response: %d bytes wait for callbacks",
                event.event_type,
                event.context.request_id,
                self._kept_bytes,
            )
            event = replace(event, data=None)
        try:
            self._queue.put_nowait(event.clone())
        except asyncio.QueueFull:
            logger.warning(
                "dropped event %s of request %r: %d events wait for slow callbacks",
                event.event_type,
                event.context.request_id,
                self._queue.qsize(),
            )
        else:
            self._kept_bytes += _size(event)

    @property
    def _is_running(self) -> bool:
        # The task of an event loop that has stopped is of no use in the next.
        return self._task is not None and self._task.get_loop() is asyncio.get_running_loop()

    async def drain(self) -> None:
        """Wait until all events are delivered; return at once inside a callback."""
        if self._is_running and self._task is not asyncio.current_task():
            await self._queue.join()

    async def stop(self) -> None:
        """Deliver waiting events for a few seconds at most and end; in a callback, end after it."""
        self._stopping = True
        task = self._task
        if task is None or not self._is_running or task is asyncio.current_task():
            return
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._queue.join()
        except TimeoutError:
            logger.warning(
                "gave up on %d events: a callback does not return", self._queue.qsize() + 1
            )
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while not (self._stopping and self._queue.empty()):
            event = await self._queue.get()
            for callback in tuple(self._callbacks[event.event_type]):
                await self._deliver(callback, event.clone())
            self._kept_bytes -= _size(event)
            self._queue.task_done()
            del event  # or its response would be kept until the next event

    async def _deliver(self, callback: EventCallback, event: AsyncEvent) -> None:
        try:
            outcome = callback(event)
            if inspect.isawaitable(outcome):
                await outcome
        except (asyncio.CancelledError, Exception):
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # This task was not cancelled; the callback awaited something that was.
            logger.exception(
                "callback %r failed on %s of request %r",
                callback,
                event.event_type,
                event.context.request_id,
            )


def _size(event: AsyncEvent) -> int:
    response = event.data
    if isinstance(response, httpx.Response) and response.is_closed:
        return len(response.content)
    return 0
