"""The client of services: requests and discovery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, Unpack, overload

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from micro._client.directory import Directory
from micro._client.discovering import Discovering
from micro._client.publishing import Publishing, message_headers
from micro._client.replies import Replies, Until
from micro._client.request_payload import Payload, payload_of
from micro._client.requester import PUB_ACK, refuse_acknowledgement, requester_of
from micro._client.scoped import DEFAULT_MAX_WAIT, CallOptions, InstanceClient, ServiceClient
from micro._errors import ConfigError, PayloadTooLargeError, RemoteServiceError
from micro._handlers.bound_handler import UNSET
from micro._handlers.codec import Codec
from micro._protocol import deadline
from micro._protocol.adr32 import received_error
from micro._protocol.subjects import DEFAULT_API_PREFIX
from micro._published import publish
from micro._streams.format import MAX_WINDOW
from micro._streams.reading import Limits, Stream
from micro._streams.sending import Upload
from micro._wire.client_state import check_open, latest

if TYPE_CHECKING:
    from micro._client.drift import OnDrift

R = TypeVar("R")
A = TypeVar("A")


class HasClient(Protocol):
    """An object that has a NATS client, such as a `Context`."""

    @property
    def client(self) -> NatsClient:
        """The NATS client."""


class Client(Publishing, Discovering):
    """A client that calls endpoints and discovers services (ADR-32).

    The discovery methods take three limits and end at the first one reached: `max_wait` seconds in
    all, `max_interval` seconds without an answer after the first, `max_count` answers. Without
    responders they end at once. Unreadable answers are left out with a warning.

    Args:
        nc: The connected NATS client, or a `Context`. After a replacement of its connection the
            client of a context is followed by the new one, here as well.
        default_max_wait: Seconds to wait when `max_wait` is not given.
        api_prefix: Prefix of the discovery subjects.

    Raises:
        ConfigError: The prefix is not a subject.
    """

    def __init__(
        self,
        nc: NatsClient | HasClient,
        default_max_wait: float = DEFAULT_MAX_WAIT,
        api_prefix: str = DEFAULT_API_PREFIX,
    ) -> None:
        self._nc = nc if isinstance(nc, NatsClient) else nc.client
        super().__init__(default_max_wait, api_prefix)
        self._requester = requester_of(self._nc)
        # For the clients of one service, and not part of the interface.
        self.__directory__ = Directory(self)
        deadline.readers = True

    @property
    def nc(self) -> NatsClient:
        """The NATS client; another one after a replacement of the connection."""
        if self._nc.is_closed:
            self._follow()
        return self._nc

    def __connected__(self) -> NatsClient:
        return self.nc

    def _follow(self) -> None:
        self._nc = latest(self._nc)
        self._requester = requester_of(self._nc)

    async def request(
        self,
        subject: str,
        data: Payload = None,
        headers: dict[str, str] | None = None,
        timeout: float = 1,
    ) -> Msg:
        """Send a request and return the answer.

        Args:
            subject: The subject of the endpoint.
            data: The payload; a dict or a pydantic model is sent as JSON.
            headers: Further headers.
            timeout: Seconds to wait for the answer; inside a handler at most until its deadline.
                The service receives it in the header `Micro-Timeout-Ms`.

        Raises:
            RemoteServiceError: The service answered with an error; a `ServiceError`.
            StreamCaptureError: A stream captures the subject, and its acknowledgement arrived.
            nats.errors.NoRespondersError: No service listens on the subject.
            nats.errors.TimeoutError: No answer in time.
            ClosedError: The connection is closed; a `nats.errors.ConnectionClosedError`, too.
            PayloadTooLargeError: The request exceeds the server's `max_payload`.
            ConfigError: A header cannot be sent, the subject is too long, or the payload is a text
                or has no JSON.
        """
        payload = data if data.__class__ is bytes else payload_of(data)
        if self._nc.is_closed:
            self._follow()
            check_open(self._nc)
        bound = deadline.current.get()
        if bound is not None and bound.deadline is not None:
            timeout = min(timeout, bound.deadline - asyncio.get_running_loop().time())
            if timeout <= 0:
                raise nats.errors.TimeoutError
        try:
            answer = await self._requester.request(subject, payload, headers, timeout, tell=True)
        except PayloadTooLargeError:  # perhaps because of our own header
            answer = await self._requester.request(subject, payload, headers, timeout)
        if answer.headers:
            error = received_error(answer.headers, subject, answer.data, RemoteServiceError)
            if error is not None:
                raise error
        elif answer.data.startswith(PUB_ACK):
            refuse_acknowledgement(subject, answer.data)
        return answer

    @overload
    async def call(
        self, subject: str, payload: Any = ..., *, returns: type[R], **options: Unpack[CallOptions]
    ) -> R: ...

    @overload
    async def call(
        self,
        subject: str,
        payload: Any = ...,
        *,
        returns: None = ...,
        **options: Unpack[CallOptions],
    ) -> None: ...

    @overload
    async def call(
        self, subject: str, payload: Any = ..., *, returns: Any, **options: Unpack[CallOptions]
    ) -> Any: ...

    async def call(  # noqa: PLR0913 - options, all keyword-only
        self,
        subject: str,
        payload: Any = UNSET,
        *,
        returns: Any = None,
        timeout: float = 1,
        headers: dict[str, str] | None = None,
        codec: Codec | None = None,
        send: AsyncIterable[Any] | None = None,
    ) -> Any:
        """Send a value to a typed endpoint and return its answer as a value.

            total = await client.call("math.add", Pair(a=1, b=2), returns=int)

        Args:
            subject: The subject of the endpoint.
            payload: A pydantic model, or anything else that pydantic writes as JSON; bytes are the
                payload itself. Without it the payload is empty.
            returns: The type of the answer, such as a model, `int` or `list[Item]`; `bytes` for
                the payload itself, None to ignore it.
            timeout: Seconds to wait for the answer; see `request`.
            headers: Further headers.
            codec: The form of payload and answer; JSON by default.
            send: Items for an endpoint that takes them, sent as it reads them; see `stream`.

        Raises:
            RemoteServiceError: The service answered with an error; `errors` lists invalid members.
            InvalidAnswerError: The answer is not of the type.
            ConfigError: The payload has no JSON, or pydantic does not know the type.
            nats.errors.NoRespondersError: No service listens on the subject.
            nats.errors.TimeoutError: No answer in time.
        """
        from micro._client import payloads  # imports pydantic

        read = payloads.reader_of(returns, codec)
        if send is not None:
            stream = self.stream(
                subject, payload, of=bytes, send=send, timeout=timeout, headers=headers, codec=codec
            )
            return await payloads.answer_of(stream, read, subject)
        if codec is not None:
            headers = payloads.headers_of(headers, codec)
        data = payloads.encode(payload, codec)
        answer = await self.request(subject, data, headers, timeout)
        return read(answer.data, subject)

    def bind(
        self,
        api: Callable[..., A],
        *,
        service: str | None = None,
        timeout: float = 1,
        headers: Mapping[str, str] | None = None,
        on_drift: OnDrift = "raise",
        recheck: float = 15.0,
    ) -> A:
        """Return a client that has the methods of a declaration, with its types.

            shop = client.bind(ShopApi)
            receipt = await shop.place(Order(item="tea"))

        The first call compares the schemas of the declaration with those of the instances. An
        instance that adds an optional member, for example, still fits. If no instance fits, calls
        of the endpoint raise `ContractDriftError`; if some fit, the log names the others. Raw
        endpoints have no method.

        Args:
            api: A Protocol or class with methods declared by `micro.endpoint`, such as the service
                itself. Of a class without, all public methods are endpoints of the `service`.
            service: The name of the service; by default that of `micro.service`. Without one the
                schemas are not compared.
            timeout: Seconds to wait for each answer; see `request`.
            headers: Further headers of each request.
            on_drift: `raise`, `warn` to log in place of an error, or `ignore` to compare nothing.
            recheck: Seconds after which the next call looks for new instances.

        Raises:
            ConfigError: The value is no class, or declares no endpoints.
        """
        from micro._client import bound

        return bound.bind(
            api, self, service, timeout=timeout, headers=headers, on_drift=on_drift, recheck=recheck
        )

    def stream(  # noqa: PLR0913 - each limits the stream in its own way
        self,
        subject: str,
        payload: Any = UNSET,
        *,
        of: type[R],
        send: AsyncIterable[Any] | None = None,
        timeout: float | None = None,
        gap: float | None = 5.0,
        window: int = 256,
        lease: float = 0.9,
        headers: dict[str, str] | None = None,
        codec: Codec | None = None,
    ) -> Stream[R]:
        """Send a request to a streaming endpoint and read its items as they arrive.

            async for row in client.stream("shop.rows", Query(limit=10), of=Row):
                ...

        Leaving the loop ends the generator at the service. The request is sent when the first
        item is asked for. Services in other languages that answer with many messages and an empty
        one at the end (ADR-47) are read as well, without flow control.

        Args:
            subject: The subject of the endpoint.
            payload: A pydantic model, or anything else that pydantic writes as JSON; bytes are the
                payload itself. Without it the payload is empty.
            of: The type of the items, such as a model; `bytes` for the payloads themselves.
            send: Items for an endpoint that takes them, sent as it reads them. They are closed
                when the stream ends; an error of theirs ends it.
            timeout: Seconds that the whole stream may take, also told to the service; no limit by
                default, and inside a handler at most until its deadline.
            gap: Seconds without an item, the first one included; None for no limit. While items
                are being sent it is not counted.
            window: Items that the service sends ahead of the reader; 0 for no flow control.
            lease: Seconds after which the service ends a stream whose reader is gone. A reader
                whose event loop stands still for longer loses its stream.
            headers: Further headers.
            codec: The form of payload and items; JSON by default.

        Raises:
            RemoteServiceError: The service answered with an error, perhaps behind items.
            StreamLostError: Items are missing, or the service is gone.
            InvalidAnswerError: An item is not of the type.
            ConfigError: A value is not acceptable.
            nats.errors.NoRespondersError: No service listens on the subject.
            nats.errors.TimeoutError: The stream, or an item, was late.
        """
        from micro._client import payloads  # imports pydantic

        if not (send is not None) <= window <= MAX_WINDOW or lease <= 0:
            raise ConfigError(
                f"invalid window {window!r} or lease {lease!r}: "
                f"expected 0 to {MAX_WINDOW} items, at least 1 to send some, seconds above 0"
            )
        told = message_headers(payloads.headers_of(headers, codec), None, None)
        request = payloads.encode(payload, codec), told
        limits = Limits(timeout, gap, window, lease)
        read = payloads.reader_of(of, codec)
        encode = partial(payloads.encode, codec=codec)
        upload = None if send is None else Upload(send, encode, window)
        return Stream(self.__connected__, subject, request, read, limits, upload)

    def request_many(
        self,
        subject: str,
        data: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        until: Until | None = None,
    ) -> Replies:
        """Send a request and yield its answers (ADR-47).

        Use it as `async with client.request_many(...) as replies: async for reply in replies: ...`.

        Args:
            subject: The subject of the request.
            data: The payload.
            headers: Headers of the request.
            until: When to stop waiting; `default_max_wait` seconds in all when not given.
        """
        limits = Until(max_wait=self.default_max_wait) if until is None else until
        return Replies(self.nc, subject, data, headers, until=limits)

    def service(self, service: str) -> ServiceClient:
        """Return a client for the instances of one service.

        Raises:
            ConfigError: The name is not acceptable.
        """
        return ServiceClient(self, service)

    def instance(self, service: str, id: str) -> InstanceClient:
        """Return a client for one instance.

        Raises:
            ConfigError: The name or the id is not acceptable.
        """
        return InstanceClient(self, service, id)


publish(Client)
