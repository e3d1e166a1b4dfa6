"""Which subscriptions a server has refused."""

from __future__ import annotations

import re
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from nats.aio.client import Client as NatsClient

from micro._errors import PermissionDeniedError
from micro._wire import nats_py

# nats-py lower-cases what the server says, so subjects are compared without regard to case.
_REFUSED = re.compile(r'permissions violation for subscription to "([^"]+)"')

_refused: WeakKeyDictionary[NatsClient, set[str]] = WeakKeyDictionary()


def expect(nc: NatsClient, subjects: Iterable[str]) -> None:
    """Watch for refusals of subjects that are about to be subscribed to; earlier ones are forgotten."""
    nats_py.watch_errors(nc, _record)
    known = _refused.get(nc)
    if known:
        known.difference_update(subject.lower() for subject in subjects)


def check(nc: NatsClient, subjects: Iterable[str], owner: str) -> None:
    """Fail if the server has refused one of these subjects; call it behind a fence.

    Raises:
        PermissionDeniedError: It has, by name.
    """
    known = _refused.get(nc)
    if not known:
        return
    refused = tuple(subject for subject in subjects if subject.lower() in known)
    if refused:
        raise PermissionDeniedError(refused, owner)


def _record(nc: NatsClient, error: Exception) -> None:
    found = _REFUSED.search(str(error).lower())
    if found:
        _refused.setdefault(nc, set()).add(found.group(1))
