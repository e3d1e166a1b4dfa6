"""The subjects of endpoints by their names, read from discovery when they are first needed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import nats.errors

from micro._errors import ConfigError

if TYPE_CHECKING:
    from micro._client.client import Client
    from micro._protocol.models import ServiceInfo

T = TypeVar("T")


class Directory:
    """The subjects of the endpoints of services; one for each client.

    Args:
        client: The client that asks.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[tuple[str, str], str] = {}

    async def subject(self, service: str, endpoint: str) -> str:
        """Return the subject of an endpoint.

        Args:
            service: The name of the service.
            endpoint: The name of the endpoint, or its subject.

        Raises:
            nats.errors.NoRespondersError: No instance of the service runs.
            ConfigError: No instance has the endpoint, or several have the name.
        """
        known = self._known.get((service, endpoint))
        if known is not None:
            return known
        infos = await self._client.info(service, max_count=1)
        subjects = _subjects(infos, endpoint)
        if not subjects and infos:  # another instance may have it
            infos = await self._client.info(service)
            subjects = _subjects(infos, endpoint)
        if not infos:
            raise nats.errors.NoRespondersError
        if len(subjects) != 1:
            raise _not_one(service, endpoint, subjects, infos)
        self._known[service, endpoint] = subjects[0]
        return subjects[0]

    async def calling(self, service: str, endpoint: str, call: Callable[[str], Awaitable[T]]) -> T:
        """Call an endpoint; once more if its subject has changed.

        Raises:
            nats.errors.NoRespondersError: No instance of the service runs.
            ConfigError: No instance has the endpoint, or several have the name.
        """
        subject = await self.subject(service, endpoint)
        try:
            return await call(subject)
        except nats.errors.NoRespondersError:  # a new version may have another subject
            self._known.pop((service, endpoint), None)
            renamed = await self.subject(service, endpoint)
            if renamed == subject:
                raise
            return await call(renamed)


def _subjects(infos: Iterable[ServiceInfo], endpoint: str) -> list[str]:
    """Return the subjects of the endpoints with a name, or with a subject."""
    endpoints = [each for info in infos for each in info.endpoints]
    named = sorted({each.subject for each in endpoints if each.name == endpoint})
    return named or sorted({each.subject for each in endpoints if each.subject == endpoint})


def _not_one(
    service: str, endpoint: str, subjects: list[str], infos: Iterable[ServiceInfo]
) -> ConfigError:
    if subjects:
        return ConfigError(
            f"service {service!r} has several endpoints {endpoint!r}: "
            f"expected one of the subjects {subjects!r}"
        )
    names = sorted({each.name for info in infos for each in info.endpoints})
    return ConfigError(
        f"service {service!r} has no endpoint {endpoint!r}: expected one of {names!r}"
    )
