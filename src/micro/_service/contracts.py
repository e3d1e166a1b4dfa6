"""Contracts: the schemas of a typed endpoint are checked against a registry before it is added.

The group is the name of the service, the type is JSON. The artifacts are `<endpoint>.request` and
`<endpoint>.response`, with the prefix of the endpoint's group. A request is compared BACKWARD (the
new service must read what callers already send), a response FORWARD (callers must be able to read
what the new service sends), unless the registry has another COMPATIBILITY rule for the artifact or
the group.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from micro._errors import ConfigError, IncompatibleContractError
from micro._handlers.bound_handler import BoundHandler
from micro._published import publish

logger = logging.getLogger("micro.contracts")

OnIncompatible = Literal["refuse", "warn"]

PATIENCE = 5.0
"""Seconds in all that a service waits for a registry that does not answer."""

_RULE: Final = "COMPATIBILITY"
_DIRECTIONS = {"request": "BACKWARD", "response": "FORWARD"}


class RegisteredSchema(Protocol):
    """The ids of a schema in a registry."""

    @property
    def global_id(self) -> int:
        """The id of this version of this artifact."""
        ...

    @property
    def content_id(self) -> int:
        """The id of the content, the same wherever it is registered."""
        ...


class CompatibilityVerdict(Protocol):
    """The answer to the question whether a schema may be the next version."""

    @property
    def compatible(self) -> bool:
        """Whether the schema may be the next version."""
        ...

    @property
    def causes(self) -> Sequence[object]:
        """The reasons against it; `str` of a cause says where."""
        ...


class ContractRegistry(Protocol):
    """The part of a schema registry that contracts need.

    Every async client of `micro_schema_registry` has it.
    """

    async def check_compatibility(
        self, artifact_id: str, schema: str, *, artifact_type: str, group_id: str
    ) -> CompatibilityVerdict:
        """Say whether a schema may be the next version; nothing is stored."""
        ...

    async def register_schema(
        self, artifact_id: str, schema: str, *, artifact_type: str, group_id: str
    ) -> RegisteredSchema:
        """Register a schema, or find the version that has the same content."""
        ...

    async def get_rules(
        self, *, artifact_id: str | None = None, group_id: str
    ) -> Mapping[str, str]:
        """Return the rules of an artifact, else of the group."""
        ...

    async def set_rule(
        self, rule: Literal["COMPATIBILITY"], config: str, *, artifact_id: str, group_id: str
    ) -> None:
        """Set a rule for an artifact."""
        ...


class Contracts:
    """The contracts of one service.

    Args:
        service: The name of the service.
        registry: The registry of its schemas.
        on_incompatible: `refuse` or `warn`, for a change that breaks a contract.

    Raises:
        ConfigError: `on_incompatible` is neither `refuse` nor `warn`.
    """

    def __init__(
        self, service: str, registry: ContractRegistry, on_incompatible: OnIncompatible
    ) -> None:
        if on_incompatible not in ("refuse", "warn"):
            raise ConfigError(
                f"invalid on_incompatible {on_incompatible!r}: expected 'refuse' or 'warn'"
            )
        self._service = service
        self._registry = registry
        self._refuse = on_incompatible == "refuse"
        self._patience = PATIENCE

    async def metadata(self, endpoint: str, handler: BoundHandler) -> dict[str, str]:
        """Register the schemas of an endpoint; return its metadata `schema.request`, `.response`.

        The name of an endpoint includes its group.

        Each has the form `JSON;global=17;content=9;sha256=...`. The ids are missing if the schema
        is not registered: the registry does not answer, or the change is incompatible and
        `on_incompatible` is `warn`.

        Raises:
            IncompatibleContractError: A schema breaks a contract, and is refused.
        """
        metadata: dict[str, str] = {}
        for part, schema in (
            ("request", _closed(handler.request_schema())),
            ("response", handler.response_schema()),
        ):
            if schema is not None:
                text = json.dumps(schema, sort_keys=True, separators=(",", ":"))
                ids = await self._register(f"{endpoint}.{part}", text, _DIRECTIONS[part])
                sha256 = hashlib.sha256(text.encode()).hexdigest()
                metadata[f"schema.{part}"] = f"JSON{ids};sha256={sha256}"
        return metadata

    async def _register(self, artifact: str, text: str, direction: str) -> str:
        if self._patience <= 0:
            return ""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._patience):
                return await self._agree(artifact, text, direction)
        except IncompatibleContractError:
            raise
        except Exception as error:  # noqa: BLE001 - a registry may fail with anything; the service starts
            self._patience -= time.monotonic() - began
            reason = str(error) or type(error).__name__
            logger.warning(
                "service %s starts without a contract for %s: %s", self._service, artifact, reason
            )
            return ""

    async def _agree(self, artifact: str, text: str, direction: str) -> str:
        registry, group = self._registry, self._service
        ruled = await self._has_rule(artifact)
        if not await self._is_compatible(artifact, text):
            return ""
        try:
            ids = await registry.register_schema(
                artifact, text, artifact_type="JSON", group_id=group
            )
        except Exception:
            # Another instance may have registered its schema since the check.
            if not await self._is_compatible(artifact, text):
                return ""
            raise
        if not ruled:
            if not await self._has_rule(artifact):
                await registry.set_rule(_RULE, direction, artifact_id=artifact, group_id=group)
            # Without a rule, instances that start together register whatever they have. The schema
            # that came last stays, and the others are checked against it now.
            if not await self._is_compatible(artifact, text):
                return ""
        return f";global={ids.global_id};content={ids.content_id}"

    async def _has_rule(self, artifact: str) -> bool:
        registry, group = self._registry, self._service
        try:
            if _RULE in await registry.get_rules(group_id=group):
                return True
            return _RULE in await registry.get_rules(artifact_id=artifact, group_id=group)
        except Exception:  # noqa: BLE001 - nothing is there yet, or the next call fails too
            return False

    async def _is_compatible(self, artifact: str, text: str) -> bool:
        """Return whether a schema may be the next version; otherwise log or raise why not."""
        verdict = await self._registry.check_compatibility(
            artifact, text, artifact_type="JSON", group_id=self._service
        )
        if verdict.compatible:
            return True
        error = IncompatibleContractError(self._service, artifact, tuple(map(str, verdict.causes)))
        if self._refuse:
            raise error
        logger.warning("%s", error)
        return False


def _closed(schema: Any) -> Any:
    """Return a request schema that forbids members it does not name, unless it says otherwise.

    Callers may rely on the named members only. If others were permitted, a new optional member
    could break a caller that already sends something else under its name, and no member could
    ever be added.
    """
    if isinstance(schema, dict):
        closed = {key: _closed(value) for key, value in schema.items()}
        if isinstance(schema.get("properties"), dict):
            closed.setdefault("additionalProperties", False)
        return closed
    if isinstance(schema, list):
        return [_closed(value) for value in schema]
    return schema


publish(ContractRegistry)
