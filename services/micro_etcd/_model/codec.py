"""Encoding and decoding of keys and values."""

from collections.abc import Callable
from typing import Generic, cast

from micro_etcd._model.values import T


class Codec(Generic[T]):
    """An encoder of str and bytes; it decodes to str, or to bytes when `encoding` is None."""

    def __init__(self, encoding: str | None) -> None:
        self.encoding = encoding
        self.decode = cast("Callable[[bytes], T]", self._text if encoding is not None else bytes)

    def encode(self, data: str | bytes) -> bytes:
        """Return bytes as they are, text in the encoding (UTF-8 when the codec is for bytes)."""
        if isinstance(data, bytes):
            return data
        return data.encode() if self.encoding is None else data.encode(self.encoding)

    def using(self, encoding: str | None) -> "Codec[T]":
        """Return the codec for one call: this one unless another encoding is given."""
        return self if encoding is None or encoding == self.encoding else Codec(encoding)

    def _text(self, data: bytes) -> str:
        return data.decode(cast("str", self.encoding))
