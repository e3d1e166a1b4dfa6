"""Models of the PING, INFO and STATS answers of services (ADR-32).

Reading is liberal, because services in other languages leave out fields that the ADR requires, or
send null. Writing has every field with its exact type.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
)
from pydantic_core import core_schema

from micro._protocol.adr32 import EVENTS, INFO_TYPE, PING_TYPE, STATS_TYPE, format_time
from micro._published import publish

MAX_COUNT = 2**63 - 1
"""The largest counter of ADR-32, an int64."""


def _read_time(value: Any) -> Any:
    # Go writes up to nine digits of a second, Python reads six.
    return re.sub(r"(\.\d{6})\d+", r"\1", value) if isinstance(value, str) else value


def _read_metadata(value: Any) -> Any:
    if not isinstance(value, dict):
        return {} if value is None else value
    # nats-py sends any JSON that its user put there.
    return {key: text if isinstance(text, str) else json.dumps(text) for key, text in value.items()}


def _read_text(value: Any) -> Any:
    return "" if value is None else value


def _read_count(value: Any) -> Any:
    # nats.js reports fractional nanoseconds, Java leaves counters out.
    if isinstance(value, float) and math.isfinite(value):
        value = int(value)
    if isinstance(value, int):
        return max(-MAX_COUNT, min(value, MAX_COUNT))
    return 0 if value is None else value


def _in_utc(moment: datetime) -> datetime:
    """Return a time in UTC; one that has none, such as year 1 east of it, becomes the first."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        edge = (1, 1, 1) if moment.year == 1 else (9999, 12, 31)
        return datetime(*edge, tzinfo=UTC)


def _read_list(value: Any) -> Any:
    return [] if value is None else value


class _Liberal:
    """A reader that tries the exact type first, then converts the value with a function.

    Answers of micro are therefore read without a call of Python.
    """

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        exact = handler(source)
        liberal = core_schema.no_info_before_validator_function(self._read, exact)
        return core_schema.union_schema([exact, liberal], mode="left_to_right")


Metadata = Annotated[dict[str, str], _Liberal(_read_metadata)]
Text = Annotated[str, _Liberal(_read_text)]
Count = Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT), _Liberal(_read_count)]
Time = Annotated[
    datetime, _Liberal(_read_time), AfterValidator(_in_utc), PlainSerializer(format_time)
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore")

    @classmethod
    def from_response(cls, resp: dict[str, Any]) -> Self:
        """Return the model of an answer; unknown fields are ignored ("open-world assumption").

        Args:
            resp: The decoded JSON object.

        Raises:
            pydantic.ValidationError: A name is missing or a field has an unusable type.
        """
        return cls.model_validate(resp)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of the answer; `data` is left out when unset."""
        return self.model_dump(mode="json")


class EndpointInfo(_Model):
    """One endpoint in an INFO answer."""

    name: str
    """The endpoint's name."""
    subject: str
    """The subject it listens on."""
    queue_group: Text = ""
    """The queue group it is a member of; empty when none."""
    metadata: Metadata = Field(default_factory=dict)
    """The endpoint's metadata."""


class EndpointStats(_Model):
    """One endpoint in a STATS answer; times are nanoseconds."""

    name: str
    """The endpoint's name."""
    subject: str
    """The subject it listens on."""
    num_requests: Count = 0
    """Requests answered or refused."""
    num_errors: Count = 0
    """Error answers, and requests that failed otherwise."""
    last_error: Text = ""
    """`<code>:<description>` of the last error; empty when none."""
    processing_time: Count = 0
    """Total time spent in the handler."""
    average_processing_time: Count = 0
    """`processing_time / num_requests`, truncated; 0 before the first request."""
    queue_group: Text = ""
    """The queue group it is a member of; empty when none."""
    data: Any = None
    """The result of the endpoint's statistics handler; any JSON."""

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of the answer; `data` is left out when unset."""
        return self.model_dump(mode="json", exclude={"data"} if self.data is None else None)


E = TypeVar("E", EndpointInfo, EndpointStats)


def _read_events(metadata: Mapping[str, str], model: type[E]) -> list[E]:
    """Return the handlers of events in metadata; none if they cannot be read."""
    try:
        listed = json.loads(metadata.get(EVENTS, "[]"))
        return [model.model_validate(each) for each in listed] if isinstance(listed, list) else []
    except (ValueError, RecursionError):
        return []


class PingInfo(_Model):
    """The answer to PING."""

    name: str
    """The kind of the service, shared by all its instances."""
    id: str
    """The unique id of this instance."""
    version: str
    """The semantic version of the service."""
    metadata: Metadata = Field(default_factory=dict)
    """The service's metadata."""
    type: str = PING_TYPE
    """The type of the answer."""

    @property
    def own_metadata(self) -> dict[str, str]:
        """The metadata without the handlers of events that it carries."""
        return {key: value for key, value in self.metadata.items() if key != EVENTS}


class ServiceInfo(PingInfo):
    """The answer to INFO."""

    description: Text = ""
    """The description of the service."""
    endpoints: Annotated[list[EndpointInfo], _Liberal(_read_list)] = Field(default_factory=list)
    """All endpoints of the instance."""
    type: str = INFO_TYPE
    """The type of the answer."""

    @property
    def events(self) -> list[EndpointInfo]:
        """Its subscribers and consumers, which take no requests; not part of ADR-32."""
        return _read_events(self.metadata, EndpointInfo)

    @property
    def handlers(self) -> list[EndpointInfo]:
        """The endpoints, and behind them the subscribers and consumers."""
        return [*self.endpoints, *self.events]


class ServiceStats(PingInfo):
    """The answer to STATS."""

    started: Time
    """When the instance was started, or its counters were reset."""
    endpoints: Annotated[list[EndpointStats], _Liberal(_read_list)] = Field(default_factory=list)
    """The counters of each endpoint."""
    type: str = STATS_TYPE
    """The type of the answer."""

    @property
    def events(self) -> list[EndpointStats]:
        """The counters of each subscriber and consumer; not part of ADR-32."""
        return _read_events(self.metadata, EndpointStats)

    @property
    def handlers(self) -> list[EndpointStats]:
        """The counters of endpoints, and behind them those of subscribers and consumers."""
        return [*self.endpoints, *self.events]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of the answer; `data` is left out when unset."""
        plain = self.model_dump(mode="json", exclude={"endpoints"})
        return {**plain, "endpoints": [endpoint.as_dict() for endpoint in self.endpoints]}


publish(EndpointInfo, EndpointStats, PingInfo, ServiceInfo, ServiceStats)
