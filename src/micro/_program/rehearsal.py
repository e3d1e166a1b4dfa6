"""The declarations of a program, taken without a server."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from micro._connection.settings import ConnectOption
from micro._program.context import Context
from micro._service.service import Service, add_service

if TYPE_CHECKING:
    import asyncio

    from micro._protocol.models import ServiceInfo


class Rehearsal(Context):
    """A context that takes declarations: nothing is connected, subscribed, or started.

    Contexts that the setup function enters are entered and left.
    """

    def __init__(self) -> None:
        super().__init__()
        self._declared: list[Service] = []

    async def connect(self, *options: ConnectOption) -> None:
        """Do nothing."""

    async def add_service(self, *arguments: Any, **options: Any) -> Service:
        """Take the declaration of a service."""
        service = add_service(self.client, *arguments, **options)
        service.__instance__.rehearse()
        self._declared.append(service)
        return service

    def spawn(self, work: Coroutine[Any, Any, Any], *, drain: bool = False) -> asyncio.Task[Any]:
        """Leave background work out."""
        work.close()
        return super().spawn(_nothing(), drain=drain)

    def infos(self) -> list[ServiceInfo]:
        """Return the INFO of the declared services, with all schemas."""
        from micro._protocol.models import ServiceInfo

        return [
            ServiceInfo.model_validate_json(each.__instance__.answers.complete())
            for each in self._declared
        ]


async def rehearse(setup: Callable[[Context], Coroutine[Any, Any, None]]) -> list[ServiceInfo]:
    """Return the INFO of the services that a setup function adds, without a server.

    Raises:
        ConfigError: A declaration is not acceptable.
        Exception: The setup function raised it, for example because it needs a connection.
    """
    async with Rehearsal() as rehearsal:
        await setup(rehearsal)
        return rehearsal.infos()


async def _nothing() -> None: ...
