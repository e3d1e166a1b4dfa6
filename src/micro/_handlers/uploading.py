"""Typed handlers that take many items from their caller: a parameter `AsyncIterator[T]`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from micro._handlers.bound_handler import UNSET, BoundHandler, no_schema
from micro._handlers.codec import Codec
from micro._handlers.request import Request
from micro._handlers.streaming import StreamRequest, answer_with
from micro._handlers.typed_codecs import Decoder, checked, decoder_of, encoder_of, refusal
from micro._protocol.headers import STREAM_END, STREAM_STATE

ONE_ANSWER = {STREAM_STATE: STREAM_END}
"""The header of one answer in place of a stream."""


def uploading(  # noqa: PLR0913 - the parts of a signature
    call: Callable[..., Any],
    payload: Any,
    taken: Any,
    result: Any,
    *,
    item: Any,
    wants_request: bool,
    codec: Codec | None = None,
) -> BoundHandler:
    """Return a handler that takes items, in the form that endpoints run.

    Args:
        call: The handler.
        payload: The type of its payload; `UNSET` if it takes none.
        taken: The type of the items that it takes; `UNSET` if it is not annotated.
        result: The type of its result; `UNSET` if it is not annotated.
        item: The type of the items that it answers with; None for one answer.
        wants_request: Whether it takes the request, too.
        codec: The form of payload, items and result; JSON by default.

    Raises:
        ConfigError: pydantic, or the codec, does not know a type.
    """
    returned = result if item is None else item
    encoder = encoder_of(Any if returned is UNSET else returned, codec)
    reader = decoder_of(Any if taken is UNSET else taken, codec)
    decoder = Decoder(bytes) if payload is UNSET else decoder_of(payload, codec)

    async def handle(request: Request) -> None:
        if not isinstance(request, StreamRequest):
            raise TypeError("a streaming handler needs the request that arrived, not another one")
        first = [] if payload is UNSET else [_decoded(decoder, request.data())]
        last = [request] if wants_request else []

        async def take(items: AsyncIterator[Any]) -> None:
            answer = call(*first, items, *last)
            if item is not None:
                await answer_with(request, answer, encoder.encode)
            else:
                data = encoder.encode(await answer)
                await request.respond(data, {**(encoder.form.headers or {}), **ONE_ANSWER})

        await request.exchange(lambda data: _decoded(reader, data), take)

    return BoundHandler(
        handle if reader.form.codec is None else checked(handle, reader.form.codec),
        no_schema if payload is UNSET else decoder.schema,
        no_schema if returned is UNSET else encoder.schema,
        request=decoder.form,
        response=encoder.form,
        streams=item is not None,
        items_schema=no_schema if taken is UNSET else reader.schema,
        items=reader.form,
        takes=True,
    )


def _decoded(decoder: Decoder, data: bytes) -> Any:
    try:
        return decoder.decode(data)
    except decoder.invalid as error:
        raise refusal(error) from error
