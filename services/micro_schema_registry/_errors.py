"""The errors of a registry.

RegistryError                        status, name, detail and causes of the problem document
├── InvalidArgumentError             also ValueError: no registry can take it; nothing was sent
├── ClosedError                      also micro.ClosedError: the client was used after closing
├── RegistryConnectionError          url: no usable answer (transport, 429, 5xx, not JSON)
│   ├── AuthenticationError          no token, or a refused one (401, 403)
│   └── RequestRefusedError          any other 4xx: repeating the request changes nothing
├── SchemaNotFoundError              group_id, artifact_id, version | id_type, id_value
├── SchemaRegistrationError          artifact_id, cause: the registry refused the content
│   ├── SchemaExistsError            if_exists="FAIL", and the artifact exists
│   ├── InvalidSchemaError           the content is not valid for its artifact type
│   └── IncompatibleSchemaError      the content breaks a rule; causes say where
└── CodecError                       cause: a value could not be encoded or decoded
    ├── ResolverError                no artifact id could be derived
    ├── SerializationError           also ValueError: the value does not fit its schema
    ├── DeserializationError         the payload does not fit its schema or framing
    └── InvalidPayloadError          also ValueError: the JSON value breaks its schema; causes
"""

from dataclasses import dataclass
from typing import Any, Self, TypeVar

import micro


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason why content was refused; `context` is its place, often a path."""

    description: str
    context: str = ""

    def __str__(self) -> str:
        return f"{self.description} at {self.context}" if self.context else self.description


@dataclass(frozen=True, slots=True)
class Problem:
    """A registry's account of a failure.

    `status` is the HTTP status. `name` is the kind, for Apicurio the Java exception class
    (`RuleViolationException`). It says more than the status: a rule violation is 409 up to
    Apicurio 3.2 and 400 from 3.3.
    """

    status: int
    name: str = ""
    title: str = ""
    detail: str = ""
    causes: tuple[Cause, ...] = ()

    def __str__(self) -> str:
        reason = self.title or self.detail or self.name or "no reason given"
        # Apicurio's title often lists the causes.
        causes = "; ".join(str(cause) for cause in self.causes if str(cause) not in reason)
        return f"{self.status} {reason}" + (f": {causes}" if causes else "")


class RegistryError(Exception):
    """Any failure of a registry; picklable, with the registry's account in `problem`."""

    def __init__(self, message: str, *, problem: Problem | None = None) -> None:
        super().__init__(message if problem is None else f"{message}: {problem}")
        self.problem = problem

    @property
    def status(self) -> int | None:
        """The HTTP status; None without an answer."""
        return None if self.problem is None else self.problem.status

    @property
    def name(self) -> str:
        """The registry's name of the problem, such as `VersionAlreadyExistsException`, or ""."""
        return "" if self.problem is None else self.problem.name

    @property
    def detail(self) -> str:
        """The registry's longer text, or ""."""
        return "" if self.problem is None else self.problem.detail

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The reasons, one for each place in the content."""
        return () if self.problem is None else self.problem.causes

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException would call __init__ with the finished message as its only argument.
        return _rebuild, (type(self), self.args, self.__dict__)


E = TypeVar("E", bound=RegistryError)


def _rebuild(cls: type[E], args: tuple[Any, ...], state: dict[str, Any]) -> E:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidArgumentError(RegistryError, ValueError):
    """An argument that no registry can take; it was refused before anything was sent."""


class ClosedError(RegistryError, micro.ClosedError):
    """The client was used after it had been closed."""

    def __init__(self) -> None:
        super().__init__("client is closed")


class RegistryConnectionError(RegistryError):
    """No usable answer from `url`; `__cause__` is the transport's error, if there was one."""

    def __init__(self, url: str, reason: str = "", *, problem: Problem | None = None) -> None:
        super().__init__(
            f"no usable answer from {url!r}" + (f": {reason}" if reason else ""), problem=problem
        )
        self.url = url


class AuthenticationError(RegistryConnectionError):
    """No token could be had, or the registry did not accept it."""


class RequestRefusedError(RegistryConnectionError):
    """The registry refused the request; repeating it changes nothing."""


class SchemaNotFoundError(RegistryError):
    """There is no such schema; attributes that were not part of the question are None."""

    def __init__(
        self,
        group_id: str,
        artifact_id: str,
        *,
        version: str | None = None,
        problem: Problem | None = None,
    ) -> None:
        which = "" if version is None else f" in version {version!r}"
        super().__init__(f"no schema {artifact_id!r}{which} in group {group_id!r}", problem=problem)
        self.group_id: str | None = group_id
        self.artifact_id: str | None = artifact_id
        self.version = version
        self.id_type: str | None = None
        self.id_value: int | str | None = None

    @classmethod
    def from_id(cls, id_type: str, id_value: int | str, *, problem: Problem | None = None) -> Self:
        """Return the error for an id; `id_type` is globalId, contentId or contentHash."""
        error = cls.__new__(cls)
        RegistryError.__init__(error, f"no schema with {id_type} {id_value!r}", problem=problem)
        error.group_id = error.artifact_id = error.version = None
        error.id_type, error.id_value = id_type, id_value
        return error


class SchemaRegistrationError(RegistryError):
    """A schema was not registered; `cause` is the error below it, if there is one."""

    def __init__(
        self,
        artifact_id: str,
        cause: Exception | None = None,
        *,
        problem: Problem | None = None,
    ) -> None:
        message = f"schema {artifact_id!r} was not registered"
        # A problem says the same as its error, and more.
        if cause is not None and problem is None:
            message += f": {cause}"
        super().__init__(message, problem=problem)
        self.artifact_id = artifact_id
        self.cause = cause


class SchemaExistsError(SchemaRegistrationError):
    """The artifact exists and `if_exists` is `FAIL`, or the version name is taken."""


class InvalidSchemaError(SchemaRegistrationError):
    """The content is not a valid schema of its artifact type."""


class IncompatibleSchemaError(SchemaRegistrationError):
    """The content breaks a rule of its artifact, group or registry; `causes` say where."""


class CodecError(RegistryError):
    """A value could not be encoded or decoded; `cause` is the error below it, if there is one."""

    @property
    def cause(self) -> BaseException | None:
        """The same as `__cause__`."""
        return self.__cause__


class ResolverError(CodecError):
    """No artifact id could be derived from topic and schema."""


class SerializationError(CodecError, ValueError):
    """The value does not fit its schema."""


class DeserializationError(CodecError):
    """The payload is not framed or encoded as its reader expects."""


class InvalidPayloadError(CodecError, ValueError):
    """The JSON value breaks its schema; `causes` say where."""
