"""Every documented name with its parameters in order, their defaults, and whether it is awaited.

The table is the documented API, read by hand. Parameters that we add are keyword-only behind it.
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel

import micro

REQUIRED = inspect.Parameter.empty

LIMITS = {"max_wait": None, "max_count": None, "max_interval": None}
GATHER = {"service": None, **LIMITS}
ADD_ENDPOINT = {
    "name": REQUIRED,
    "handler": REQUIRED,
    "subject": None,
    "queue_group": None,
    "metadata": None,
    "pending_bytes_limit": None,
    "pending_msgs_limit": None,
    "middlewares": None,
}
ADD_GROUP = {
    "name": REQUIRED,
    "queue_group": None,
    "pending_bytes_limit_by_endpoint": None,
    "pending_msgs_limit_by_endpoint": None,
}
ADD_SERVICE = {
    "name": REQUIRED,
    "version": REQUIRED,
    "description": None,
    "metadata": None,
    "queue_group": None,
    "pending_bytes_limit_by_endpoint": None,
    "pending_msgs_limit_by_endpoint": None,
    "now": None,
    "id_generator": None,
    "api_prefix": None,
}
ANSWER = {"data": REQUIRED, "headers": None}


class Documented(NamedTuple):
    owner: Any
    name: str
    parameters: dict[str, Any]
    is_async: bool = False
    is_abstract: bool = False


TABLE = [
    Documented(micro.Client, "info", GATHER, is_async=True),
    Documented(micro.Client, "info_iter", GATHER),
    Documented(micro.Client, "instance", {"service": REQUIRED, "id": REQUIRED}),
    Documented(micro.Client, "ping", GATHER, is_async=True),
    Documented(micro.Client, "ping_iter", GATHER),
    Documented(
        micro.Client,
        "request",
        {"subject": REQUIRED, "data": None, "headers": None, "timeout": 1},
        is_async=True,
    ),
    Documented(micro.Client, "service", {"service": REQUIRED}),
    Documented(micro.Client, "stats", GATHER, is_async=True),
    Documented(micro.Client, "stats_iter", GATHER),
    Documented(micro.Context, "add_closed_callback", {"callback": REQUIRED}),
    Documented(micro.Context, "add_disconnected_callback", {"callback": REQUIRED}),
    Documented(micro.Context, "add_error_callback", {"callback": REQUIRED}),
    Documented(micro.Context, "add_reconnected_callback", {"callback": REQUIRED}),
    Documented(micro.Context, "add_service", ADD_SERVICE, is_async=True),
    Documented(micro.Context, "cancel", {}),
    Documented(micro.Context, "cancelled", {}),
    Documented(micro.Context, "connect", {"*options": REQUIRED}, is_async=True),
    Documented(micro.Context, "enter", {"async_context": REQUIRED}, is_async=True),
    Documented(micro.Context, "push", {"callback": REQUIRED}),
    Documented(micro.Context, "reset", {}),
    Documented(
        micro.Context,
        "run_forever",
        {"/setup": REQUIRED, "*options": REQUIRED, "trap_signals": False},
        is_async=True,
    ),
    Documented(micro.Context, "trap_signal", {"*signals": REQUIRED}),
    Documented(micro.Context, "wait", {}, is_async=True),
    Documented(micro.Context, "wait_for", {"coro": REQUIRED}, is_async=True),
    Documented(micro.Group, "add_endpoint", ADD_ENDPOINT, is_async=True),
    Documented(micro.Group, "add_group", ADD_GROUP),
    Documented(micro.Request, "subject", {}, is_abstract=True),
    Documented(micro.Request, "headers", {}, is_abstract=True),
    Documented(micro.Request, "data", {}, is_abstract=True),
    Documented(micro.Request, "respond", ANSWER, is_async=True, is_abstract=True),
    Documented(
        micro.Request,
        "respond_error",
        {"code": REQUIRED, "description": REQUIRED, "data": None, "headers": None},
        is_async=True,
    ),
    Documented(
        micro.Request,
        "respond_success",
        {"code": REQUIRED, "data": None, "headers": None},
        is_async=True,
    ),
    Documented(micro.Service, "__aenter__", {}, is_async=True),
    Documented(micro.Service, "add_endpoint", ADD_ENDPOINT, is_async=True),
    Documented(micro.Service, "add_group", ADD_GROUP),
    Documented(micro.Service, "info", {}),
    Documented(micro.Service, "reset", {}),
    Documented(micro.Service, "start", {}, is_async=True),
    Documented(micro.Service, "stats", {}),
    Documented(micro.Service, "stop", {}, is_async=True),
    Documented(micro, "add_service", {"nc": REQUIRED, **ADD_SERVICE}),
    Documented(
        micro,
        "run",
        {"/setup": REQUIRED, "*options": REQUIRED, "trap_signals": False, "client": None},
    ),
]
INHERITED = {"max_in_flight", "timeout", "reply_prefixes", "exception_handlers", "codec"}
ADDED = {
    "run": {"grace"},
    "add_endpoint": {"stats_handler", "allow_wildcards", *INHERITED},
    "add_group": {"middlewares", *INHERITED},
    "add_service": {
        "middlewares",
        "error_handler",
        "done_handler",
        "contracts",
        "on_incompatible",
        "max_threads",
        *INHERITED,
    },
    "stop": {"timeout"},
}
MODELS: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (
        micro.EndpointInfo,
        {"name": REQUIRED, "subject": REQUIRED, "queue_group": "", "metadata": {}},
    ),
    (
        micro.EndpointStats,
        {
            "name": REQUIRED,
            "subject": REQUIRED,
            "num_requests": 0,
            "num_errors": 0,
            "last_error": "",
            "processing_time": 0,
            "average_processing_time": 0,
            "queue_group": "",
            "data": None,
        },
    ),
    (micro.PingInfo, {"name": REQUIRED, "id": REQUIRED, "version": REQUIRED, "metadata": {}}),
    (
        micro.ServiceInfo,
        {
            "name": REQUIRED,
            "id": REQUIRED,
            "version": REQUIRED,
            "description": "",
            "metadata": {},
            "endpoints": [],
        },
    ),
    (
        micro.ServiceStats,
        {
            "name": REQUIRED,
            "id": REQUIRED,
            "version": REQUIRED,
            "started": REQUIRED,
            "metadata": {},
            "endpoints": [],
        },
    ),
]
BY_NAME = [pytest.param(entry, id=f"{entry.owner.__name__}.{entry.name}") for entry in TABLE]


def shown(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"*{parameter.name}"
    return f"/{parameter.name}" if parameter.kind is parameter.POSITIONAL_ONLY else parameter.name


def expand(parameter: inspect.Parameter) -> list[inspect.Parameter]:
    """Return the keywords that `**options: Unpack[...]` stands for."""
    if parameter.kind is not parameter.VAR_KEYWORD:
        return [parameter]
    assert parameter.annotation == "Unpack[EndpointDefaults]"
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in micro.EndpointDefaults.__annotations__
    ]


@pytest.mark.parametrize("documented", BY_NAME)
def test_documented_parameters_come_first_and_in_order(documented: Documented) -> None:
    function = getattr(documented.owner, documented.name)
    parameters = [
        expanded
        for parameter in inspect.signature(function).parameters.values()
        for expanded in expand(parameter)
        if parameter.name != "self"
    ]
    known = parameters[: len(documented.parameters)]
    assert {shown(parameter): parameter.default for parameter in known} == documented.parameters
    assert [shown(parameter) for parameter in known] == list(documented.parameters)
    added = parameters[len(documented.parameters) :]
    assert {parameter.name for parameter in added} == ADDED.get(documented.name, set())
    assert all(parameter.default is not REQUIRED for parameter in added)
    if documented.name != "stop":
        assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in added)


@pytest.mark.parametrize("documented", BY_NAME)
def test_documented_coroutines_are_awaited(documented: Documented) -> None:
    function = getattr(documented.owner, documented.name)
    awaited = inspect.iscoroutinefunction(function)
    # ``respond`` is a plain function that returns an awaitable: it is awaited all the same.
    returns_awaitable = str(inspect.signature(function).return_annotation) == "Awaitable[None]"
    assert (awaited or returns_awaitable) is documented.is_async


@pytest.mark.parametrize("documented", BY_NAME)
def test_documented_methods_of_requests_are_abstract(documented: Documented) -> None:
    function = getattr(documented.owner, documented.name)
    assert getattr(function, "__isabstractmethod__", False) is documented.is_abstract


def test_exit_of_a_service_takes_what_async_with_gives() -> None:
    parameters = inspect.signature(micro.Service.__aexit__).parameters
    assert len(parameters) == 4
    assert inspect.iscoroutinefunction(micro.Service.__aexit__)


@pytest.mark.parametrize("name", ["info_iter", "ping_iter", "stats_iter"])
def test_iterators_are_async_context_managers(name: str) -> None:
    hint = str(inspect.signature(getattr(micro.Client, name)).return_annotation)
    assert hint.startswith("AbstractAsyncContextManager[AsyncIterator[")


@pytest.mark.parametrize(("model", "fields"), MODELS)
def test_documented_fields_of_models(model: Any, fields: dict[str, Any]) -> None:
    found = {
        name: REQUIRED if field.is_required() else field.get_default(call_default_factory=True)
        for name, field in model.model_fields.items()
        if name != "type"
    }
    assert found == fields
    assert inspect.signature(model.as_dict).parameters.keys() == {"self"}
    assert inspect.signature(model.from_response).parameters.keys() == {"resp"}


def test_service_and_context_add_services_alike() -> None:
    own = list(inspect.signature(micro.add_service).parameters.values())[1:]
    of_context = list(inspect.signature(micro.Context.add_service).parameters.values())[1:]
    assert own == of_context


@pytest.mark.parametrize(
    ("public", "names"),
    [
        (micro.Endpoint, {"name", "subject", "queue_group", "stop", "reset"}),
        (
            micro.Service,
            {
                "add_consumer",
                "add_endpoint",
                "add_group",
                "add_subscriber",
                "id",
                "info",
                "name",
                "reset",
                "refused",
                "start",
                "stats",
                "stop",
                "stopped",
            },
        ),
        (micro.Group, {"add_consumer", "add_endpoint", "add_group", "add_subscriber"}),
    ],
)
def test_public_classes_show_only_what_is_for_users(public: type, names: set[str]) -> None:
    assert {name for name in dir(public) if not name.startswith("_")} == names


def test_names_that_are_not_functions() -> None:
    assert issubclass(micro.ServiceError, Exception)
    assert inspect.isclass(micro.Endpoint)
    assert inspect.isclass(micro.ConnectOption)
    assert "Handler" in micro.__all__


def test_every_public_name_exists_and_names_are_sorted() -> None:
    assert micro.__all__ == sorted(micro.__all__)
    assert all(hasattr(micro, name) for name in micro.__all__)
