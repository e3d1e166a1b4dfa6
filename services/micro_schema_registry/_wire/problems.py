"""Registry errors over NATS: sent as a ServiceError with a problem document (RFC 9457).

type                    status                      raised by the client
invalid-request         400                         InvalidArgumentError
not-found               404                         SchemaNotFoundError
exists                  409                         SchemaExistsError
incompatible            409                         IncompatibleSchemaError
invalid-schema          400 or 422                  InvalidSchemaError
not-registered          as the registry says, 503   SchemaRegistrationError
authentication          502                         AuthenticationError
refused                 as the registry says        RequestRefusedError
unavailable             503                         RegistryConnectionError
deadline                504                         RegistryConnectionError
"""

from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from micro import ServiceError
from micro_schema_registry._errors import (
    AuthenticationError,
    Cause,
    IncompatibleSchemaError,
    InvalidArgumentError,
    InvalidSchemaError,
    Problem,
    RegistryConnectionError,
    RegistryError,
    RequestRefusedError,
    SchemaExistsError,
    SchemaNotFoundError,
    SchemaRegistrationError,
)

_LONGEST_DESCRIPTION = 400
"""Characters of a reason in the header; the document has the whole reason."""

# Subclasses first. A violation is 409 or 400 depending on Apicurio's version; here it is 409.
_KINDS: tuple[tuple[type[RegistryError], str, int | None, int], ...] = (
    (SchemaNotFoundError, "not-found", 404, 404),
    (SchemaExistsError, "exists", 409, 409),
    (IncompatibleSchemaError, "incompatible", 409, 409),
    (InvalidSchemaError, "invalid-schema", None, 422),
    (SchemaRegistrationError, "not-registered", None, 503),
    (AuthenticationError, "authentication", 502, 502),
    (RequestRefusedError, "refused", None, 400),
    (RegistryConnectionError, "unavailable", 503, 503),
    (InvalidArgumentError, "invalid-request", 400, 400),
    (RegistryError, "unavailable", 503, 503),
)
_CLASSES: dict[str, type[RegistryError]] = {row[1]: row[0] for row in reversed(_KINDS)}


class _Document(BaseModel):
    type: str
    title: str
    status: int
    name: str = ""
    detail: str = ""
    causes: tuple[Cause, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Question:
    """The names in a request, which become attributes of the raised error."""

    group_id: str = ""
    artifact_id: str = ""
    version: str | None = None
    id_type: str | None = None
    id_value: int | str = 0


def service_error(error: RegistryError) -> ServiceError:
    """Return the answer for an error of the registry behind the service."""
    kind, fixed, default = next(row[1:] for row in _KINDS if isinstance(error, row[0]))
    status = default
    if error.status == 504 and error.name:  # a time limit of the registry, not of a gateway
        kind, status = "deadline", 504
    elif isinstance(error, RegistryConnectionError) and error.status == 500 and error.name:
        kind, fixed = "refused", None  # the registry's account of this request; others may do well
    if fixed is None and error.status is not None and 400 <= error.status <= 500:
        status = error.status
    title = str(error) if error.problem is None else error.problem.title or str(error)
    document = _Document(
        type=kind,
        title=title,
        status=status,
        name=error.name or type(error).__name__,
        detail=error.detail,
        causes=error.causes,
    )
    return _answer(document, str(error))


def refusal(kind: str, status: int, title: str) -> ServiceError:
    """Return the answer for a refusal of the service itself, by a type of the table above."""
    return _answer(_Document(type=kind, title=title, status=status), title)


def raised_again(error: ServiceError, url: str, question: Question) -> Exception:
    """Return the error that an answer of the service describes."""
    try:
        document = _Document.model_validate_json(error.data)
    except ValidationError:  # the framework answered: overload, or an unreadable request
        if error.code == 400:
            details = error.data.decode(errors="replace")
            return InvalidArgumentError(f"{error.description}: {details}: expected another request")
        problem = Problem(error.code, title=error.description)
        refused = RequestRefusedError if 400 <= error.code < 500 else RegistryConnectionError
        return refused(url, problem=problem)
    kind: type[RegistryError] = _CLASSES.get(document.type, RegistryConnectionError)
    if kind is InvalidArgumentError:
        return InvalidArgumentError(document.title)
    problem = Problem(
        document.status, document.name, document.title, document.detail, document.causes
    )
    if kind is SchemaNotFoundError:
        return _missing(question, problem)
    if issubclass(kind, SchemaRegistrationError):
        return kind(question.artifact_id, problem=problem)
    return kind(url, problem=problem)


def _missing(question: Question, problem: Problem) -> SchemaNotFoundError:
    if question.id_type is not None:
        return SchemaNotFoundError.from_id(question.id_type, question.id_value, problem=problem)
    return SchemaNotFoundError(
        question.group_id, question.artifact_id, version=question.version, problem=problem
    )


def _answer(document: _Document, description: str) -> ServiceError:
    line = " ".join(description.split()) or document.type
    if len(line) > _LONGEST_DESCRIPTION:
        line = line[:_LONGEST_DESCRIPTION] + "..."
    return ServiceError(
        document.status,
        line,
        data=document.model_dump_json().encode(),
        headers={"Content-Type": "application/problem+json"},
    )
