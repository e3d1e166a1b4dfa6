"""A log line for each request, with its outcome and time: `micro run --access-log`."""

from __future__ import annotations

import asyncio
import logging
import time

from micro._errors import RemoteServiceError, ServiceError
from micro._handlers.exceptions import DEPENDENCY_FAILED
from micro._handlers.middleware import NextHandler
from micro._handlers.request import Request, Response
from micro.cli._output import clean

logger = logging.getLogger("micro.access")


async def log_request(request: Request, next: NextHandler) -> Response:
    """Run the rest of the middlewares and the handler, and log what came of it (a middleware).

    Requests that are refused before a handler runs have log lines of their own.
    """
    start = time.perf_counter()
    outcome = "500 internal error"
    try:
        response = await next(request)
    except RemoteServiceError:
        outcome = f"{DEPENDENCY_FAILED.code} {DEPENDENCY_FAILED.description}"
        raise
    except ServiceError as error:
        outcome = f"{error.code} {error.description}"
        raise
    except asyncio.CancelledError:
        outcome = "cancelled"
        raise
    else:
        outcome = f"{len(response.data()):,} bytes"
        return response
    finally:
        elapsed = time.perf_counter() - start
        logger.info(
            "%s: %s in %.2f ms",
            clean(request.subject()),
            clean(outcome),
            1000 * elapsed,
            extra={"subject": request.subject(), "elapsed_ns": round(elapsed * 1e9)},
        )
