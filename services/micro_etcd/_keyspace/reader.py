"""Reads of keys as text or bytes."""

from typing import Generic

from micro_etcd._model.codec import Codec
from micro_etcd._model.keys import Namespace, prefix_range
from micro_etcd._model.options import PLAIN, RangeOptions
from micro_etcd._model.protocols import Keys
from micro_etcd._model.values import RangeRequestSortOrder, RangeRequestSortTarget, T


class KeyReader(Generic[T]):
    """Reads of one namespace. All are linearizable unless `serializable`.

    The parameters they share:

    - `max_create_revision`, `max_mod_revision`, `min_create_revision`, `min_mod_revision`: leave
      out keys created or last changed outside these revisions;
    - `revision`: read the past as it was at this revision; EtcdCompactedError when that is gone;
    - `sort_order`, `sort_target`: order of the result, by key unless said otherwise;
    - `serializable`: let one member answer from what it has, even if that is stale;
    - `encoding`: other than the communicator's.

    Attributes:
        kv: The same keys at the level of bytes, with revisions, versions and leases.
    """

    def __init__(self, codec: Codec[T], namespace: Namespace, kv: Keys) -> None:
        self.kv = kv
        self._codec = codec
        self._namespace = namespace

    async def get(  # noqa: PLR0913 - the documented signature
        self,
        key: str | bytes,
        max_create_revision: int | None = None,
        max_mod_revision: int | None = None,
        min_create_revision: int | None = None,
        min_mod_revision: int | None = None,
        revision: int | None = None,
        encoding: str | None = None,
        *,
        serializable: bool = False,
    ) -> T | None:
        """Return the value of a key, None when it does not exist (or was left out by a filter)."""
        codec = self._codec.using(encoding)
        bounds = max_create_revision, max_mod_revision, min_create_revision, min_mod_revision
        options = RangeOptions(None, *bounds, revision, serializable)
        if options == PLAIN:
            value = await self.kv.get_value(codec.encode(key))
            return None if value is None else codec.decode(value)
        kv = await self.kv.get(codec.encode(key), options)
        return None if kv is None else codec.decode(kv.value)

    async def get_prefix(  # noqa: PLR0913 - the documented signature
        self,
        key: str | bytes,
        max_create_revision: int | None = None,
        max_mod_revision: int | None = None,
        min_create_revision: int | None = None,
        min_mod_revision: int | None = None,
        revision: int | None = None,
        sort_order: RangeRequestSortOrder = RangeRequestSortOrder.NONE,
        sort_target: RangeRequestSortTarget = RangeRequestSortTarget.KEY,
        encoding: str | None = None,
        *,
        serializable: bool = False,
    ) -> dict[T, T]:
        """Return the keys that start with `key`, with their values; all keys for an empty one."""
        bounds = max_create_revision, max_mod_revision, min_create_revision, min_mod_revision
        options = RangeOptions(None, *bounds, revision, serializable, sort_order, sort_target)
        codec = self._codec.using(encoding)
        return await self._items(prefix_range(codec.encode(key)), options, codec)

    async def get_range(  # noqa: PLR0913 - the documented signature
        self,
        key: str | bytes,
        range_end: str | bytes,
        limit: int | None = None,
        max_create_revision: int | None = None,
        max_mod_revision: int | None = None,
        min_create_revision: int | None = None,
        min_mod_revision: int | None = None,
        revision: int | None = None,
        sort_order: RangeRequestSortOrder = RangeRequestSortOrder.NONE,
        sort_target: RangeRequestSortTarget = RangeRequestSortTarget.KEY,
        encoding: str | None = None,
        *,
        serializable: bool = False,
    ) -> dict[T, T]:
        """Return the keys from `key` up to but without `range_end`, with their values."""
        bounds = max_create_revision, max_mod_revision, min_create_revision, min_mod_revision
        options = RangeOptions(limit, *bounds, revision, serializable, sort_order, sort_target)
        codec = self._codec.using(encoding)
        return await self._items((codec.encode(key), codec.encode(range_end)), options, codec)

    async def keys_prefix(  # noqa: PLR0913 - the documented signature
        self,
        key: str | bytes,
        max_create_revision: int | None = None,
        max_mod_revision: int | None = None,
        min_create_revision: int | None = None,
        min_mod_revision: int | None = None,
        revision: int | None = None,
        serializable: bool = False,
        sort_order: RangeRequestSortOrder = RangeRequestSortOrder.NONE,
        sort_target: RangeRequestSortTarget = RangeRequestSortTarget.KEY,
        encoding: str | None = None,
    ) -> list[T]:
        """Return the names of all keys that start with `key`."""
        bounds = max_create_revision, max_mod_revision, min_create_revision, min_mod_revision
        options = RangeOptions(
            None, *bounds, revision, serializable, sort_order, sort_target, keys_only=True
        )
        codec = self._codec.using(encoding)
        return list(await self._items(prefix_range(codec.encode(key)), options, codec))

    async def keys_range(  # noqa: PLR0913 - the documented signature
        self,
        key: str | bytes,
        range_end: str | bytes,
        limit: int | None = None,
        max_create_revision: int | None = None,
        max_mod_revision: int | None = None,
        min_create_revision: int | None = None,
        min_mod_revision: int | None = None,
        revision: int | None = None,
        serializable: bool = False,
        sort_order: RangeRequestSortOrder = RangeRequestSortOrder.NONE,
        sort_target: RangeRequestSortTarget = RangeRequestSortTarget.KEY,
        encoding: str | None = None,
    ) -> list[T]:
        """Return the names of the keys from `key` up to but without `range_end`."""
        bounds = max_create_revision, max_mod_revision, min_create_revision, min_mod_revision
        options = RangeOptions(
            limit, *bounds, revision, serializable, sort_order, sort_target, keys_only=True
        )
        codec = self._codec.using(encoding)
        return list(await self._items((codec.encode(key), codec.encode(range_end)), options, codec))

    async def _items(
        self, keys: tuple[bytes, bytes], options: RangeOptions, codec: Codec[T]
    ) -> dict[T, T]:
        decode = codec.decode
        items: dict[T, T] = {}
        async for page in self.kv.items(*keys, options):
            items.update((decode(key), decode(value)) for key, value in page)
        return items
