"""The log lines of a program that is set up: its services, where they listen, how to stop it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from micro._program.context import Context
from micro._service.service import Service

logger = logging.getLogger("micro.run")

MAX_LISTED = 10
"""Limit on the endpoints and event handlers of a service that are listed."""


def announce(context: Context, *, ending: str) -> None:
    """Log the server, the services, their endpoints and their event handlers.

    Args:
        context: The context, after its setup.
        ending: The last line, which says how the program stops.
    """
    if context.cancelled():
        return
    url = context.client.connected_url
    place = "a NATS server" if url is None else f"{url.scheme}://{url.netloc.rpartition('@')[2]}"
    for service in context.services:
        _announce_service(service, place)
    logger.info("%s", ending)


def _announce_service(service: Service, place: str) -> None:
    info = service.info()
    fields = {"service": info.name, "version": info.version, "instance": info.id}
    counts = [_counted(len(info.endpoints), "endpoint")]
    if info.events:
        counts.append(_counted(len(info.events), "event handler"))
    what = ", ".join(counts)
    logger.info("service %s %s on %s: %s", info.name, info.version, place, what, extra=fields)
    count = len(info.handlers)
    listed = info.handlers[:MAX_LISTED]
    width = max((len(endpoint.name) for endpoint in listed), default=0)
    for endpoint in listed:
        logger.info(
            "  %s  %s",
            endpoint.name.ljust(width),
            endpoint.subject,
            extra={**fields, "endpoint": endpoint.name, "subject": endpoint.subject},
        )
    if count > MAX_LISTED:
        logger.info("  and %d more: micro info %s", count - MAX_LISTED, info.name, extra=fields)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@contextmanager
def default_logging() -> Iterator[None]:
    """Write log lines of micro to standard error, if the program has not configured logging."""
    root, own = logging.getLogger(), logging.getLogger("micro")
    if logger.hasHandlers() or own.level != logging.NOTSET:
        yield
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)-7s %(message)s"))
    handler.addFilter(lambda record: not root.handlers)  # the program may configure it later
    own.addHandler(handler)
    own.setLevel(logging.INFO)
    try:
        yield
    finally:
        own.removeHandler(handler)
        own.setLevel(logging.NOTSET)
