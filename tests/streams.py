"""Streams of JetStream that begin empty."""

from __future__ import annotations

import asyncio

from nats.js import JetStreamContext


async def fresh_stream(js: JetStreamContext, name: str, subject: str) -> None:
    """Make a stream without messages.

    nats-server 2.15.1 may give a stream the messages of one of its name that was deleted a moment
    ago; see `findings/jetstream-recreated-stream.sh`.
    """
    await js.add_stream(name=name, subjects=[subject])
    while (await js.stream_info(name)).state.last_seq:
        await js.delete_stream(name)
        await asyncio.sleep(0.05)
        await js.add_stream(name=name, subjects=[subject])
