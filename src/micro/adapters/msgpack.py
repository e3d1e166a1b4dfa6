"""MessagePack payloads. Extra: `msgpack`.

await service.add_endpoint("place", place, codec=msgpack.codec)
"""

from __future__ import annotations

from micro import _extras
from micro._handlers.codec import Codec

try:
    import ormsgpack
except ModuleNotFoundError as error:
    raise _extras.missing(error, "micro.adapters.msgpack", "msgpack") from None

__all__ = ["codec"]

codec = Codec.of_data("application/msgpack", ormsgpack.packb, ormsgpack.unpackb)
"""The codec of MessagePack: the data of the JSON, so its JSON Schema describes it."""
