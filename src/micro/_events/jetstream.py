"""Requests to the JetStream API for streams and consumers (ADR-31), by raw requests.

nats-py would reset every field of a consumer that is not given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import nats.errors
from nats.aio.client import Client as NatsClient

from micro._client.requester import requester_of
from micro._errors import ConfigError, ConnectError, JetStreamError
from micro._events.terms import ACK_WAIT, MAX_ACK_PENDING, Terms

API = "$JS.API"
TIMEOUT = 5.0
CONSUMER_NOT_FOUND = 10014
STREAM_NOT_FOUND = 10059
CONSUMER_EXISTS = (10013, 10148)
NANOSECONDS = 1_000_000_000


async def ask(nc: NatsClient, subject: str, body: Mapping[str, Any] | None = None) -> Any:
    """Send a request to the JetStream API and return its answer.

    Raises:
        JetStreamError: The server answered with an error.
        ConnectError: JetStream does not answer.
    """
    payload = b"" if body is None else json.dumps(body).encode()
    try:
        answer = await requester_of(nc).request(f"{API}.{subject}", payload, None, TIMEOUT)
    except nats.errors.NoRespondersError as error:
        raise ConnectError("the server has no JetStream for this account") from error
    except nats.errors.TimeoutError as error:
        raise ConnectError(
            f"JetStream did not answer {API}.{subject} within {TIMEOUT:g} s: "
            "it has no leader, or the user lacks the right to publish there"
        ) from error
    body = json.loads(answer.data)
    failure = body.get("error") if isinstance(body, dict) else None
    if failure:
        raise JetStreamError(
            failure.get("code", 0), failure.get("err_code", 0), failure.get("description", "")
        )
    return body


async def ensure_consumer(nc: NatsClient, terms: Terms, owner: str) -> float:
    """Create the consumer, or update what differs; return its acknowledgement time in seconds.

    Raises:
        ConfigError: The stream does not exist, or the consumer is of another kind.
        JetStreamError: The server refuses the consumer.
        ConnectError: JetStream does not answer.
    """
    try:
        existing = (await ask(nc, f"CONSUMER.INFO.{terms.stream}.{terms.durable}"))["config"]
    except JetStreamError as error:
        if error.err_code == STREAM_NOT_FOUND:
            await _ensure_stream(nc, terms, owner)
        elif error.err_code != CONSUMER_NOT_FOUND:
            raise
        return await _create(nc, terms, owner)
    return await _update(nc, terms, existing, owner)


async def _ensure_stream(nc: NatsClient, terms: Terms, owner: str) -> None:
    given = terms.ensure_stream
    if given is False:
        raise ConfigError(
            f"{owner}: stream {terms.stream!r} does not exist: create it, or set ensure_stream"
        )
    settings = {} if given is True else dict(given)
    config = {"subjects": list(terms.subjects), **settings, "name": terms.stream}
    await ask(nc, f"STREAM.CREATE.{terms.stream}", config)


async def _create(nc: NatsClient, terms: Terms, owner: str) -> float:
    config = {
        "durable_name": terms.durable,
        "name": terms.durable,
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "replay_policy": "instant",
        "max_ack_pending": MAX_ACK_PENDING,
        "ack_wait": round((terms.ack_wait or ACK_WAIT) * NANOSECONDS),
        "max_deliver": -1,  # a message that is given up must not vanish from sight at the server
        **_filters(terms),
    }
    body = {"stream_name": terms.stream, "config": config, "action": "create"}
    try:
        created = await ask(nc, f"CONSUMER.CREATE.{terms.stream}.{terms.durable}", body)
    except JetStreamError as error:
        if error.err_code not in CONSUMER_EXISTS:
            raise _named(error, terms, owner) from error
        # Another instance was faster.
        existing = (await ask(nc, f"CONSUMER.INFO.{terms.stream}.{terms.durable}"))["config"]
        return await _update(nc, terms, existing, owner)
    return float(created["config"]["ack_wait"] / NANOSECONDS)


async def _update(nc: NatsClient, terms: Terms, existing: Mapping[str, Any], owner: str) -> float:
    if existing.get("deliver_subject") or existing.get("ack_policy") != "explicit":
        raise ConfigError(
            f"{owner}: consumer {terms.durable!r} of stream {terms.stream!r} is of another kind: "
            "expected a pull consumer with explicit acknowledgement"
        )
    wanted: dict[str, Any] = _filters(terms)
    if terms.max_deliver is not None:
        wanted["max_deliver"] = -1
    if terms.ack_wait is not None:
        wanted["ack_wait"] = round(terms.ack_wait * NANOSECONDS)
    if existing.get("backoff"):  # it would replace ack_wait
        wanted["backoff"] = None
    kept = {
        name: value
        for name, value in existing.items()
        if name not in ("filter_subject", "filter_subjects") or not terms.subjects
    }
    changed = {name: value for name, value in wanted.items() if existing.get(name) != value}
    config = {name: value for name, value in {**kept, **wanted}.items() if value is not None}
    if changed:
        body = {"stream_name": terms.stream, "config": config, "action": "update"}
        try:
            await ask(nc, f"CONSUMER.CREATE.{terms.stream}.{terms.durable}", body)
        except JetStreamError as error:
            raise _named(error, terms, owner) from error
    return float(config["ack_wait"] / NANOSECONDS)


def _filters(terms: Terms) -> dict[str, Any]:
    match terms.subjects:
        case ():
            return {}
        case (only,):
            return {"filter_subject": only}
        case several:
            return {"filter_subjects": list(several)}


def _named(error: JetStreamError, terms: Terms, owner: str) -> ConfigError:
    return ConfigError(
        f"{owner}: the server refuses consumer {terms.durable!r} of stream {terms.stream!r}: "
        f"{error.description}"
    )


async def check_dead_letter(nc: NatsClient, subject: str, owner: str) -> None:
    """Check that a stream keeps the dead letters.

    Raises:
        ConfigError: No stream has the subject.
        JetStreamError: The server answered with an error.
        ConnectError: JetStream does not answer.
    """
    if not (await ask(nc, "STREAM.NAMES", {"subject": subject})).get("streams"):
        raise ConfigError(f"{owner}: no stream keeps the dead letters on {subject!r}: create one")
