"""Subscriptions that a server has refused."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nats.aio.client import Client as NatsClient

from micro._errors import PermissionDeniedError
from micro._wire import nats_py
from micro._wire.client_state import state_of

# nats-py lower-cases the errors of the server, so subjects are compared in lower case.
_REFUSED = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"')


def refused(text: str) -> tuple[str, str] | None:
    """Return the action and the subject, in lower case, of a permissions violation.

    The action is `publish` or `subscription`.
    """
    violation = _REFUSED.search(text.lower())
    return None if violation is None else (violation[1], violation[2])


def expect(nc: NatsClient, subjects: Iterable[str]) -> None:
    """Forget earlier refusals of subjects, record new ones; call it before subscribing."""
    nats_py.watch_errors(nc, _record)
    known = state_of(nc).refused
    if known:
        known.difference_update(subject.lower() for subject in subjects)


def check(nc: NatsClient, subjects: Iterable[str], owner: str) -> None:
    """Check that the server has accepted subscriptions; call it after a fence.

    Raises:
        PermissionDeniedError: The server refused one of the subjects.
    """
    known = state_of(nc).refused
    if not known:
        return
    denied = tuple(subject for subject in subjects if subject.lower() in known)
    if denied:
        raise PermissionDeniedError(denied, owner)


def _record(nc: NatsClient, error: Exception) -> None:
    action, subject = refused(str(error)) or ("", "")
    if action == "subscription":
        state_of(nc).refused.add(subject)
