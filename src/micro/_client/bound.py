"""Clients bound to a declaration: the endpoints of a service as methods, with its types."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from micro._client import payloads
from micro._client.drift import RECHECK, DriftCheck, Expected, OnDrift
from micro._errors import ConfigError, InvalidAnswerError, RemoteServiceError
from micro._handlers.bound_handler import UNSET
from micro._handlers.codec import Codec
from micro._handlers.declared import handlers_of, public_methods, service_of
from micro._handlers.streaming import item_type
from micro._handlers.typed import is_request, signature_of
from micro._handlers.typed_codecs import Decoder, Encoder, decoder_of, encoder_of
from micro._protocol.subjects import check_name

if TYPE_CHECKING:
    from micro._client.client import Client

A = TypeVar("A")

INVALID_REQUEST = 400


class Binding(NamedTuple):
    """The values that the methods of a bound client share.

    Attributes:
        client: The client that sends the requests.
        service: The name of the service; empty when it is not known.
        timeout: Seconds to wait for an answer.
        headers: Further headers of each request.
        drift: The comparison with the service; None without one.
    """

    client: Client
    service: str
    timeout: float
    headers: Mapping[str, str] | None
    drift: DriftCheck | None


class BoundClient:
    """The endpoints of a service as methods; made by `Client.bind`."""

    def __init__(self, name: str, methods: Mapping[str, Callable[..., Any]]) -> None:
        self.__name = name
        vars(self).update(methods)

    def __repr__(self) -> str:
        return f"<client of {self.__name}>"


def bind(  # noqa: PLR0913 - options, all keyword-only
    api: Callable[..., A],
    client: Client,
    service: str | None,
    *,
    timeout: float,
    headers: Mapping[str, str] | None,
    on_drift: OnDrift = "raise",
    recheck: float = RECHECK,
) -> A:
    """Return a client of a declaration; see `Client.bind`."""
    if not isinstance(api, type):
        raise ConfigError(f"invalid declaration {api!r}: expected a class or a Protocol")
    declared = service_of(api)
    name = service if service is not None else "" if declared is None else declared.name
    if name:
        check_name("service", name)
    handlers = handlers_of(api)
    endpoints = {name: each for name, each in handlers.items() if each.kind == "endpoint"}
    if not endpoints and not name:
        raise ConfigError(
            f"invalid declaration {api.__qualname__!r}: expected methods with micro.endpoint, or "
            "the name of the service"
        )
    drift = DriftCheck(client, name, on_drift, recheck) if name else None
    binding = Binding(client, name, timeout, headers, drift)
    inherited = None if declared is None else declared.options.get("codec")
    methods: dict[str, Callable[..., Any]] = {}
    for method in endpoints or (name for name in public_methods(api) if name not in handlers):
        mark = endpoints.get(method)
        place = (method, "") if mark is None else (mark.name, mark.subject)
        codec = inherited
        group = None if mark is None else mark.group
        while group is not None and codec is inherited:
            codec, group = group.options.get("codec") or codec, group.parent
        if mark is not None:
            codec = mark.options.get("codec") or codec
        made = _method(getattr(api, method), place, binding, codec)
        if made is not None:
            methods[method] = made
    bound: Any = BoundClient(api.__qualname__, methods)
    return bound  # type: ignore[no-any-return]  # it has the methods of the declaration


def _method(
    function: Callable[..., Any], place: tuple[str, str], binding: Binding, codec: Codec | None
) -> Callable[..., Any] | None:
    """Return the method that calls an endpoint; None for a raw handler, which has no types."""
    own = MethodType(function, object())  # without self
    payload, taken, wants_request, result = signature_of(own)
    if taken is None and payload is UNSET and wants_request and result in (UNSET, None, type(None)):
        return None
    _refuse_defaults(own)
    item = item_type(function, result)
    if binding.drift is not None and (taken is not None or item is not None):
        _expect_stream(binding.drift, place, payload, result if item is None else item, codec)
    if taken is not None:
        kinds = _Kinds(payload is not UNSET, result if item is None else item, item is None)
        return _upload(binding, place, inspect.signature(own), kinds, codec)
    if item is not None:
        return _stream(binding, place, _argument_of(own, payload is not UNSET), item, codec)
    returns = Any if result is UNSET else result
    decoder = decoder_of(returns, codec) if returns not in (None, type(None)) else None
    encoder = None if payload is UNSET else encoder_of(payload, codec)
    if binding.drift is not None:
        binding.drift.expect(*place, _expected(payload, returns, codec, encoder, decoder))
    return _call(binding, place, _argument_of(own, encoder is not None), encoder, decoder)


def _expect_stream(
    drift: DriftCheck, place: tuple[str, str], payload: Any, returned: Any, codec: Codec | None
) -> None:
    """Have the schemas of a stream compared: of its payload, and of its items or its answer."""
    of = Any if returned is UNSET else returned
    decoder = None if of in (None, type(None)) else decoder_of(of, codec)
    encoder = None if payload is UNSET else encoder_of(payload, codec)
    drift.expect(*place, _expected(payload, of, codec, encoder, decoder))


async def _checked(drift: DriftCheck | None, place: tuple[str, str]) -> str:
    """Return the subject of an endpoint, after the comparison of its schemas if that is due."""
    endpoint, subject = place
    if drift is not None and drift.is_due(endpoint):
        await drift.before(endpoint)
    return subject


def _expected(
    payload: Any,
    returns: Any,
    codec: Codec | None,
    encoder: Encoder | None,
    decoder: Decoder | None,
) -> Expected:
    typed = encoder is not None and payload is not bytes
    reads = decoder is not None and returns is not bytes
    return Expected(
        encoder if typed else None,
        decoder_of(payload, codec) if typed else None,
        decoder if reads else None,
        encoder_of(returns, codec) if reads else None,
    )


def _refuse_defaults(function: Callable[..., Any]) -> None:
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.default is not UNSET and not is_request(parameter.annotation):
            name = getattr(function, "__qualname__", "")
            raise ConfigError(
                f"invalid endpoint {name!r}: parameter {parameter.name!r} has a default, so the "
                "service does not fill it"
            )


def _argument_of(function: Callable[..., Any], takes_one: bool) -> Callable[..., Any]:
    """Return what reads the payload from the arguments of a call."""
    signature = inspect.signature(function)
    first = next(iter(signature.parameters), "")

    def read(*arguments: Any, **named: Any) -> Any:
        given = signature.bind(*arguments, **named)
        given.apply_defaults()
        return given.arguments[first] if takes_one else UNSET

    return read


def _subject_of(place: tuple[str, str]) -> str:
    """Return the subject of an endpoint with streams."""
    endpoint, subject = place
    if not subject:
        raise ConfigError(
            f"invalid endpoint {endpoint!r}: a stream needs a subject, declare it by micro.endpoint"
        )
    return subject


def _stream(
    binding: Binding,
    place: tuple[str, str],
    argument_of: Callable[..., Any],
    item: Any,
    codec: Codec | None,
) -> Callable[..., Any]:
    """Return the method that reads the items of a streaming endpoint."""
    subject = _subject_of(place)
    of = Any if item is UNSET else item
    headers = dict(binding.headers) if binding.headers else None

    def read(*arguments: Any, **named: Any) -> Any:
        value = argument_of(*arguments, **named)
        stream = binding.client.stream(subject, value, of=of, headers=headers, codec=codec)
        stream.__find__ = partial(_checked, binding.drift, place)
        return stream

    return read


class _Kinds(NamedTuple):
    """Whether an uploading method has a payload, what it returns, and whether that is one value."""

    has_payload: bool
    returns: Any
    one: bool


def _upload(
    binding: Binding,
    place: tuple[str, str],
    signature: inspect.Signature,
    kinds: _Kinds,
    codec: Codec | None,
) -> Callable[..., Any]:
    """Return the method that sends items to an endpoint."""
    subject = _subject_of(place)
    of = Any if kinds.returns is UNSET else kinds.returns
    headers = dict(binding.headers) if binding.headers else None
    client, timeout = binding.client, binding.timeout

    async def one(payload: Any, items: Any) -> Any:
        try:
            await _checked(binding.drift, place)
        except BaseException:
            if hasattr(items, "aclose"):
                await items.aclose()
            raise
        return await client.call(
            subject,
            payload,
            returns=None if of is type(None) else of,
            send=items,
            timeout=timeout,
            headers=headers,
            codec=codec,
        )

    def send(*arguments: Any, **named: Any) -> Any:
        given = signature.bind(*arguments, **named)
        given.apply_defaults()
        values = list(given.arguments.values())
        payload = values.pop(0) if kinds.has_payload else UNSET
        items = values[0]
        if kinds.one:
            return one(payload, items)
        stream = client.stream(subject, payload, of=of, send=items, headers=headers, codec=codec)
        stream.__find__ = partial(_checked, binding.drift, place)
        return stream

    return send


def _call(
    binding: Binding,
    place: tuple[str, str],
    argument_of: Callable[..., Any],
    encoder: Encoder | None,
    decoder: Decoder | None,
) -> Callable[..., Awaitable[Any]]:
    client, drift, (endpoint, declared) = binding.client, binding.drift, place
    form = None if encoder is None else encoder.form.headers
    headers = {**(form or {}), **(binding.headers or {})} or None
    decode, timeout = payloads.Reader(decoder), binding.timeout

    async def send(subject: str, data: bytes) -> Any:
        answer = await client.request(subject, data, headers, timeout)
        return decode(answer.data, subject)

    async def call(*arguments: Any, **named: Any) -> Any:
        if encoder is None or named or len(arguments) != 1:
            arguments = (argument_of(*arguments, **named),)
        data = b"" if encoder is None else payloads.written(encoder, arguments[0])
        if drift is not None and drift.is_due(endpoint):
            await drift.before(endpoint)
        try:
            if declared:
                return await send(declared, data)
            return await client.__directory__.calling(
                binding.service, endpoint, lambda subject: send(subject, data)
            )
        except (RemoteServiceError, InvalidAnswerError) as error:
            of_payload = isinstance(error, InvalidAnswerError) or error.code == INVALID_REQUEST
            if drift is not None and of_payload:
                await drift.after(endpoint, error)
            raise

    call.__name__ = endpoint
    return call
