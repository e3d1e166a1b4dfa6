"""Subscriptions that a server refuses when they are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple
from weakref import WeakMethod

from nats.aio.client import Client as NatsClient

from micro._errors import ConnectError, MicroError, PermissionDeniedError
from micro._wire import nats_py
from micro._wire.client_state import state_of

# nats-py lower-cases the errors of the server, so subjects are compared in lower case.
_REFUSED = re.compile(
    r'permissions violation for (publish|subscription) to "([^"]+)"(?:.*\(sid "(\d+)"\))?'
)


class Refusal(NamedTuple):
    """An error of the server about a subject.

    Attributes:
        action: `publish` or `subscription`.
        subject: The subject in lower case; None for any, when a limit is reached.
        sid: The id of the subscription, where the server names it.
    """

    action: str
    subject: str | None
    sid: int | None = None

    def error(self, subject: str, owner: str) -> MicroError:
        """Return the error for a subscription that was refused."""
        if self.subject is not None:
            return PermissionDeniedError((subject,), owner)
        return ConnectError(
            f"{owner}: the server refuses the subscription: {nats_py.LIMIT_REACHED}"
        )


Watcher = Callable[[Refusal], None]


def refusal(text: str) -> Refusal | None:
    """Return the refusal in the text of an error, None for other errors."""
    text = text.lower()
    if nats_py.LIMIT_REACHED in text:
        return Refusal("subscription", None)
    violation = _REFUSED.search(text)
    if violation is None:
        return None
    return Refusal(violation[1], violation[2], int(violation[3]) if violation[3] else None)


def watch(nc: NatsClient, watcher: Watcher) -> None:
    """Have a method called with each refusal of a client, as long as its object lives."""
    _listen(nc)
    methods = state_of(nc).watchers
    if WeakMethod(watcher) not in methods:
        methods.append(WeakMethod(watcher))


def _listen(nc: NatsClient) -> None:
    nats_py.keep_open(nc)
    nats_py.watch_errors(nc, _record)


def _record(nc: NatsClient, error: Exception) -> None:
    refused = refusal(str(error))
    if refused is None:
        return
    state = state_of(nc)
    for expectation in state.expectations:
        expectation.refusals.append(refused)
    if state.expectations and refused.subject is None:
        return  # the limit is reached by the subscriptions that are being made
    for method in state.watchers:
        watcher = method()
        if watcher is not None:
            watcher(refused)


class Expectation:
    """Subjects that are about to be subscribed to; a context manager around subscribing and fence.

    Args:
        nc: The connection.
        subjects: The subjects.

    Attributes:
        refusals: The refusals of the server, of other subjects, too.
    """

    def __init__(self, nc: NatsClient, subjects: Iterable[str]) -> None:
        self._nc = nc
        self._subjects = {subject.lower(): subject for subject in subjects}
        self.refusals: list[Refusal] = []

    def __enter__(self) -> Expectation:
        _listen(self._nc)
        state_of(self._nc).expectations.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        state_of(self._nc).expectations.remove(self)

    def refusal(self, owner: str) -> MicroError | None:
        """Return the error if the server refused a subscription; call it after a fence."""
        refused = [each for each in self.refusals if each.action == "subscription"]
        named = dict.fromkeys(each.subject for each in refused)
        denied = tuple(own for name, own in self._subjects.items() if name in named)
        if denied:
            return PermissionDeniedError(denied, owner)
        limit = [each for each in refused if each.subject is None]
        return limit[0].error("", owner) if limit else None

    def refusal_of(self, subject: str, owner: str) -> MicroError | None:
        """Return the error if the server refused the subscription to one of the subjects."""
        for each in self.refusals:
            if each.action == "subscription" and each.subject in (None, subject.lower()):
                return each.error(subject, owner)
        return None
