"""etcd client and etcd as a NATS service.

`NatsEtcd` needs neither grpcio nor protobuf; the direct client and the service do (extra `etcd`).
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from micro_etcd import errors
from micro_etcd._model.events import Event, WatchBatch
from micro_etcd._model.options import RangeOptions, WatchOptions
from micro_etcd._model.txn import (
    Compare,
    CompareBuilder,
    CompareKey,
    DeleteOp,
    DeleteRangeRequestType,
    GetOp,
    NoneType,
    PutOp,
    PutRequestType,
    RangeRequestType,
    TransactionRequest,
    TxnResponse,
    TxnResult,
    TxnReturnType,
    TxnReturnValues,
)
from micro_etcd._model.txn_builder import EtcdTransactionAction
from micro_etcd._model.values import (
    CompareCompareResult,
    CompareCompareTarget,
    DeleteResult,
    EndpointStatus,
    EtcdCredential,
    EtcdLockOption,
    EtcdTLS,
    HostPortPair,
    KeyValue,
    LeaseInfo,
    PutResult,
    RangeRequestSortOrder,
    RangeRequestSortTarget,
    RangeResult,
    WatchCreateRequestFilterType,
    WatchEvent,
    WatchEventType,
)
from micro_etcd.errors import (
    EtcdAbortedError,
    EtcdAlreadyExistsError,
    EtcdBadRequestError,
    EtcdClosedError,
    EtcdCompactedError,
    EtcdDataLossError,
    EtcdDeadlineExceededError,
    EtcdError,
    EtcdFutureRevisionError,
    EtcdHistoryLostError,
    EtcdInternalError,
    EtcdInvalidArgumentError,
    EtcdLeaseExistsError,
    EtcdLeaseNotFoundError,
    EtcdLockLostError,
    EtcdNoSpaceError,
    EtcdNotFoundError,
    EtcdOutcomeUnknownError,
    EtcdOutOfRangeError,
    EtcdPermissionDeniedError,
    EtcdRequestTooLargeError,
    EtcdTooManyRequestError,
    EtcdUnauthenticatedError,
    EtcdUnavailableError,
    EtcdUnimplementedError,
    EtcdUnknownError,
    EtcetraError,
)

if TYPE_CHECKING:
    from micro_etcd._cluster.connection import EtcdAnswerTooLargeError
    from micro_etcd._direct.client import EtcdClient, EtcdConnectionManager, EtcdLockManager
    from micro_etcd._direct.communicator import EtcdCommunicator
    from micro_etcd._direct.election import Election
    from micro_etcd._direct.kv import KV
    from micro_etcd._direct.leases import Leases
    from micro_etcd._direct.queue_place import QueuePlace
    from micro_etcd._direct.watch import EventStream
    from micro_etcd._keyspace.lease_keeper import LeaseKeeper
    from micro_etcd._keyspace.live_config import LiveConfig
    from micro_etcd._keyspace.lock import HeldLock
    from micro_etcd._keyspace.watch import Watch
    from micro_etcd._over_nats.client import NatsEtcd
    from micro_etcd._service.config import EtcdSection, EtcdServiceSettings, NamespaceRule
    from micro_etcd._service.service import (
        EtcdService,
        add_etcd_service,
        serve,
        setup,
        setup_embedded,
    )
    from micro_etcd._wire.errors import (
        EtcdAnswerOmittedError,
        EtcdConditionFailedError,
        EtcdLockBusyError,
        EtcdPayloadTooLargeError,
    )

__all__ = [
    "KV",
    "Compare",
    "CompareBuilder",
    "CompareCompareResult",
    "CompareCompareTarget",
    "CompareKey",
    "DeleteOp",
    "DeleteRangeRequestType",
    "DeleteResult",
    "Election",
    "EndpointStatus",
    "EtcdAbortedError",
    "EtcdAlreadyExistsError",
    "EtcdAnswerOmittedError",
    "EtcdAnswerTooLargeError",
    "EtcdBadRequestError",
    "EtcdClient",
    "EtcdClosedError",
    "EtcdCommunicator",
    "EtcdCompactedError",
    "EtcdConditionFailedError",
    "EtcdConnectionManager",
    "EtcdCredential",
    "EtcdDataLossError",
    "EtcdDeadlineExceededError",
    "EtcdError",
    "EtcdFutureRevisionError",
    "EtcdHistoryLostError",
    "EtcdInternalError",
    "EtcdInvalidArgumentError",
    "EtcdLeaseExistsError",
    "EtcdLeaseNotFoundError",
    "EtcdLockBusyError",
    "EtcdLockLostError",
    "EtcdLockManager",
    "EtcdLockOption",
    "EtcdNoSpaceError",
    "EtcdNotFoundError",
    "EtcdOutOfRangeError",
    "EtcdOutcomeUnknownError",
    "EtcdPayloadTooLargeError",
    "EtcdPermissionDeniedError",
    "EtcdRequestTooLargeError",
    "EtcdSection",
    "EtcdService",
    "EtcdServiceSettings",
    "EtcdTLS",
    "EtcdTooManyRequestError",
    "EtcdTransactionAction",
    "EtcdUnauthenticatedError",
    "EtcdUnavailableError",
    "EtcdUnimplementedError",
    "EtcdUnknownError",
    "EtcetraError",
    "Event",
    "EventStream",
    "GetOp",
    "HeldLock",
    "HostPortPair",
    "KeyValue",
    "LeaseInfo",
    "LeaseKeeper",
    "Leases",
    "LiveConfig",
    "NamespaceRule",
    "NatsEtcd",
    "NoneType",
    "PutOp",
    "PutRequestType",
    "PutResult",
    "QueuePlace",
    "RangeOptions",
    "RangeRequestSortOrder",
    "RangeRequestSortTarget",
    "RangeRequestType",
    "RangeResult",
    "TransactionRequest",
    "TxnResponse",
    "TxnResult",
    "TxnReturnType",
    "TxnReturnValues",
    "Watch",
    "WatchBatch",
    "WatchCreateRequestFilterType",
    "WatchEvent",
    "WatchEventType",
    "WatchOptions",
    "add_etcd_service",
    "errors",
    "serve",
    "setup",
    "setup_embedded",
]

# Imported when first used: the direct client and the service need grpcio and protobuf.
_LATER = {
    "_cluster.connection": ("EtcdAnswerTooLargeError",),
    "_direct.client": ("EtcdClient", "EtcdConnectionManager", "EtcdLockManager"),
    "_direct.communicator": ("EtcdCommunicator",),
    "_direct.election": ("Election",),
    "_direct.kv": ("KV",),
    "_direct.leases": ("Leases",),
    "_direct.queue_place": ("QueuePlace",),
    "_direct.watch": ("EventStream",),
    "_keyspace.lease_keeper": ("LeaseKeeper",),
    "_keyspace.live_config": ("LiveConfig",),
    "_keyspace.lock": ("HeldLock",),
    "_keyspace.watch": ("Watch",),
    "_over_nats.client": ("NatsEtcd",),
    "_service.config": ("EtcdSection", "EtcdServiceSettings", "NamespaceRule"),
    "_service.service": ("EtcdService", "add_etcd_service", "serve", "setup", "setup_embedded"),
    "_wire.errors": (
        "EtcdAnswerOmittedError",
        "EtcdConditionFailedError",
        "EtcdLockBusyError",
        "EtcdPayloadTooLargeError",
    ),
}
_PLACES = {name: place for place, names in _LATER.items() for name in names}


def _publish(name: str, value: Any) -> None:
    """Make a name the package's own, in tracebacks and pickles too."""
    if getattr(value, "__module__", "").startswith("micro_etcd._"):
        value.__module__ = "micro_etcd"
    globals()[name] = value


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'micro_etcd' has no attribute {name!r}")
    import_module(f"micro_etcd.{_PLACES[name]}")
    for other, place in _PLACES.items():
        module = sys.modules.get(f"micro_etcd.{place}")
        if hasattr(module, other):
            _publish(other, getattr(module, other))
    return globals()[name]


for _name in __all__:
    if _name not in _PLACES:
        _publish(_name, globals()[_name])
