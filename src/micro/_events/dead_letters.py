"""Dead letters: messages that are given up, stored with the reason on a subject of a stream."""

from __future__ import annotations

import json
from collections.abc import Mapping

from nats.aio.client import Client as NatsClient

from micro._client.requester import requester_of
from micro._errors import MicroError
from micro._events.delivery import Delivery
from micro._events.terms import Terms

TIMEOUT = 5.0
MSG_ID = "Nats-Msg-Id"
REASON = "Micro-Dead-Letter-Reason"
COUNT = "Micro-Dead-Letter-Deliveries"
SUBJECT = "Micro-Dead-Letter-Subject"
STREAM = "Micro-Dead-Letter-Stream"
SEQUENCE = "Micro-Dead-Letter-Sequence"
CONSUMER = "Micro-Dead-Letter-Consumer"


async def bury(nc: NatsClient, subject: str, data: bytes, headers: Mapping[str, str]) -> None:
    """Store a dead letter and wait until a stream has it.

    Raises:
        MicroError: No stream has stored it.
        nats.errors.Error: No stream has answered.
    """
    answer = await requester_of(nc).request(subject, data, headers, TIMEOUT)
    failure = json.loads(answer.data).get("error")
    if failure:
        raise MicroError(str(failure.get("description")))


def letter_headers(terms: Terms, delivery: Delivery, reason: str) -> Mapping[str, str]:
    """Return the headers of a dead letter: the original ones, and its history.

    Headers that direct JetStream, such as an expected sequence, do not apply to the letter. Its
    identifier is made of the stream, the sequence, the consumer and the time of the message, so
    that a repeated attempt stores it once. A stream that is made again repeats its sequences.
    """
    metadata = delivery.metadata
    original = {
        name: value
        for name, value in delivery.headers().items()
        if not name.lower().startswith("nats-")
    }
    return {
        **original,
        MSG_ID: ".".join(
            (
                terms.stream,
                str(metadata.stream_sequence),
                terms.durable,
                str(metadata.timestamp_ns),
            )
        ),
        REASON: reason,
        COUNT: str(delivery.delivered),
        SUBJECT: delivery.subject(),
        STREAM: terms.stream,
        SEQUENCE: str(delivery.stream_sequence),
        CONSUMER: terms.durable,
    }
