"""The terms of a consumer: what it consumes, and what becomes of messages that fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from micro._errors import ConfigError
from micro._handlers.request import Request
from micro._protocol import subjects

BATCH = 256
"""Messages that may wait for a free place; a JetStream client is fastest with some hundred."""

ACK_WAIT = 30.0
"""Seconds after which the server delivers a message again that nobody has settled."""

HANDLER_LIMIT = 600.0
"""Seconds that a handler may take while its message is kept from others."""

BACKOFF = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before the next attempts; the last entry repeats."""

MAX_JS_NAME = 255
"""Characters of the name of a stream or consumer that JetStream takes."""

MAX_ACK_PENDING = 10_000
"""Messages that all instances together may have unsettled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """The terms of a consumer; see `add_consumer`.

    Raises:
        ConfigError: A value is not acceptable.
    """

    stream: str
    durable: str
    subjects: tuple[str, ...] = ()
    batch: int = BATCH
    ack_wait: float | None = None
    max_deliver: int | None = None
    backoff: tuple[float, ...] = BACKOFF
    dead_letter: str | None = None
    ordered_by: Callable[[Request], object] | None = None
    ensure_stream: bool | Mapping[str, Any] = False

    def __post_init__(self) -> None:
        check_js_name("stream", self.stream)
        check_js_name("durable", self.durable)
        for subject in self.subjects:
            subjects.check_subject(subject, allow_wildcards=True)
        if self.batch < 1:
            raise ConfigError(f"invalid batch {self.batch!r}: expected at least 1")
        if self.ack_wait is not None and self.ack_wait <= 0:
            raise ConfigError(f"invalid ack_wait {self.ack_wait!r}: expected seconds above 0")
        if self.max_deliver is not None and self.max_deliver < 1:
            raise ConfigError(f"invalid max_deliver {self.max_deliver!r}: expected at least 1")
        delays: tuple[object, ...] = self.backoff
        if not delays or not all(isinstance(each, int | float) and each >= 0 for each in delays):
            raise ConfigError(
                f"invalid backoff {list(self.backoff)!r}: expected seconds from 0, at least one"
            )
        if self.dead_letter is not None:
            subjects.check_prefix("dead letter subject", self.dead_letter)
        if self.ensure_stream is True and not self.subjects:
            raise ConfigError("ensure_stream=True needs subjects, or give the stream's settings")

    def delay(self, delivered: int) -> float:
        """Return the seconds before the attempt after this one; the first is 1."""
        return self.backoff[min(delivered, len(self.backoff)) - 1]

    def is_last(self, delivered: int) -> bool:
        """Return whether no attempt follows this one."""
        return self.max_deliver is not None and delivered >= self.max_deliver


def check_js_name(kind: str, name: object) -> str:
    """Return the checked name of a stream or consumer.

    Raises:
        ConfigError: The name is empty, too long, or has white space, a dot, a wildcard or a slash.
    """
    if isinstance(name, str) and len(name) > MAX_JS_NAME:
        raise ConfigError(
            f"invalid {kind} name of {len(name)} characters: expected at most {MAX_JS_NAME}"
        )
    if isinstance(name, str) and name and name.isprintable() and not set(name) & set(" .*>/\\"):
        return name
    raise ConfigError(
        f"invalid {kind} name {name!r}: expected characters without white space, '.', '*', '>', '/'"
    )
