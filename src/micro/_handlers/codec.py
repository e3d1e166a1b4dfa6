"""Codecs: the forms of the payloads of typed handlers and typed calls, other than JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from micro._errors import ConfigError

CONTENT_TYPE = "Content-Type"


@dataclass(frozen=True)
class Codec:
    """A form of payloads: two functions and a content type.

    Args:
        content_type: The content type, which answers and requests have as header `Content-Type`.
        encode: Takes a value and its declared type, and returns the payload.
        decode: Takes a payload and the declared type, and returns the value; raises a ValueError
            for an invalid payload.
        is_json_data: Whether the payload is the JSON of the value in another notation, so that
            its JSON Schema describes it.
        describe: Returns metadata for discovery for a type, by the ends of the keys
            `micro.request.` and `micro.response.`.

    Raises:
        ConfigError: The content type is not one such as `application/msgpack`.
    """

    JSON: ClassVar[Codec]
    """The default, for an endpoint of a service that has another codec."""

    content_type: str
    encode: Callable[[Any, Any], bytes]
    decode: Callable[[bytes, Any], Any]
    is_json_data: bool = False
    describe: Callable[[Any], Mapping[str, str]] | None = None

    def __post_init__(self) -> None:
        kind, slash, name = self.content_type.partition("/")
        if not (kind and slash and name) or not self.content_type.isprintable():
            raise ConfigError(
                f"invalid content type {self.content_type!r}: expected one such as "
                "'application/msgpack'"
            )

    @classmethod
    def of_data(
        cls,
        content_type: str,
        dumps: Callable[[Any], bytes],
        loads: Callable[[bytes], Any],
    ) -> Codec:
        """Return a codec for a notation of the same data as JSON, for all types of pydantic.

        Args:
            content_type: The content type.
            dumps: Returns the payload of JSON data: dictionaries, lists, texts, numbers.
            loads: Returns the JSON data of a payload; raises a ValueError for an invalid payload.
        """
        from micro._handlers import json_data

        return cls(
            content_type,
            lambda value, kind: dumps(json_data.to_data(value, kind)),
            lambda payload, kind: json_data.from_data(loads(payload), kind),
            is_json_data=True,
        )

    def accepts(self, headers: Mapping[str, str]) -> bool:
        """Return whether the headers of a message name this content type, or none."""
        given = next((value for name, value in headers.items() if name.lower() == _NAME), None)
        if given is None:
            return True
        return given.partition(";")[0].strip().lower() == self.content_type.lower()


_NAME = CONTENT_TYPE.lower()


def _not_called(*_: Any) -> Any:
    raise NotImplementedError


# pydantic reads and writes it itself.
JSON = Codec.JSON = Codec("application/json", _not_called, _not_called, is_json_data=True)
