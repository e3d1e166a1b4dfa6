"""Streams that capture subjects of endpoints: their acknowledgement reaches a caller first."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque

import nats.errors
from nats.aio.client import Client as NatsClient

from micro._client.requester import requester_of
from micro._errors import MicroError
from micro._wire import nats_py

logger = logging.getLogger("micro.service")

STREAM_NAMES = "$JS.API.STREAM.NAMES"
TIMEOUT = 2.0
MAX_SUBJECTS = 100
"""Limit on the subjects that one service looks up."""


class CaptureCheck:
    """Warns of streams that capture the subjects of a service; asks JetStream in the background.

    Without JetStream, or without the right to ask, it is silent.

    Args:
        service: The name of the service.
    """

    def __init__(self, service: str) -> None:
        self._service = service
        self._waiting: deque[tuple[str, str]] = deque()
        self._left = MAX_SUBJECTS
        self._task: asyncio.Task[None] | None = None

    def add(self, nc: NatsClient, endpoint: str, subject: str) -> None:
        """Look up the subject of an endpoint."""
        has_jetstream = nats_py.server_info(nc).get("jetstream")  # the account may lack it
        if self._left <= 0 or subject.startswith("$") or not has_jetstream:
            return
        self._left -= 1
        self._waiting.append((endpoint, subject))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(nc))

    def stop(self) -> None:
        """End the look-ups."""
        self._waiting.clear()
        self._left = 0
        if self._task is not None:
            self._task.cancel()

    async def _run(self, nc: NatsClient) -> None:
        await asyncio.sleep(0)  # behind the start of the endpoints
        while self._waiting:
            endpoint, subject = self._waiting.popleft()
            try:
                stream = await capturing_stream(nc, subject)
            except (nats.errors.Error, MicroError, OSError, ValueError) as error:
                logger.debug("%s: cannot look for streams: %s", self._service, error)
                self._left = 0
                return
            if stream is not None:
                logger.warning(
                    "endpoint %r of service %r: stream %r captures %r, so callers get its "
                    "acknowledgement instead of an answer; exclude the subject, or set no_ack",
                    endpoint,
                    self._service,
                    stream,
                    subject,
                )


async def capturing_stream(nc: NatsClient, subject: str, timeout: float = TIMEOUT) -> str | None:
    """Return the name of a stream that captures a subject, None if there is none.

    Raises:
        nats.errors.Error: JetStream does not answer.
        ValueError: The answer is not readable.
    """
    query = json.dumps({"subject": subject}).encode()
    answer = await requester_of(nc).request(STREAM_NAMES, query, None, timeout)
    streams = json.loads(answer.data).get("streams")
    return str(streams[0]) if streams else None
