"""The events of a running request and the result of a finished one."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from micro_http._engine.context import RequestContext, field_copies


class EventType(StrEnum):
    """The kinds of events; each equals its name as a string."""

    SUCCESS = "SUCCESS"
    RETRY = "RETRY"
    ERROR = "ERROR"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True)
class AsyncEvent:
    """A retry or the end of a request.

    Each request sends any number of RETRY events and then exactly one of the others.

    Attributes:
        event_type: One of `EventType`.
        context: Context of the attempt; for RETRY of the attempt about to begin.
        timestamp: Seconds since the epoch.
        data: The response, for SUCCESS and for a RETRY because of its status. None if the
            responses of waiting events are too large to be kept.
        error: The exception, for ERROR, TIMEOUT and a RETRY because of it; ClosedError for
            CANCELLED by `close()`.
    """

    event_type: str
    context: RequestContext
    timestamp: float = field(default_factory=time.time)
    data: Any | None = None
    error: BaseException | None = None

    def clone(self) -> Self:
        """Return a deep copy; responses, exceptions and uncopyable values are shared."""
        return replace(self, **field_copies(self))


EventCallback = Callable[[AsyncEvent], Awaitable[None] | None]


@dataclass(frozen=True)
class RequestResult:
    """The result of a finished request, without its response.

    Attributes:
        request_id: Id of the request's context.
        outcome: The type of its last event.
        attempts: Calls made, the first included.
        total_time: Seconds from the call of `get()` (or another method) to the end, with delays.
        status_code: Status of the response, if there was one.
        error: Class and text of the exception, if there was one.
        error_type: Class of the exception, if there was one.
    """

    request_id: str
    outcome: EventType
    attempts: int
    total_time: float
    status_code: int | None = None
    error: str | None = None
    error_type: type[BaseException] | None = None

    @property
    def success(self) -> bool:
        """Whether there was a response, of any status."""
        return self.outcome == EventType.SUCCESS
