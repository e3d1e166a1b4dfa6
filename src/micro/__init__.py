"""NATS micro-services for Python (ADR-32).

import micro

async def setup(ctx: micro.Context) -> None:
    service = await ctx.add_service("echo", "1.0.0")
    await service.add_endpoint("echo", echo)

async def echo(request: micro.Request) -> None:
    await request.respond(request.data())

if __name__ == "__main__":
    micro.run(setup, trap_signals=True)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from micro import options
from micro._client.publishing import Expect, PublishAck
from micro._connection.settings import ConnectOption
from micro._endpoint.endpoint import Endpoint
from micro._endpoint.options import EndpointDefaults
from micro._errors import (
    AlreadyRespondedError,
    ClosedError,
    ConfigError,
    ConnectError,
    ContractDriftError,
    ExpectationError,
    IncompatibleContractError,
    InvalidAnswerError,
    JetStreamError,
    MicroError,
    NoResponseError,
    NoStreamError,
    PayloadTooLargeError,
    PermissionDeniedError,
    Reject,
    RemoteServiceError,
    ServiceError,
    StoppedError,
    StreamCaptureError,
    StreamLostError,
)
from micro._events.consumer import Consumer
from micro._events.delivery import Delivery
from micro._handlers.codec import Codec
from micro._handlers.middleware import Middleware, NextHandler
from micro._handlers.request import Handler, Request, Response
from micro._handlers.typed import cheap
from micro._program.context import Context
from micro._program.run import run
from micro._protocol.deadline import unbound_context
from micro._published import publish
from micro._service.declared import DeclaredGroup, DeclaredService, group, service
from micro._service.decorators import consumer, endpoint, subscriber
from micro._service.groups import Group
from micro._service.service import Service, add_service
from micro._version import __version__

if TYPE_CHECKING:
    from micro._client.client import Client
    from micro._client.replies import Replies, Until
    from micro._client.scoped import InstanceClient, ServiceClient
    from micro._protocol.models import (
        EndpointInfo,
        EndpointStats,
        PingInfo,
        ServiceInfo,
        ServiceStats,
    )
    from micro._service.contracts import ContractRegistry
    from micro._streams.reading import Stream

__all__ = [
    "AlreadyRespondedError",
    "Client",
    "ClosedError",
    "Codec",
    "ConfigError",
    "ConnectError",
    "ConnectOption",
    "Consumer",
    "Context",
    "ContractDriftError",
    "ContractRegistry",
    "DeclaredGroup",
    "DeclaredService",
    "Delivery",
    "Endpoint",
    "EndpointDefaults",
    "EndpointInfo",
    "EndpointStats",
    "Expect",
    "ExpectationError",
    "Group",
    "Handler",
    "IncompatibleContractError",
    "InstanceClient",
    "InvalidAnswerError",
    "JetStreamError",
    "MicroError",
    "Middleware",
    "NextHandler",
    "NoResponseError",
    "NoStreamError",
    "PayloadTooLargeError",
    "PermissionDeniedError",
    "PingInfo",
    "PublishAck",
    "Reject",
    "RemoteServiceError",
    "Replies",
    "Request",
    "Response",
    "Service",
    "ServiceClient",
    "ServiceError",
    "ServiceInfo",
    "ServiceStats",
    "StoppedError",
    "Stream",
    "StreamCaptureError",
    "StreamLostError",
    "Until",
    "__version__",
    "add_service",
    "cheap",
    "consumer",
    "endpoint",
    "group",
    "options",
    "run",
    "service",
    "subscriber",
    "unbound_context",
]

# Names that services do not need are imported when they are first used: the models need pydantic,
# which takes longer to import than everything else here.
_LATER = {
    "Client": "_client.client",
    "ContractRegistry": "_service.contracts",
    "EndpointInfo": "_protocol.models",
    "EndpointStats": "_protocol.models",
    "InstanceClient": "_client.scoped",
    "PingInfo": "_protocol.models",
    "Replies": "_client.replies",
    "ServiceClient": "_client.scoped",
    "ServiceInfo": "_protocol.models",
    "ServiceStats": "_protocol.models",
    "Stream": "_streams.reading",
    "Until": "_client.replies",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'micro' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"micro.{_LATER[name]}"), name)
    return value


publish(*(globals()[name] for name in __all__ if name not in _LATER))
