"""Contracts: typed endpoints register their schemas; a breaking change does not start."""

import asyncio
import logging
import pickle
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from nats.aio.client import Client
from pydantic import BaseModel
from tests.micro_schema_registry.conftest import NewRegistry
from tests.micro_schema_registry.jetstream import JetStreamServer

import micro
from micro._service import contracts
from micro_schema_registry import EmbeddedRegistry, SchemaNotFoundError, SchemaRegistry

Handler = Callable[..., Awaitable[Any]]


class Order(BaseModel):
    id: str
    quantity: int = 1


class OrderWithNote(BaseModel):
    id: str
    quantity: int = 1
    note: str = ""


class OrderWithCustomer(BaseModel):
    id: str
    quantity: int = 1
    customer: str


class Receipt(BaseModel):
    number: int
    total: float


class ReceiptWithTax(Receipt):
    tax: float


class ReceiptWithoutTotal(BaseModel):
    number: int


async def place(order: Order) -> Receipt:
    return Receipt(number=1, total=order.quantity)


async def place_with_note(order: OrderWithNote) -> ReceiptWithTax:
    return ReceiptWithTax(number=1, total=order.quantity, tax=0)


async def place_with_customer(order: OrderWithCustomer) -> Receipt:
    return Receipt(number=1, total=order.quantity)


async def place_without_total(order: Order) -> ReceiptWithoutTotal:
    return ReceiptWithoutTotal(number=order.quantity)


async def echo(request: micro.Request) -> None:
    await request.respond(request.data())


@pytest.fixture
async def ctx(jetstream: JetStreamServer) -> AsyncIterator[micro.Context]:
    async with micro.Context() as context:
        await context.connect(micro.options.servers(jetstream.url))
        yield context


@pytest.fixture
def name() -> str:
    return f"orders-{uuid.uuid4().hex}"


@pytest.fixture
async def registry(new_registry: NewRegistry) -> SchemaRegistry:
    return await new_registry()


async def start(
    ctx: micro.Context, name: str, registry: Any, handler: Handler, **options: Any
) -> dict[str, str]:
    """Start a service with one endpoint; return that endpoint's metadata."""
    service = await ctx.add_service(name, "1.0.0", contracts=registry, **options)
    await service.add_endpoint("place", handler)
    return service.info().endpoints[0].metadata


async def test_schemas_are_registered_and_named_in_the_metadata(
    ctx: micro.Context, name: str, registry: SchemaRegistry
) -> None:
    metadata = await start(ctx, name, registry, place)

    for part in ("request", "response"):
        held = await registry.get_schema(f"place.{part}", group_id=name)
        ids = re.fullmatch(
            r"JSON;global=(\d+);content=(\d+);sha256=(\w{64})", metadata[f"schema.{part}"]
        )
        assert ids is not None
        assert (int(ids[1]), int(ids[2])) == (held.global_id, held.content_id)
        by_hash = await registry.get_content("contentHash", ids[3])
        assert by_hash.schema == held.schema
    answer = await registry.get_schema("place.response", group_id=name)
    assert answer.schema["required"] == ["number", "total"]
    assert await registry.get_rules(artifact_id="place.request", group_id=name) == {
        "COMPATIBILITY": "BACKWARD"
    }
    assert await registry.get_rules(artifact_id="place.response", group_id=name) == {
        "COMPATIBILITY": "FORWARD"
    }


async def test_many_instances_share_one_version(
    ctx: micro.Context, name: str, registry: SchemaRegistry
) -> None:
    started = await asyncio.gather(*(start(ctx, name, registry, place) for _ in range(5)))

    assert all(metadata == started[0] for metadata in started)
    assert (await registry.list_versions("place.request", group_id=name)).count == 1


async def test_an_optional_member_may_be_added(
    ctx: micro.Context, name: str, registry: SchemaRegistry
) -> None:
    await start(ctx, name, registry, place)
    metadata = await start(ctx, name, registry, place_with_note)

    held = await registry.get_schema("place.request", group_id=name)
    assert f";global={held.global_id};" in metadata["schema.request"]
    assert (await registry.list_versions("place.response", group_id=name)).count == 2


@pytest.mark.parametrize(
    ("handler", "artifact", "member"),
    [
        (place_with_customer, "place.request", "customer"),
        (place_without_total, "place.response", "total"),
    ],
    ids=["new required member", "member no longer sent"],
)
async def test_an_incompatible_change_does_not_start(
    ctx: micro.Context,
    name: str,
    registry: SchemaRegistry,
    handler: Handler,
    artifact: str,
    member: str,
) -> None:
    await start(ctx, name, registry, place)

    with pytest.raises(micro.IncompatibleContractError) as caught:
        await start(ctx, name, registry, handler)

    assert (caught.value.service, caught.value.artifact) == (name, artifact)
    assert caught.value.causes
    assert all(cause in str(caught.value) for cause in caught.value.causes)
    assert (await registry.list_versions(artifact, group_id=name)).count == 1
    loaded = pickle.loads(pickle.dumps(caught.value))
    assert (str(loaded), loaded.causes) == (str(caught.value), caught.value.causes)


async def test_the_refused_endpoint_is_not_there(
    ctx: micro.Context, name: str, embedded: EmbeddedRegistry, nc: Client
) -> None:
    await start(ctx, name, embedded, place)
    service = await ctx.add_service(name, "2.0.0", contracts=embedded)

    with pytest.raises(micro.IncompatibleContractError):
        await service.add_endpoint("place", place_with_customer, subject="other")

    assert service.info().endpoints == []


async def test_a_warning_lets_it_start_without_ids(
    ctx: micro.Context, name: str, embedded: EmbeddedRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    await start(ctx, name, embedded, place)

    with caplog.at_level(logging.WARNING, "micro.contracts"):
        metadata = await start(ctx, name, embedded, place_with_customer, on_incompatible="warn")

    assert re.fullmatch(r"JSON;sha256=\w{64}", metadata["schema.request"])
    assert "'place.request'" in caplog.text
    assert "customer" in caplog.text


async def test_a_rule_of_the_group_is_left_alone(
    ctx: micro.Context, name: str, embedded: EmbeddedRegistry
) -> None:
    await embedded.set_rule("COMPATIBILITY", "NONE", group_id=name)
    await start(ctx, name, embedded, place)
    await start(ctx, name, embedded, place_with_customer)

    assert await embedded.get_rules(artifact_id="place.request", group_id=name) == {}


async def test_raw_handlers_have_no_contract(
    ctx: micro.Context, name: str, embedded: EmbeddedRegistry
) -> None:
    assert await start(ctx, name, embedded, echo) == {}
    with pytest.raises(SchemaNotFoundError):
        await embedded.get_version("place.request", group_id=name)


async def test_given_metadata_comes_first(
    ctx: micro.Context, name: str, embedded: EmbeddedRegistry
) -> None:
    service = await ctx.add_service(name, "1.0.0", contracts=embedded)
    await service.add_endpoint("place", place, metadata={"schema.request": "mine"})

    assert service.info().endpoints[0].metadata["schema.request"] == "mine"


async def test_a_registry_that_is_down_does_not_keep_a_service_from_starting(
    ctx: micro.Context, name: str, caplog: pytest.LogCaptureFixture, nc: Client
) -> None:
    """The bucket does not answer: only the first endpoint waits, within the bound of all."""
    registry = EmbeddedRegistry(nc, "g", bucket="no bucket can have this name", timeout=0.2)

    with caplog.at_level(logging.WARNING, "micro.contracts"):
        metadata = await start(ctx, name, registry, place)

    assert re.fullmatch(r"JSON;sha256=\w{64}", metadata["schema.request"])
    assert f"service {name} starts without a contract for place.request" in caplog.text
    assert (await micro.Client(nc).request("place", b'{"id": "a"}', timeout=10)).data


class Silent:
    """A registry that answers no call."""

    def __getattr__(self, name: str) -> Any:
        async def never(*args: Any, **kwargs: Any) -> None:
            await asyncio.Event().wait()

        return never


async def test_a_silent_registry_is_waited_for_five_seconds_in_all(
    ctx: micro.Context, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Two endpoints have four schemas."""
    service = await ctx.add_service(name, "1.0.0", contracts=Silent())
    began = time.monotonic()

    await service.add_endpoint("place", place)
    await service.add_endpoint("again", place)

    assert 5 <= time.monotonic() - began < 15
    assert caplog.text.count("starts without a contract") == 1
    assert len(service.info().endpoints) == 2


def test_on_incompatible_has_two_values(nc: Client) -> None:
    registry = EmbeddedRegistry(nc, "g")

    with pytest.raises(micro.ConfigError, match="expected 'refuse' or 'warn'"):
        micro.add_service(nc, "orders", "1.0.0", contracts=registry, on_incompatible="no")  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("attempt", range(3))
async def test_of_two_incompatible_instances_that_start_together_one_does_not_start(
    ctx: micro.Context,
    name: str,
    registry: SchemaRegistry,
    attempt: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contracts, "PATIENCE", 60.0)  # a busy machine checks slowly
    outcomes = await asyncio.gather(
        start(ctx, name, registry, place),
        start(ctx, name, registry, place_with_customer),
        return_exceptions=True,
    )

    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "IncompatibleContractError",
        "dict",
    ]


async def test_endpoints_of_one_name_in_different_groups_have_contracts_of_their_own(
    ctx: micro.Context, name: str, registry: SchemaRegistry
) -> None:
    service = await ctx.add_service(name, "1.0.0", contracts=registry)
    await service.add_endpoint("place", place)
    await service.add_group("v2").add_endpoint("place", place_with_customer)
    await service.add_group("v3").add_group("eu").add_endpoint("place", place_without_total)

    for artifact in ("place", "v2.place", "v3.eu.place"):
        await registry.get_schema(f"{artifact}.request", group_id=name)
