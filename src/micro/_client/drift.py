"""Drift: the schemas of a bound client compared with those of the instances of the service.

The first call asks the instances for their schemas. Later calls ask for new instances from time to
time, in the background, and a call that fails because of its payload asks at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import nats.errors

from micro._errors import ConfigError, ContractDriftError, MicroError
from micro._handlers.typed_codecs import Decoder, Encoder
from micro._protocol.adr32 import REQUEST, RESPONSE, SCHEMA, schema_in
from micro._protocol.schema_changes import Difference, differences

if TYPE_CHECKING:
    from micro._client.client import Client
    from micro._protocol.models import EndpointInfo, ServiceInfo

logger = logging.getLogger("micro.drift")

OnDrift: TypeAlias = Literal["raise", "warn", "ignore"]

RECHECK = 15.0
"""Seconds after which the next call looks for new instances."""

STALL = 0.1
"""Seconds without a further answer that end the question for schemas."""


class Expected(NamedTuple):
    """The types of one endpoint, as a client has them.

    Attributes:
        sends: The encoder of requests; None if the client sends bytes or nothing.
        accepts: The decoder of requests, as a service with the same types has it.
        reads: The decoder of answers; None if the client reads bytes or nothing.
        answers: The encoder of answers, as a service with the same types has it.
    """

    sends: Encoder | None
    accepts: Decoder | None
    reads: Decoder | None
    answers: Encoder | None


class DriftCheck:
    """The comparison of a bound client with the instances of its service.

    Args:
        client: The client that asks.
        service: The name of the service.
        on_drift: `raise`, `warn` or `ignore`.
        recheck: Seconds after which the next call looks for new instances.

    Raises:
        ConfigError: `on_drift` is none of the three.
    """

    def __init__(
        self, client: Client, service: str, on_drift: OnDrift = "raise", recheck: float = RECHECK
    ) -> None:
        if on_drift not in ("raise", "warn", "ignore"):
            raise ConfigError(
                f"invalid on_drift {on_drift!r}: expected 'raise', 'warn' or 'ignore'"
            )
        self._client = client
        self._service = service
        self._on_drift = on_drift
        self._recheck = recheck
        self._expected: dict[tuple[str, str], Expected] = {}
        self._next_look = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._instances: set[str] = set()
        self._failures: dict[str, ContractDriftError] = {}  # by endpoint, if no instance fits
        self._partial: dict[str, ContractDriftError] = {}  # by endpoint, if some instances fit
        self._told: set[tuple[str, str]] = set()

    def expect(self, endpoint: str, subject: str, expected: Expected) -> None:
        """Add an endpoint; the subject is empty for an endpoint that is found by its name."""
        self._expected[endpoint, subject] = expected

    def is_due(self, endpoint: str) -> bool:
        """Return whether `before` has something to do."""
        if self._on_drift == "ignore":
            return False
        late = asyncio.get_running_loop().time() >= self._next_look
        return late or not self._instances or endpoint in self._failures

    async def before(self, endpoint: str) -> None:
        """Compare the schemas before a call, if that is due.

        Raises:
            ContractDriftError: No instance fits the client.
        """
        now = asyncio.get_running_loop().time()
        if not self._instances:
            await self._look()
        elif now >= self._next_look and self._looking is None:
            self._next_look = now + self._recheck
            self._looking = asyncio.create_task(self._look_for_changes())
        if self._failures and endpoint in self._failures and self._on_drift == "raise":
            raise self._failures[endpoint].copy()

    async def after(self, endpoint: str, error: MicroError) -> None:
        """Compare the schemas after a call that failed because of a payload.

        Raises:
            ContractDriftError: An instance does not fit the client.
        """
        if self._on_drift != "raise":
            return
        await self._look()
        failure = self._failures.get(endpoint) or self._partial.get(endpoint)
        if failure is not None:
            raise failure.copy() from error

    async def _look_for_changes(self) -> None:
        try:
            answers = await self._client.ping(self._service, max_interval=STALL)
            if {each.id for each in answers} != self._instances:
                await self._look()
        except (nats.errors.Error, MicroError, OSError) as error:
            logger.debug("cannot look for instances of %s: %s", self._service, error)
        finally:
            self._looking = None

    async def _look(self) -> None:
        infos = await self._client.info(self._service, max_interval=STALL)
        self._next_look = asyncio.get_running_loop().time() + self._recheck
        self._instances = {info.id for info in infos}
        self._failures, self._partial = {}, {}
        for (endpoint, subject), expected in self._expected.items():
            self._judge(endpoint, subject, expected, infos)

    def _judge(
        self, endpoint: str, subject: str, expected: Expected, infos: list[ServiceInfo]
    ) -> None:
        asked = [
            (info, each)
            for info in infos
            for each in info.endpoints
            if (each.subject == subject if subject else each.name == endpoint)
        ]
        drifts = {
            f"{info.id} (version {info.version})": drifts
            for info, each in asked
            if (drifts := _compared(expected, each))
        }
        if not drifts:
            return
        error = ContractDriftError(self._service, endpoint, drifts)
        partial = len(drifts) < len(asked)
        (self._partial if partial else self._failures)[endpoint] = error
        if (partial or self._on_drift == "warn") and not self._known(endpoint, drifts):
            logger.warning("%s", error)

    def _known(self, endpoint: str, drifts: Mapping[str, Any]) -> bool:
        """Return whether the drift of all these instances has been logged."""
        told = {(endpoint, instance) for instance in drifts}
        known = told <= self._told
        self._told |= told
        return known


def _compared(expected: Expected, endpoint: EndpointInfo) -> tuple[str, ...]:
    """Return the differences of a client and an endpoint, one line each."""
    lines: list[str] = []
    metadata = endpoint.metadata
    if (sends := expected.sends) is not None:
        same = expected.accepts and expected.accepts.schema()
        theirs = schema_in(metadata, REQUEST)
        if theirs is not None and same != theirs and (ours := sends.schema()) is not None:
            lines += _lines("request", differences(ours, theirs, all_sent=True))
        lines += _content_type(metadata, REQUEST, sends.form.headers)
    if (reads := expected.reads) is not None:
        same = expected.answers and expected.answers.schema()
        theirs = schema_in(metadata, RESPONSE)
        if theirs is not None and same != theirs and (ours := reads.schema()) is not None:
            lines += _lines("response", differences(theirs, ours))
        lines += _content_type(metadata, RESPONSE, reads.form.headers)
    return tuple(lines)


def _lines(part: str, listed: list[Difference]) -> list[str]:
    return [
        f"{part} member {each.member!r}: {each.reason}" if each.member else f"{part}: {each.reason}"
        for each in listed
    ]


def _content_type(
    metadata: Mapping[str, str], part: str, headers: Mapping[str, str] | None
) -> list[str]:
    theirs = metadata.get(f"{part}content_type")
    if theirs is None and part + SCHEMA not in metadata:
        return []  # raw, or not of micro: nothing is known
    ours = None if headers is None else headers["Content-Type"]
    if theirs == ours:
        return []
    name = part.split(".")[1]
    return [f"{name}: {theirs or 'application/json'} is used, expected {ours or 'JSON'}"]
