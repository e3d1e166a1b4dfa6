"""The answers that exceptions of handlers stand for, by their types."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from micro._errors import ConfigError, NoResponseError, RemoteServiceError, ServiceError
from micro._ratelimit import LimitedLog

_log = LimitedLog(logging.getLogger("micro.exceptions"))

ExceptionAnswer: TypeAlias = int | Callable[[Any], ServiceError]
"""A code, or a function that returns the answer to an exception.

Below 500 the text of the exception is the description of the answer. From 500 on it is the name of
the code, since such a text may say more than a caller should know.
"""

ExceptionHandlers: TypeAlias = Mapping[type[Exception], ExceptionAnswer]
"""The answers by the types of exceptions; the nearest base class counts."""

DEPENDENCY_FAILED = ServiceError(502, "dependency failed")
"""The answer of a handler that lets a `RemoteServiceError` pass."""

LEAST_FAULT = 500


def check_exception_handlers(given: ExceptionHandlers) -> dict[type[Exception], ExceptionAnswer]:
    """Return a copy of exception handlers.

    Raises:
        ConfigError: A key is no type of exceptions, or a value is neither code nor function.
    """
    mapping: object = given
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"invalid exception_handlers {given!r}: expected a mapping of types")
    for kind, answer in mapping.items():
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise ConfigError(f"invalid exception type {kind!r}: expected a subclass of Exception")
        if isinstance(answer, bool) or not (isinstance(answer, int) or callable(answer)):
            raise ConfigError(
                f"invalid answer {answer!r} to {kind.__name__}: expected a code or a function"
            )
        if isinstance(answer, int) and answer < 1:
            raise ConfigError(
                f"invalid answer {answer!r} to {kind.__name__}: expected a positive number"
            )
    return dict(given)


def answer_to(error: BaseException, handlers: ExceptionHandlers) -> ServiceError | None:
    """Return the answer that stands for an exception, None if no handler is for it.

    An error that is an answer by itself, such as a `ServiceError`, needs a handler of its own type.
    """
    if not isinstance(error, Exception) or isinstance(error, NoResponseError):
        return None
    answer = _find(type(error), handlers)
    if answer is None:
        return None
    if isinstance(answer, int):
        return ServiceError(answer, _description(answer, error))
    try:
        made: object = answer(error)
    except Exception as failure:  # noqa: BLE001 - of the user, logged
        name = type(error).__name__
        _log.log(logging.ERROR, f"{name} failed", "the handler of %s failed", name, error=failure)
        return None
    if not isinstance(made, ServiceError):
        name = type(error).__name__
        _log.log(logging.ERROR, name, "the handler of %s returned no ServiceError", name)
        return None
    return made


def _find(kind: type[BaseException], handlers: ExceptionHandlers) -> ExceptionAnswer | None:
    for base in kind.__mro__:
        if base in (ServiceError, RemoteServiceError) and base not in handlers:
            return None
        if base in handlers:
            return handlers[base]
    return None


def _description(code: int, error: Exception) -> str:
    text = str(error) if code < LEAST_FAULT else ""
    if text.strip():
        return text
    try:
        return HTTPStatus(code).phrase.lower()
    except ValueError:
        return "error"
