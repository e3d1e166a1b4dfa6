"""The keys of the embedded store, all in one bucket; every group and artifact is one base64url token.

c.<sha256 of the text>.<digest of type and references>   content; its revision is the content id
v.<group>.<artifact>.<slot>                              one change of an artifact; of a version, its revision is the global id
h.<group>.<artifact>                                     the head: all changes up to a slot, put together
rules                                                    the rules of groups and of the whole registry

``c`` and ``v`` are created once and never changed. Everything else can be derived from them, but for the rules of groups.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

RULES_KEY = "rules"


class Artifact(NamedTuple):
    """Name an artifact within its group."""

    group_id: str
    artifact_id: str

    @property
    def head_key(self) -> str:
        """The key of its head."""
        return f"h.{_token(self.group_id)}.{_token(self.artifact_id)}"

    def slot_key(self, slot: int) -> str:
        """Return the key of its n-th change, the first being 1."""
        return f"v.{_token(self.group_id)}.{_token(self.artifact_id)}.{slot}"


def head_pattern(group_id: str | None) -> str:
    """Return the pattern of the heads of one group, or of all."""
    return f"h.{'*' if group_id is None else _token(group_id)}.*"


def content_pattern(sha256: str) -> str:
    """Return the pattern of the contents that share a text."""
    return f"c.{sha256}.*"


def artifact_of(key: str) -> Artifact:
    """Return the artifact that a key of a head or slot belongs to."""
    _, group, artifact, *_ = key.split(".")
    return Artifact(_text(group), _text(artifact))


def _token(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _text(token: str) -> str:
    return urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
