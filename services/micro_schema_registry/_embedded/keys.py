"""The keys of the bucket; a group or an artifact is one token.

key                                           value
c.<sha256 of text>.<digest of type and refs>  content; its revision is the content id
v.<group>.<artifact>.<slot>                   a change; a version's revision is its global id
h.<group>.<artifact>                          the head: all changes up to a slot, summed up
rules                                         the rules of groups and of the whole registry
skip                                          filler that uses up ids

`c` and `v` are created once and never changed. Heads can be derived from them.

A token is base64url. An id whose token would make a subject longer than the control line of a
server (4,096 bytes) is hashed; such a key cannot be decoded, so its values name the artifact.
"""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

RULES_KEY = "rules"
HEAD_KEYS = "h.*.*"
SKIP_KEY = "skip"
_LONGEST_GROUP = 1366
_LONGEST_KEY = 3200
_HASHED = "="


class Artifact(NamedTuple):
    """The name of an artifact within its group."""

    group_id: str
    artifact_id: str

    @property
    def head_key(self) -> str:
        """The key of the head."""
        return f"h.{self._tokens}"

    def slot_key(self, slot: int) -> str:
        """Return the key of the n-th change, counted from 1."""
        return f"v.{self._tokens}.{slot}"

    @property
    def is_hashed(self) -> bool:
        """Whether the keys do not tell the ids."""
        return _HASHED in self._tokens

    @property
    def _tokens(self) -> str:
        group = _token(self.group_id, _LONGEST_GROUP)
        return f"{group}.{_token(self.artifact_id, _LONGEST_KEY - len(group))}"


def content_pattern(sha256: str) -> str:
    """Return the pattern of the contents that share a text."""
    return f"c.{sha256}.*"


def artifact_of(key: str) -> Artifact | None:
    """Return the artifact that a head or a change belongs to, None if the key is hashed."""
    _, group, artifact, *_ = key.split(".")
    if _HASHED in group + artifact:
        return None
    return Artifact(_text(group), _text(artifact))


def _token(text: str, longest: int) -> str:
    data = text.encode()
    token = urlsafe_b64encode(data).decode().rstrip("=")
    return token if len(token) <= longest else _HASHED + hashlib.sha256(data).hexdigest()


def _text(token: str) -> str:
    return urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
