"""Calls of Apicurio's REST API (base /apis/registry/v3) and their answers, without any I/O."""

import json
from collections.abc import Generator, Hashable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter, ValidationError

from micro_schema_registry._errors import (
    AuthenticationError,
    Cause,
    IncompatibleSchemaError,
    InvalidSchemaError,
    Problem,
    RegistryConnectionError,
    RequestRefusedError,
    SchemaExistsError,
    SchemaRegistrationError,
)

T = TypeVar("T")

VERSION_EXISTS = "VersionAlreadyExistsException"
ARTIFACT_EXISTS = "ArtifactAlreadyExistsException"
GROUP_NOT_FOUND = "GroupNotFoundException"
ARTIFACT_NOT_FOUND = "ArtifactNotFoundException"

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """A request; `path` is percent-encoded and relative to the registry's URL.

    A `repeatable` request may be sent again after a lost answer: twice has the effect of once.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    content: bytes | None = None
    content_type: str = _JSON
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Pause:
    """A wait of the driver, in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of the registry at `url` to `request` (method and path)."""

    url: str
    request: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the request succeeded."""
        return 200 <= self.status < 300

    def text(self) -> str:
        """Return the body as text.

        Raises:
            RegistryConnectionError: It is not UTF-8.
        """
        try:
            return self.body.decode()
        except UnicodeDecodeError as error:
            raise self.unusable(f"expected UTF-8: {error}") from error

    def read(self, kind: type[T]) -> T:
        """Return the JSON body as a model or plain type.

        Raises:
            RegistryConnectionError: It is something else.
        """
        try:
            return _adapter(kind).validate_json(self.body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = "/".join(str(part) for part in first["loc"])
            reason = f"expected {kind.__name__}: {first['msg']}" + (f" at {where}" if where else "")
            raise self.unusable(reason) from error

    def unusable(self, reason: str) -> RegistryConnectionError:
        """Return the error for an answer of an unexpected form."""
        return RegistryConnectionError(self.url, f"{self.request}: {reason}")


@dataclass(frozen=True, slots=True)
class Shared:
    """An operation that callers of the same key at the same time share; its result is sent."""

    key: Hashable
    operation: "Operation[Any]"


Operation = Generator[Call | Pause | Shared, Answer, T]
"""An operation on the registry: yields calls, is sent their answers, returns its result."""


def post(path: str, body: Mapping[str, Any], *, repeatable: bool = True, **params: str) -> Call:
    """Return a POST of a JSON body."""
    return Call("POST", path, params, json.dumps(body).encode(), repeatable=repeatable)


def put(path: str, body: Mapping[str, Any]) -> Call:
    """Return a PUT of a JSON body."""
    return Call("PUT", path, content=json.dumps(body).encode())


def path(*segments: str | int) -> str:
    """Join segments into a path, each percent-encoded, also `.` and `..`, which URLs resolve."""
    return "".join(f"/{_segment(str(segment))}" for segment in segments)


@lru_cache(maxsize=4096)  # the same few words and ids in every request
def _segment(text: str) -> str:
    if text in {".", ".."}:
        return text.replace(".", "%2E")
    return quote(text, safe="")


def failure(answer: Answer) -> RegistryConnectionError:
    """Return the general error for an answer that is no success."""
    problem = read_problem(answer)
    if answer.status in {401, 403}:
        return AuthenticationError(answer.url, answer.request, problem=problem)
    if 400 <= answer.status < 500 and answer.status not in {408, 429}:
        return RequestRefusedError(answer.url, answer.request, problem=problem)
    return RegistryConnectionError(answer.url, answer.request, problem=problem)


def succeeded(answer: Answer) -> Answer:
    """Return a successful answer; raise the general error for any other."""
    if not answer.ok:
        raise failure(answer)
    return answer


def registration_failure(artifact_id: str, answer: Answer) -> SchemaRegistrationError:
    """Return the error for a refused schema, by the problem's name.

    The status of a rule violation changed from 409 to 400 in Apicurio 3.3.
    """
    cause = failure(answer)
    # A syntax violation has the same name as incompatibility; only the title tells them apart.
    title = "" if cause.problem is None else cause.problem.title
    kind = SchemaRegistrationError
    if cause.name in {VERSION_EXISTS, ARTIFACT_EXISTS}:
        kind = SchemaExistsError
    elif cause.name == "UnprocessableSchemaException" or title.startswith("Syntax"):
        kind = InvalidSchemaError
    elif cause.name == "RuleViolationException":
        kind = IncompatibleSchemaError
    return kind(artifact_id, cause, problem=cause.problem)


def read_problem(answer: Answer) -> Problem:
    """Return the problem document of an answer, else one titled with the start of the body."""
    try:
        body = _ProblemBody.model_validate_json(answer.body)
    except ValidationError:
        return Problem(answer.status, title=answer.body[:200].decode(errors="replace").strip())
    causes = tuple(
        Cause(cause.description or "", cause.context or "") for cause in body.causes or ()
    )
    return Problem(answer.status, body.name or "", body.title or "", body.detail or "", causes)


class _CauseBody(BaseModel):
    description: str | None = None
    context: str | None = None


class _ProblemBody(BaseModel):
    name: str | None = None
    title: str | None = None
    detail: str | None = None
    causes: list[_CauseBody] | None = None


_adapters: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]
