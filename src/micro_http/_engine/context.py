"""RequestContext: the settings of one request and its count of retries."""

import uuid
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from pickle import PicklingError
from random import SystemRandom
from typing import Any, Literal, Self, get_args

from micro_http._errors import ConfigError
from micro_http._httpx import httpx

Jitter = Literal["none", "additive", "full", "equal", "decorrelated"]

_uniform = SystemRandom().uniform
# Raised by deepcopy for locks, generators, sockets and classes that forbid or break copying.
_UNCOPYABLE = (TypeError, ValueError, AttributeError, RuntimeError, PicklingError)
_SHARED = (str, int, float, type(None), httpx.Response, BaseException)
_MAX_DOUBLINGS = 64  # far beyond any cap, and keeps the power a finite float


@dataclass(frozen=True)
class RequestContext:
    """The retries and delays of one request; frozen.

    Attributes:
        max_retries: Retries after the first try; 0 means one try only.
        current_attempt: Retries begun so far; 0 is the first try.
        base_delay: Seconds before the first retry; the delay doubles with each further retry.
        request_id: Key of the request's result; a random UUID by default.
        metadata: Data of the caller, returned in events; each event has a deep copy.
        max_delay: Upper bound of one delay, in seconds.
        jitter: How the doubling delay d is randomised. `none`: d. `additive`: d to 1.25 d.
            `full`: 0 to d. `equal`: d/2 to d. `decorrelated`: `base_delay` to three times the
            previous delay.
        last_delay: The delay before the current attempt, in seconds.

    Raises:
        ConfigError: A number is negative or the jitter unknown.
    """

    max_retries: int = 2
    current_attempt: int = 0
    base_delay: float = 1.0
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    metadata: dict[str, Any] = field(default_factory=dict)
    max_delay: float = 60.0
    jitter: Jitter = "additive"
    last_delay: float = 0.0

    def __post_init__(self) -> None:
        for name in ("max_retries", "current_attempt", "base_delay", "max_delay", "last_delay"):
            require_positive(name, getattr(self, name), zero=True)
        require_jitter(self.jitter)

    @property
    def has_retries_left(self) -> bool:
        """Whether the current attempt may be made."""
        return self.current_attempt <= self.max_retries

    def clone(self) -> Self:
        """Return a deep copy; values that can't be copied (locks, generators) are shared."""
        return replace(self, **field_copies(self))

    def increment_attempt(self) -> Self:
        """Return the context of the next attempt."""
        return replace(self, current_attempt=self.current_attempt + 1)

    def calculate_delay(self) -> float:
        """Return the seconds to wait after the current attempt fails."""
        doubled = self.base_delay * 2.0 ** min(self.current_attempt, _MAX_DOUBLINGS)
        ceiling = min(self.max_delay, doubled)
        match self.jitter:
            case "none":
                return ceiling
            case "additive":
                return min(self.max_delay, _uniform(ceiling, ceiling * 1.25))
            case "full":
                return _uniform(0.0, ceiling)
            case "equal":
                return _uniform(ceiling / 2, ceiling)
            case "decorrelated":
                longest = max(self.base_delay, self.last_delay * 3)
                return min(self.max_delay, _uniform(self.base_delay, longest))


def require_positive(name: str, value: float | None, *, zero: bool = False) -> None:
    """Refuse a number below zero, and zero unless `zero`; None means unset."""
    if value is None or value > 0 or (zero and value == 0):
        return
    raise ConfigError(f"invalid {name} {value!r}: expected a number {'>=' if zero else '>'} 0")


def require_collection(name: str, value: object) -> None:
    """Refuse a text, which is a collection of characters, and anything that is no collection."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ConfigError(f"invalid {name} {value!r}: expected a collection")


def require_jitter(jitter: str) -> None:
    """Refuse an unknown kind of jitter."""
    if jitter not in get_args(Jitter):
        raise ConfigError(
            f"invalid jitter {jitter!r}: expected one of {', '.join(get_args(Jitter))}"
        )


def field_copies(item: Any) -> dict[str, Any]:
    """Return deep copies of the constructor arguments of a dataclass instance, by field name.

    Values that refuse to be copied are shared. So are responses and exceptions: a copy would lose
    the stream or the traceback.
    """
    return {f.name: _copied(getattr(item, f.name)) for f in fields(item) if f.init}


def _copied(value: Any) -> Any:
    if isinstance(value, _SHARED):
        return value
    if isinstance(value, RequestContext):
        return value.clone()
    if type(value) is dict:
        return {key: _copied_or_shared(item) for key, item in value.items()}
    return _copied_or_shared(value)


def _copied_or_shared(value: Any) -> Any:
    if isinstance(value, _SHARED):
        return value
    try:
        return deepcopy(value)
    except _UNCOPYABLE:
        return value
