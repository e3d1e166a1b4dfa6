"""A text where a collection is expected is refused where it is given, in every package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient

import micro
import micro_etcd
import micro_http
from micro import Request
from micro.testing import as_handler
from micro_etcd import EtcdInvalidArgumentError
from micro_schema_registry import InvalidArgumentError, Reference
from micro_schema_registry._model.models import check_references

TEXT: Any = "text"
NUMBER: Any = 5


async def echo(request: Request) -> None:
    await request.respond(request.data())


def service(**keywords: Any) -> Callable[[], object]:
    return lambda: micro.add_service(NatsClient(), "s", "1.0.0", **keywords)


def group(**keywords: Any) -> Callable[[], object]:
    return lambda: micro.add_service(NatsClient(), "s", "1.0.0").add_group("g", **keywords)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (service(middlewares=TEXT), "invalid middlewares 'text': expected a list"),
        (service(middlewares=NUMBER), "invalid middlewares 5: expected a list"),
        (service(middlewares=[TEXT]), "invalid middleware 'text': expected a function"),
        (service(reply_prefixes=TEXT), "invalid reply_prefixes 'text': expected a list"),
        (service(reply_prefixes=[5]), "invalid reply_prefixes (5,): expected texts, not 5"),
        (service(metadata=TEXT), "invalid metadata 'text': expected a dict of strings"),
        (group(middlewares=TEXT), "invalid middlewares 'text': expected a list"),
        (group(reply_prefixes=NUMBER), "invalid reply_prefixes 5: expected a list"),
        (lambda: as_handler(echo, TEXT), "invalid middlewares 'text': expected a list"),
    ],
)
def test_declarations_of_micro(declare: Callable[[], object], message: str) -> None:
    with pytest.raises(micro.ConfigError) as caught:
        declare()
    assert str(caught.value) == message


async def test_delays_of_a_consumer() -> None:
    service = micro.add_service(NatsClient(), "s", "1.0.0")
    with pytest.raises(micro.ConfigError, match="invalid backoff"):
        await service.add_consumer("c", echo, stream="S", backoff=TEXT)


async def test_signals_to_trap() -> None:
    async def setup(context: micro.Context) -> None:
        return

    values: list[Any] = [TEXT, NUMBER, [TEXT]]
    for value in values:
        with pytest.raises(micro.ConfigError, match="invalid trap_signals"):
            await micro.Context().run_forever(setup, trap_signals=value)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: micro_http.RetryPolicy(statuses=TEXT), "invalid statuses 'text'"),
        (lambda: micro_http.RetryPolicy(retry_on=TEXT), "invalid retry_on 'text'"),
        (lambda: micro_http.AsyncResilientClient(observers=TEXT), "invalid observers 'text'"),
        (lambda: micro_http.AsyncRetryTransport(observers=TEXT), "invalid observers 'text'"),
        (lambda: micro_http.RetryTransport(observers=TEXT), "invalid observers 'text'"),
    ],
)
def test_declarations_of_the_http_client(declare: Callable[[], object], message: str) -> None:
    with pytest.raises(micro_http.ConfigError) as caught:
        declare()
    assert str(caught.value) == f"{message}: expected a collection"


def test_statuses_that_are_no_numbers() -> None:
    statuses: Any = ["500"]
    with pytest.raises(micro_http.ConfigError, match="expected numbers from 100 to 599"):
        micro_http.RetryPolicy(statuses=statuses)


def test_arguments_of_the_services() -> None:
    references = [Reference(name="a", artifact_id="b", version="1")]
    assert check_references(references) is references
    for value in (TEXT, [TEXT]):
        with pytest.raises(InvalidArgumentError, match="expected a list of Reference"):
            check_references(value)
    with pytest.raises(EtcdInvalidArgumentError, match="invalid filters 'text': expected a list"):
        micro_etcd.WatchOptions(filters=TEXT)
