"""Instances that answered a while ago and do not any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from micro.dashboard._overview import Look

KEPT_SECONDS = 600.0
"""How long an instance is missed; afterwards its end was no accident, or is known."""

MAX_MISSED = 1000

_Instance = tuple[str, str]


@dataclass(frozen=True)
class _Seen:
    version: str
    at: float
    looks: int = 0


class Roll:
    """The instances of the latest looks.

    An instance is missing if two looks in a row have no answer of it. A new instance of the same
    service replaces the one that is missing for the longest time, as after a restart.
    """

    def __init__(self) -> None:
        self._present: dict[_Instance, _Seen] = {}
        self._absent: dict[_Instance, _Seen] = {}  # the longest absent first

    def call(self, look: Look, now: float) -> list[dict[str, Any]]:
        """Return the missing instances: `service`, `id`, `version` and `seen_ms`.

        Args:
            look: The latest answers.
            now: The time of the answers, in seconds since the epoch.
        """
        answers = {**look.infos, **look.stats}
        self._absent |= {key: one for key, one in self._present.items() if key not in answers}
        for service, id in answers.keys() - self._present.keys():
            if self._absent.pop((service, id), None) is None:
                self._replace(service)
        self._present = {key: _Seen(one.version, now) for key, one in answers.items()}
        recent = [one for one in self._absent.items() if now - one[1].at <= KEPT_SECONDS]
        self._absent = {
            key: _Seen(one.version, one.at, one.looks + 1) for key, one in recent[-MAX_MISSED:]
        }
        return [
            {"service": name, "id": id, "version": one.version, "seen_ms": round(one.at * 1000)}
            for (name, id), one in self._absent.items()
            if one.looks > 1
        ]

    def _replace(self, service: str) -> None:
        missed = next((key for key in self._absent if key[0] == service), None)
        if missed is not None:
            del self._absent[missed]
