"""Writes that also read: their answer must fit into one message before anything is written.

The size is read before the write. If a concurrent write has made the answer larger meanwhile, the
error says that the write was applied.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from micro_etcd._model.txn import Compare, DeleteOp, GetOp, Operation, PutOp
from micro_etcd._model.values import RangeResult
from micro_etcd._service.namespaces import View
from micro_etcd._wire.errors import EtcdAnswerOmittedError, EtcdPayloadTooLargeError
from micro_etcd._wire.headers import MARGIN

BODY = 1024  # bytes of a reply around its items


class WriteReply(Protocol):
    """The reply to a write."""

    @property
    def revision(self) -> int: ...
    def model_dump_json(self) -> str: ...


W = TypeVar("W", bound=WriteReply)


class ReadBacks:
    """The size check of writes that read; `max_payload` returns the size of a message."""

    def __init__(self, max_payload: Callable[[], int]) -> None:
        self._max_payload = max_payload

    async def check(
        self,
        view: View,
        success: Sequence[Operation],
        failure: Sequence[Operation] = (),
        *,
        compares: Sequence[Compare] = (),
    ) -> None:
        """Return if the answer to these operations fits into one message.

        Raises:
            EtcdPayloadTooLargeError: It does not; nothing was written.
        """
        reads, others = _reads(success), _reads(failure)
        if not reads and not others:
            return
        answer = await view.reads.txn(compares, reads, others)
        ranges = [part for part in answer.responses if isinstance(part, RangeResult)]
        size = sum(len(view.item(kv).model_dump_json()) for part in ranges for kv in part.kvs)
        limit = self._max_payload() - MARGIN - BODY
        if size > limit:
            raise EtcdPayloadTooLargeError(
                f"the answer would have {size} bytes, a message carries {limit}", size=size
            )

    def fitting(self, reply: W) -> W:
        """Return the reply to an applied write, if it fits into one message.

        Raises:
            EtcdAnswerOmittedError: The reply does not fit.
        """
        size, limit = len(reply.model_dump_json()), self._max_payload() - MARGIN
        if size <= limit:
            return reply
        raise EtcdAnswerOmittedError(
            f"the write was applied at revision {reply.revision}, but its answer has {size} bytes "
            f"and a message carries {limit}",
            size=size,
            revision=reply.revision,
        )


def _reads(operations: Iterable[Operation]) -> list[GetOp]:
    reads = []
    for operation in operations:
        if isinstance(operation, GetOp):
            reads.append(operation)
        elif operation.prev_kv:
            end = operation.range_end if isinstance(operation, DeleteOp) else b""
            reads.append(GetOp(operation.key, end))
    return reads


def is_read(operations: Iterable[Operation]) -> bool:
    """Return whether operations change nothing."""
    return not any(isinstance(operation, PutOp | DeleteOp) for operation in operations)
