"""Settings kept in etcd: a pydantic model that follows the keys below a prefix.

The key `<prefix><field>` holds the value of a field as text (`8`, `true`, `some words`) or as JSON
(`["a", "b"]`); the fields of a nested model lie below `<prefix><field>/`.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from micro import unbound_context
from micro_etcd._model.events import WatchBatch
from micro_etcd._model.keys import prefix_range
from micro_etcd._model.options import WatchOptions
from micro_etcd._model.protocols import Keys
from micro_etcd._model.values import WatchEventType
from micro_etcd.errors import EtcdCompactedError, EtcdError, EtcdHistoryLostError

M = TypeVar("M", bound=BaseModel)
logger = logging.getLogger("micro.etcd.config")


class LiveConfig(Generic[M]):
    """Settings that follow the store. `value` is replaced as a whole, never changed in place.

    All keys of one revision are applied together, so a txn changes several fields at once. An
    update that the model refuses is counted and logged without its contents; the value stays.

    Attributes:
        value: The settings; always valid.
        revision: Revision of the store that `value` shows.
        updates: Number of replacements.
        rejected: Number of refused updates.
        problem: Why the newest keys are not in `value`, None when they are.
    """

    def __init__(self, model: type[M], prefix: bytes) -> None:
        self.value: M
        self.revision = 0
        self.updates = 0
        self.rejected = 0
        self.problem: str | None = None
        self._model = model
        self._prefix = prefix
        self._texts: dict[bytes, bytes] = {}
        self._changed = asyncio.Event()

    async def changed(self) -> M:
        """Wait for the next valid update and return the new settings."""
        await self._changed.wait()
        return self.value

    def stats(self, _endpoint: object = None) -> dict[str, Any]:
        """Return the counts; usable as the `stats_handler` of an endpoint."""
        return {
            "revision": self.revision,
            "updates": self.updates,
            "rejected": self.rejected,
            "problem": self.problem,
        }

    def load(self, texts: dict[bytes, bytes], revision: int) -> None:
        """Replace all keys.

        Raises:
            ValidationError: The model refuses the keys.
        """
        self._texts = texts
        self._take(revision)

    def apply(self, batch: WatchBatch) -> None:
        """Apply the changes of one revision, or refuse them."""
        for event in batch.events:
            if event.type is WatchEventType.PUT:
                self._texts[event.kv.key] = event.kv.value
            else:
                self._texts.pop(event.kv.key, None)
        self.accept(batch.revision)

    def accept(self, revision: int) -> None:
        """Build the value from the keys, if the model accepts them."""
        try:
            self._take(revision)
        except ValidationError as error:
            self.rejected += 1
            self.problem = _problem(error)
            logger.error(
                "update of %r at revision %d rejected: %s", self._prefix, revision, self.problem
            )

    def abandon(self, error: EtcdError) -> None:
        """Note that the keys are not followed any more; the value stays."""
        self.problem = f"not followed any more: {error}"
        logger.error("settings below %r are %s", self._prefix, self.problem)

    def _take(self, revision: int) -> None:
        values = _values(self._model, self._prefix, self._texts)
        self.value = self._model.model_validate(values, by_alias=False, by_name=True)
        self.revision = revision
        self.updates += 1
        self.problem = None
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


@asynccontextmanager
async def live_config(kv: Keys, prefix: bytes, model: type[M]) -> AsyncIterator[LiveConfig[M]]:
    """Read settings and keep them up to date in the body of an `async with`.

    Raises:
        ValidationError: The settings in the store are not valid at the start.
        EtcdError: The store cannot be read.
    """
    config = LiveConfig(model, prefix)
    config.load(*await _read(kv, prefix))
    task = asyncio.create_task(_follow(kv, prefix, config), context=unbound_context())
    try:
        yield config
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _follow(kv: Keys, prefix: bytes, config: LiveConfig[M]) -> None:
    revision = config.revision
    while True:
        options = WatchOptions(start_revision=revision + 1)
        stream = kv.events(*prefix_range(prefix), options=options)
        try:
            async for batch in stream:
                config.apply(batch)
            return
        except (EtcdCompactedError, EtcdHistoryLostError):
            texts, revision = await _read(kv, prefix)
            try:
                config.load(texts, revision)
            except ValidationError:
                config.accept(revision)
        except EtcdError as error:
            config.abandon(error)
            return
        finally:
            stream.close()


async def _read(kv: Keys, prefix: bytes) -> tuple[dict[bytes, bytes], int]:
    settings = await kv.range(*prefix_range(prefix))
    return {kv.key: kv.value for kv in settings.kvs}, settings.revision


def _values(model: type[BaseModel], prefix: bytes, texts: dict[bytes, bytes]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        key = prefix + name.encode()
        kind = field.annotation
        if key in texts:
            values[name] = _value(kind, texts[key])
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            nested = _values(kind, key + b"/", texts)
            if nested:
                values[name] = nested
    return values


def _value(kind: Any, data: bytes) -> Any:
    """Return a text read as the field's type; the text itself if it cannot be read."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return data
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    try:
        return adapter.validate_strings(text)
    except ValidationError:
        pass
    try:
        return json.loads(text)
    except ValueError:
        return text


def _problem(error: ValidationError) -> str:
    first, *rest = error.errors(include_url=False, include_input=False, include_context=False)
    where = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(rest)} more)" if rest else ""
    return f"{where}: {first['msg']}{more}" if where else f"{first['msg']}{more}"
