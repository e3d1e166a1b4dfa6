"""The middleware of every endpoint: namespace, errors, size of the reply."""

from collections.abc import Callable

from micro import Middleware, NextHandler, Request, Response, ServiceError
from micro_etcd._cluster.connection import EtcdAnswerTooLargeError
from micro_etcd._service.namespaces import Namespaces
from micro_etcd._wire.errors import (
    ERROR,
    OUTCOME,
    EtcdPayloadTooLargeError,
    to_service_error,
)
from micro_etcd._wire.headers import MARGIN
from micro_etcd.errors import EtcdError, EtcdInvalidArgumentError

_JSON = "application/json"
_UNREADABLE = {ERROR: EtcdInvalidArgumentError.name, OUTCOME: EtcdInvalidArgumentError.outcome}


def guard(
    namespaces: Namespaces, max_payload: Callable[[], int], failures: dict[str, int]
) -> Middleware:
    """Return the middleware.

    Args:
        namespaces: A request outside of them is refused before its body is read.
        max_payload: Returns how large a message may be now.
        failures: Counts the errors by their stable names.
    """

    async def guarded(request: Request, following: NextHandler) -> Response:
        try:
            namespaces.view(request)
            response = await following(request)
            _check_size(response, max_payload() - MARGIN)
        except EtcdError as refused:
            error = _for_caller(refused)
            failures[error.name] = failures.get(error.name, 0) + 1
            raise to_service_error(error) from refused
        except ServiceError as invalid:  # of the typed handler: the body is
            if invalid.code != 400 or ERROR in invalid.headers:
                raise
            headers = {**invalid.headers, **_UNREADABLE}
            raise ServiceError(
                invalid.code, invalid.description, data=invalid.data, headers=headers
            ) from invalid
        if not response.headers():
            response.add_header("Content-Type", _JSON)
        return response

    return guarded


def _for_caller(error: EtcdError) -> EtcdError:
    if not isinstance(error, EtcdAnswerTooLargeError):
        return error
    return EtcdPayloadTooLargeError(
        f"the answer of etcd has {error.size} bytes, more than a message carries", size=error.size
    )


def _check_size(response: Response, limit: int) -> None:
    size = len(response.data())
    if size > limit:
        raise EtcdPayloadTooLargeError(
            f"the answer has {size} bytes, a message carries {limit}", size=size
        )
