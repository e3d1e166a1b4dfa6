"""Every error of the tree: its message, its attributes, its pickles and copies."""

import copy
import pickle
from typing import Any

import pytest

from micro_schema_registry import (
    AuthenticationError,
    Cause,
    ClosedError,
    CodecError,
    DeserializationError,
    IncompatibleSchemaError,
    InvalidArgumentError,
    InvalidPayloadError,
    InvalidSchemaError,
    Problem,
    RegistryConnectionError,
    RegistryError,
    RequestRefusedError,
    ResolverError,
    SchemaExistsError,
    SchemaNotFoundError,
    SchemaRegistrationError,
    SerializationError,
    _errors,
)

PROBLEM = Problem(409, "XException", "some title", "some detail", (Cause("why", "/a"), Cause("b")))
TABLE: list[tuple[RegistryError, str]] = [
    (RegistryError("plain"), "plain"),
    (RegistryError("plain", problem=Problem(500)), "plain: 500 no reason given"),
    (RegistryError("plain", problem=Problem(500, "XException")), "plain: 500 XException"),
    (RegistryError("plain", problem=PROBLEM), "plain: 409 some title: why at /a; b"),
    (
        RegistryError("plain", problem=Problem(400, "", "why at /a", causes=(Cause("why", "/a"),))),
        "plain: 400 why at /a",
    ),
    (ClosedError(), "client is closed"),
    (InvalidArgumentError("invalid x ''"), "invalid x ''"),
    (RegistryConnectionError("http://x"), "no usable answer from 'http://x'"),
    (RegistryConnectionError("http://x", "cut"), "no usable answer from 'http://x': cut"),
    (
        AuthenticationError("http://x", problem=Problem(401, title="Unauthorized")),
        "no usable answer from 'http://x': 401 Unauthorized",
    ),
    (
        RequestRefusedError("http://x", "GET /y", problem=PROBLEM),
        "no usable answer from 'http://x': GET /y: 409 some title: why at /a; b",
    ),
    (SchemaNotFoundError("g", "a"), "no schema 'a' in group 'g'"),
    (SchemaNotFoundError("g", "a", version="3"), "no schema 'a' in version '3' in group 'g'"),
    (SchemaNotFoundError.from_id("globalId", 7), "no schema with globalId 7"),
    (SchemaRegistrationError("a"), "schema 'a' was not registered"),
    (SchemaRegistrationError("a", ValueError("x")), "schema 'a' was not registered: x"),
    (
        SchemaExistsError("a", RequestRefusedError("u", problem=PROBLEM), problem=PROBLEM),
        "schema 'a' was not registered: 409 some title: why at /a; b",
    ),
    (InvalidSchemaError("a"), "schema 'a' was not registered"),
    (
        IncompatibleSchemaError("a", problem=PROBLEM),
        "schema 'a' was not registered: 409 some title: why at /a; b",
    ),
    (CodecError("c"), "c"),
    (ResolverError("r"), "r"),
    (SerializationError("s"), "s"),
    (DeserializationError("d"), "d"),
    (
        InvalidPayloadError("p", problem=Problem(400, causes=(Cause("x", "$"),))),
        "p: 400 no reason given: x at $",
    ),
]


@pytest.mark.parametrize(("error", "message"), TABLE, ids=lambda value: str(value)[:40])
def test_messages_are_these(error: RegistryError, message: str) -> None:
    assert str(error) == message


@pytest.mark.parametrize("error", [error for error, _ in TABLE], ids=str)
@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy])
def test_copies_are_equal(error: RegistryError, copied: Any) -> None:
    twin = copied(error)

    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert twin.problem == error.problem
    assert repr(vars(twin)) == repr(vars(error))


def test_every_error_is_in_the_table() -> None:
    tree = {
        each
        for each in vars(_errors).values()
        if isinstance(each, type) and issubclass(each, RegistryError)
    }

    assert {type(error) for error, _ in TABLE} == tree
    assert all(each.__name__ in str(_errors.__doc__) for each in tree)


def test_the_problem_is_in_the_attributes() -> None:
    error = IncompatibleSchemaError("a", problem=PROBLEM)

    assert (error.status, error.name, error.detail) == (409, "XException", "some detail")
    assert error.causes == (Cause("why", "/a"), Cause("b"))
    assert error.artifact_id == "a"


def test_without_a_problem_the_attributes_are_empty() -> None:
    error = SchemaNotFoundError.from_id("contentId", 3)

    assert (error.status, error.name, error.detail, error.causes) == (None, "", "", ())
    assert (error.group_id, error.artifact_id, error.version) == (None, None, None)
    assert (error.id_type, error.id_value) == ("contentId", 3)
