"""What a client tells about its requests: events while they run, a result when they have ended."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from micro_http._context import RequestContext, field_copies


class EventType(StrEnum):
    """Kinds of events; each is equal to its name as a string."""

    SUCCESS = "SUCCESS"
    RETRY = "RETRY"
    ERROR = "ERROR"
    TIMEOUT = "TIMEOUT"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True)
class AsyncEvent:
    """One thing that happened to a request.

    Each request sends any number of RETRY events and then exactly one of the others.

    Attributes:
        event_type: one of `EventType`.
        context: of the attempt the event is about; for RETRY the one about to begin.
        timestamp: seconds since the epoch.
        data: the response, for SUCCESS and for a RETRY because of its status.
        error: the exception, for ERROR, TIMEOUT and a RETRY because of it.
    """

    event_type: str
    context: RequestContext
    timestamp: float = field(default_factory=time.time)
    data: Any | None = None
    error: BaseException | None = None

    def clone(self) -> Self:
        """Return a deep copy; responses, exceptions and what can't be copied are shared."""
        return replace(self, **field_copies(self))


EventCallback = Callable[[AsyncEvent], Awaitable[None] | None]


@dataclass(frozen=True)
class RequestResult:
    """What remains known of a request after it has ended; it keeps no response, so it stays small.

    Attributes:
        request_id: of the request's context.
        outcome: the type of its last event.
        attempts: calls made, the first included.
        total_time: seconds from the call of `get()` (or another method) to the end, delays included.
        status_code: of the response, if there was one.
        error: class and text of the exception, if there was one.
    """

    request_id: str
    outcome: EventType
    attempts: int
    total_time: float
    status_code: int | None = None
    error: str | None = None

    @property
    def success(self) -> bool:
        """Tell whether there was a response, whatever its status."""
        return self.outcome == EventType.SUCCESS
