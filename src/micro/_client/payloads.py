"""The payloads of typed calls: values in JSON or the form of a codec, and `bytes`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from micro._errors import ConfigError, InvalidAnswerError
from micro._handlers.bound_handler import UNSET
from micro._handlers.codec import CONTENT_TYPE, JSON, Codec
from micro._handlers.typed_codecs import Decoder, Encoder, decoder_of

if TYPE_CHECKING:
    from micro._streams.reading import Stream


def encode(value: Any, codec: Codec | None = None) -> bytes:
    """Return the payload of a value: nothing for `UNSET`, itself for bytes, else encoded.

    Raises:
        ConfigError: The value cannot be encoded.
    """
    if value.__class__ is bytes:
        payload: bytes = value
        return payload
    if value is UNSET:
        return b""
    try:
        if codec is not None and codec is not JSON:
            return codec.encode(value, Any)
        if isinstance(value, BaseModel):
            return value.__pydantic_serializer__.to_json(value, by_alias=True)
        return to_json(value)
    except (TypeError, ValueError) as error:  # pydantic_core names the type
        raise ConfigError(f"invalid payload of type {type(value).__name__!r}: {error}") from error


def written(encoder: Encoder, value: Any) -> bytes:
    """Return the payload of a value of a declared type.

    Raises:
        ConfigError: The value is not of the type.
    """
    try:
        if value.__class__ is encoder.model:
            return encoder.encode_model(value)
        return encoder.encode(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"invalid payload of type {type(value).__name__!r}: {error}") from error


def headers_of(headers: dict[str, str] | None, codec: Codec | None) -> dict[str, str] | None:
    """Return headers with the content type of a codec."""
    if codec is None or codec is JSON:
        return headers
    return {CONTENT_TYPE: codec.content_type, **(headers or {})}


class Reader:
    """A reader of the answers of one type.

    Args:
        decoder: The decoder; None ignores the answers.
    """

    __slots__ = ("_decode", "_invalid")

    def __init__(self, decoder: Decoder | None) -> None:
        self._decode = _ignore if decoder is None else decoder.decode
        self._invalid = () if decoder is None else decoder.invalid

    def __call__(self, data: bytes, subject: str) -> Any:
        """Return the value of an answer from a subject.

        Raises:
            InvalidAnswerError: The answer is not of the type.
        """
        try:
            return self._decode(data)
        except self._invalid as error:
            raise InvalidAnswerError(subject, _listed(error)) from error


def reader_of(returns: Any, codec: Codec | None) -> Reader:
    """Return the reader of answers of a type: None ignores them, bytes are themselves.

    Raises:
        ConfigError: pydantic, or the codec, does not know the type.
    """
    try:
        return _reader(returns, codec)
    except TypeError:  # an annotation that cannot be hashed
        return _reader.__wrapped__(returns, codec)


@lru_cache(maxsize=1024)
def _reader(returns: Any, codec: Codec | None) -> Reader:
    return Reader(None if returns is None else decoder_of(returns, codec))


async def answer_of(stream: Stream[bytes], read: Reader, subject: str) -> Any:
    """Return the value of the one answer to items of the caller."""
    async with stream:
        data = await anext(stream, b"")
    return read(data, subject)


def _listed(error: Exception) -> list[dict[str, Any]]:
    if isinstance(error, ValidationError):
        listed = error.errors(include_url=False, include_context=False, include_input=False)
        return [dict(each) for each in listed]
    return [{"type": "decoding", "loc": (), "msg": "Payload cannot be decoded"}]


def _ignore(data: bytes) -> None:
    pass
