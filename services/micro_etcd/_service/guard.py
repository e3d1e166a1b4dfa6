"""The middleware around every endpoint of the service: its namespace, its errors, its reply."""

from collections.abc import Callable

from micro import Middleware, NextHandler, Request, Response, ServiceError
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
        except EtcdError as error:
            failures[error.name] = failures.get(error.name, 0) + 1
            raise to_service_error(error) from error
        except ServiceError as error:  # of the typed handler: the body is invalid
            if error.code != 400 or ERROR in error.headers:
                raise
            headers = {**error.headers, **_UNREADABLE}
            raise ServiceError(
                error.code, error.description, data=error.data, headers=headers
            ) from error
        if not response.headers():
            response.add_header("Content-Type", _JSON)
        return response

    return guarded


def _check_size(response: Response, limit: int) -> None:
    size = len(response.data())
    if size > limit:
        raise EtcdPayloadTooLargeError(
            f"the answer has {size} bytes, a message carries {limit}", size=size
        )
