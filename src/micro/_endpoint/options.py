"""What endpoints inherit of groups and services."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from micro._handlers.middleware import Middleware
from micro._limits import Limits, limits
from micro._protocol import subjects

N = TypeVar("N", int, float)


class Terms(NamedTuple):
    """What a service or group hands down to its endpoints; None means the framework's default."""

    queue_group: str = subjects.DEFAULT_QUEUE_GROUP
    pending_bytes_limit: int | None = None
    pending_msgs_limit: int | None = None
    max_in_flight: int | None = None
    timeout: float | None = None
    reply_prefixes: tuple[str, ...] | None = None
    middlewares: tuple[Middleware, ...] = ()

    def narrowed(
        self,
        queue_group: str | None,
        pending_bytes_limit: int | None,
        pending_msgs_limit: int | None,
        max_in_flight: int | None,
        timeout: float | None,
        middlewares: Iterable[Middleware] | None,
    ) -> Terms:
        """Return these terms with what is said further inside; middlewares run inside those outside.

        Raises:
            ConfigError: The queue group is not acceptable.
        """
        return Terms(
            self.queue_group if queue_group is None else subjects.check_queue_group(queue_group),
            _nearest(pending_bytes_limit, self.pending_bytes_limit),
            _nearest(pending_msgs_limit, self.pending_msgs_limit),
            _nearest(max_in_flight, self.max_in_flight),
            _nearest(timeout, self.timeout),
            self.reply_prefixes,
            self.middlewares if middlewares is None else (*self.middlewares, *middlewares),
        )

    def limits(self) -> Limits:
        """Return the limits of an endpoint on these terms.

        Raises:
            ConfigError: A limit is negative, or nothing could run.
        """
        return limits(
            self.max_in_flight,
            self.timeout,
            self.pending_msgs_limit,
            self.pending_bytes_limit,
            self.reply_prefixes,
        )


def _nearest(inner: N | None, outer: N | None) -> N | None:
    return outer if inner is None else inner
