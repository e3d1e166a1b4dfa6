"""The common part of registries on a NATS connection: the group, closing, schemas by id."""

from abc import ABC, abstractmethod
from typing import Any, Self

from micro_schema_registry._errors import ClosedError
from micro_schema_registry._model.models import IdType, SchemaContent, check_id


class RegistryClient(ABC):
    """A registry on a connection that it does not close, with the group of calls that name none.

    Raises:
        InvalidArgumentError: The group id is blank.
    """

    def __init__(self, group_id: str) -> None:
        self._group_id = check_id("group_id", group_id)
        self._closed = False

    @property
    def group_id(self) -> str:
        """The group of every call that names none."""
        return self._group_id

    @abstractmethod
    async def get_content(self, id_type: IdType, value: int | str) -> SchemaContent:
        """Return text, parsed form and type by an immutable id."""

    async def get_schema_by_global_id(self, global_id: int) -> Any:
        """Return the parsed, read-only schema of a version by its global id."""
        return (await self.get_content("globalId", global_id)).schema

    async def get_schema_by_content_id(self, content_id: int) -> Any:
        """Return the parsed, read-only schema by the id of its content."""
        return (await self.get_content("contentId", content_id)).schema

    async def aclose(self) -> None:
        """Refuse further calls; the connection stays open. May be called twice."""
        self._closed = True

    async def __aenter__(self) -> Self:
        self._check_open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError

    def _group(self, group_id: str | None) -> str:
        self._check_open()
        return self._group_id if group_id is None else check_id("group_id", group_id)
