"""Strategies that derive the artifact id of a message's schema."""

from collections.abc import Callable, Mapping
from typing import Any

from micro_schema_registry._errors import ResolverError
from micro_schema_registry.serialization import SerializationContext

ArtifactResolver = Callable[[SerializationContext], str]
"""A function from the destination of a message to the artifact id of its schema."""


class TopicIdStrategy:
    """Artifact ids of the form `<topic>-<field>`, such as `orders-value`."""

    def __call__(self, ctx: SerializationContext) -> str:
        """Return the artifact id."""
        return f"{ctx.topic}-{ctx.field.value}"


class SimpleTopicIdStrategy:
    """Artifact ids that are the topic."""

    def __call__(self, ctx: SerializationContext) -> str:
        """Return the artifact id."""
        return ctx.topic


class QualifiedRecordIdStrategy:
    """Artifact ids that are the full name of a record schema: `<namespace>.<name>` or `<name>`.

    Raises:
        ValueError: The schema has no name.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._name = _full_name(schema)

    def __call__(self, ctx: SerializationContext) -> str:
        """Return the artifact id."""
        return self._name


class TopicRecordIdStrategy(QualifiedRecordIdStrategy):
    """Artifact ids of the form `<topic>-<full name>` of a record schema.

    Raises:
        ValueError: The schema has no name.
    """

    def __call__(self, ctx: SerializationContext) -> str:
        """Return the artifact id."""
        return f"{ctx.topic}-{super().__call__(ctx)}"


def _full_name(schema: Mapping[str, Any]) -> str:
    name = schema.get("name")
    if not name:
        raise ValueError("invalid Avro schema: expected a name")
    namespace = schema.get("namespace")
    return f"{namespace}.{name}" if namespace else str(name)


class ArtifactNames:
    """The artifact id of each message: a fixed one, or the answer of a resolver."""

    def __init__(self, artifact_id: str | None, artifact_resolver: ArtifactResolver | None) -> None:
        if (artifact_id is None) == (artifact_resolver is None):
            raise ValueError("expected exactly one of artifact_id and artifact_resolver")
        self._artifact_id = artifact_id
        self._resolver: Callable[[SerializationContext], object] | None = artifact_resolver

    def find(self, ctx: SerializationContext) -> str:
        if self._resolver is None:
            assert self._artifact_id is not None  # noqa: S101 - see __init__
            return self._artifact_id
        try:
            name = self._resolver(ctx)
        except Exception as error:
            raise ResolverError(f"artifact_resolver failed for {ctx.topic!r}: {error}") from error
        if not isinstance(name, str) or not name.strip():
            raise ResolverError(f"artifact_resolver gave {name!r} for {ctx.topic!r}: expected text")
        return name
