"""Options of endpoints: their defaults, and the one rule by which they are inherited."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypedDict

from micro._errors import ConfigError
from micro._handlers.codec import Codec
from micro._handlers.exceptions import (
    ExceptionAnswer,
    ExceptionHandlers,
    check_exception_handlers,
)
from micro._handlers.middleware import Middleware, check_middlewares
from micro._protocol import subjects

QUEUED_PER_RUNNING = 8
LEAST_QUEUED = 64


class EndpointDefaults(TypedDict, total=False):
    """Options that a service, a group or an endpoint may set; None, the default, inherits.

    A new option is declared here and as a field of `EndpointOptions`; every level then takes it.
    """

    max_in_flight: int | None
    """Requests that run side by side, 512 unless set; 1 keeps the order of arrival."""
    timeout: float | None
    """Seconds that a handler may take, no limit unless set; then it is cancelled and its caller
    gets 504. A request waits as long for a free place at most; then its caller gets 503."""
    reply_prefixes: Iterable[str] | None
    """Prefixes that reply subjects must have, such as `_INBOX.`; requests with other reply subjects
    are ignored and counted. Any reply subject is allowed unless set, except `$` subjects, which
    must be named by a prefix, such as `$SYS._INBOX.` for an auth callout."""
    exception_handlers: ExceptionHandlers | None
    """The answers to exceptions by their types, beside the inherited ones: a code, or a function
    that takes the exception and returns a `ServiceError`. The nearest base class counts."""
    codec: Codec | None
    """The form of the payloads of typed handlers, JSON unless set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointOptions:
    """The options of an endpoint, or the options that a service or group hands down.

    Raises:
        ConfigError: A value is not acceptable.
    """

    queue_group: str = subjects.DEFAULT_QUEUE_GROUP
    pending_bytes_limit: int = 32 * 1024 * 1024
    pending_msgs_limit: int | None = None
    middlewares: tuple[Middleware, ...] = ()
    max_in_flight: int = 512
    timeout: float | None = None
    reply_prefixes: tuple[str, ...] | None = None
    exception_handlers: Mapping[type[Exception], ExceptionAnswer] = field(default_factory=dict)
    codec: Codec | None = None

    def __post_init__(self) -> None:
        subjects.check_queue_group(self.queue_group)
        if self.max_in_flight < 1:
            raise ConfigError(f"invalid max_in_flight {self.max_in_flight!r}: expected at least 1")
        if self.pending_msgs < 0 or self.pending_bytes_limit < 0:
            raise ConfigError(
                f"invalid pending limits {self.pending_msgs!r} messages, "
                f"{self.pending_bytes_limit!r} bytes: expected at least 0"
            )
        if self.timeout is not None and self.timeout <= 0:
            raise ConfigError(f"invalid timeout {self.timeout!r}: expected seconds above 0")

    @property
    def pending_msgs(self) -> int:
        """The number of requests that may wait for a free place."""
        if self.pending_msgs_limit is not None:
            return self.pending_msgs_limit
        return max(LEAST_QUEUED, QUEUED_PER_RUNNING * self.max_in_flight)

    def narrowed(self, **given: Any) -> EndpointOptions:
        """Return these options with the options of an inner level; None inherits.

        Middlewares run inside the inherited ones, and exception handlers are added to them.

        Raises:
            ConfigError: A value is not acceptable.
            TypeError: There is no such option.
        """
        if not given.keys() <= _NAMES:
            raise TypeError(f"unknown endpoint options {sorted(given.keys() - _NAMES)!r}")
        said = {name: value for name, value in given.items() if value is not None}
        if "middlewares" in said:
            said["middlewares"] = (*self.middlewares, *check_middlewares(said["middlewares"]))
        if "exception_handlers" in said:
            added = check_exception_handlers(said["exception_handlers"])
            said["exception_handlers"] = {**self.exception_handlers, **added}
        if "reply_prefixes" in said:
            said["reply_prefixes"] = subjects.check_texts("reply_prefixes", said["reply_prefixes"])
        return replace(self, **said) if said else self


_NAMES = {field.name for field in fields(EndpointOptions)}
