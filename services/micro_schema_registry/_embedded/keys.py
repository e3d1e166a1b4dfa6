"""The keys of the bucket; a group or an artifact is one base64url token.

key                                           value
c.<sha256 of text>.<digest of type and refs>  content; its revision is the content id
v.<group>.<artifact>.<slot>                   a change; a version's revision is its global id
h.<group>.<artifact>                          the head: all changes up to a slot, summed up
rules                                         the rules of groups and of the whole registry

`c` and `v` are created once and never changed. Heads can be derived from them.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

RULES_KEY = "rules"


class Artifact(NamedTuple):
    """The name of an artifact within its group."""

    group_id: str
    artifact_id: str

    @property
    def head_key(self) -> str:
        """The key of the head."""
        return f"h.{_token(self.group_id)}.{_token(self.artifact_id)}"

    def slot_key(self, slot: int) -> str:
        """Return the key of the n-th change, counted from 1."""
        return f"v.{_token(self.group_id)}.{_token(self.artifact_id)}.{slot}"


def head_pattern(group_id: str | None) -> str:
    """Return the pattern of the heads of one group, or of all."""
    return f"h.{'*' if group_id is None else _token(group_id)}.*"


def content_pattern(sha256: str) -> str:
    """Return the pattern of the contents that share a text."""
    return f"c.{sha256}.*"


def artifact_of(key: str) -> Artifact:
    """Return the artifact that a head or a change belongs to."""
    _, group, artifact, *_ = key.split(".")
    return Artifact(_text(group), _text(artifact))


def _token(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _text(token: str) -> str:
    return urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
