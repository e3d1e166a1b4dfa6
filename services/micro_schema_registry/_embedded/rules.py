"""Rules of the embedded registry: their levels, their precedence, and their verdict on content."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from micro_schema_registry._compatibility import checks
from micro_schema_registry._compatibility.levels import SchemaText, incompatibilities, parse
from micro_schema_registry._embedded.artifact_log import ArtifactLog
from micro_schema_registry._embedded.bucket import Bucket
from micro_schema_registry._embedded.contents import Content, Contents
from micro_schema_registry._embedded.history import Head, Version
from micro_schema_registry._embedded.keys import RULES_KEY, Artifact
from micro_schema_registry._errors import (
    Cause,
    IncompatibleSchemaError,
    InvalidSchemaError,
    Problem,
    RegistryConnectionError,
)
from micro_schema_registry._model.models import LATEST, Reference

Rules = Mapping[str, str]
_LONGEST_CHECK = 30.0
"""Seconds that a check may take; the time of a caller of the service is usually shorter."""
_AT_ONCE = 2000
"""Characters of all schemas of a check that is made at once; the hardest takes some 50 ms."""

_UNIQUE = {"NO_DUPLICATES", "FULL"}
_MAPPED = {"ALL_REFS_MAPPED", "FULL"}


class SharedRules(BaseModel):
    """The rules of groups, by group id, and of the whole registry."""

    model_config = ConfigDict(frozen=True)

    everywhere: dict[str, str] = Field(default_factory=dict)
    groups: dict[str, dict[str, str]] = Field(default_factory=dict)

    def of(self, group_id: str | None) -> dict[str, str]:
        """Return the rules of a group, or of the whole registry."""
        return self.everywhere if group_id is None else self.groups.get(group_id, {})

    def with_rule(self, group_id: str | None, rule: str, config: str | None) -> "SharedRules":
        """Return the rules with one added, or removed if `config` is None."""
        rules = {key: value for key, value in self.of(group_id).items() if key != rule}
        if config is not None:
            rules[rule] = config
        if group_id is None:
            return self.model_copy(update={"everywhere": rules})
        return self.model_copy(update={"groups": {**self.groups, group_id: rules}})


class RuleBook:
    """The shared rules of a bucket, and the check of content against the rules in force."""

    def __init__(self, bucket: Bucket, log: ArtifactLog, contents: Contents) -> None:
        self._bucket = bucket
        self._log = log
        self._contents = contents

    async def shared(self) -> SharedRules:
        """Return the rules of groups and of the whole registry."""
        return (await self._read())[0]

    async def set_shared(self, group_id: str | None, rule: str, config: str | None) -> None:
        """Set a rule of a group or of the whole registry, or remove it if `config` is None.

        The rule applies to every registration that begins afterwards.
        """
        written = None
        while written is None:
            rules, revision = await self._read()
            changed = rules.with_rule(group_id, rule, config).model_dump_json().encode()
            written = await self._bucket.replace(RULES_KEY, changed, revision)

    async def admit(self, artifact: Artifact, content: Content, head: Head) -> None:
        """Refuse content that may not be the next version of an artifact.

        Raises:
            InvalidSchemaError: The content is invalid and a rule demands validity.
            IncompatibleSchemaError: A reference does not exist, or the content breaks a rule.
        """
        rules = await self._rules(artifact, head)
        text = await self._with_references(artifact, content)
        integrity = set(rules.get("INTEGRITY", "NONE").split(","))
        if integrity & _UNIQUE:
            _check(artifact, "INTEGRITY", _duplicates(content.references))
        level = rules.get("COMPATIBILITY", "NONE")
        wants_valid = rules.get("VALIDITY", "NONE") != "NONE"
        if not (wants_valid or level != "NONE" or integrity & _MAPPED):
            return
        try:
            causes = await self._causes(artifact, level, content.artifact_type, text, head.served)
        except ValueError as error:
            problem = Problem(
                422, "InvalidSchemaException", str(error), causes=(Cause(str(error)),)
            )
            raise InvalidSchemaError(artifact.artifact_id, error, problem=problem) from error
        _check(artifact, "COMPATIBILITY", causes)

    async def admit_again(self, artifact: Artifact, head: Head, version: Version) -> None:
        """Refuse to enable a version beside incompatible versions that came later.

        Raises:
            IncompatibleSchemaError: The version breaks the COMPATIBILITY rule in force.
        """
        level = (await self._rules(artifact, head)).get("COMPATIBILITY", "NONE")
        if level == "NONE":
            return
        served = [v for v in head.versions if v in head.served or v == version]
        index = served.index(version)
        transitive = level.endswith("_TRANSITIVE")
        pairs = [(served[:index], version)]
        pairs += [
            ([version], later) for later in served[index + 1 : None if transitive else index + 2]
        ]
        for before, later in pairs:
            text = await self._text(artifact, later)
            causes = await self._causes(artifact, level, head.artifact_type, text, before)
            _check(artifact, "COMPATIBILITY", causes)

    async def _rules(self, artifact: Artifact, head: Head) -> Rules:
        shared = await self.shared()
        return {**shared.everywhere, **shared.of(artifact.group_id), **head.rules}

    async def _causes(
        self, artifact: Artifact, level: str, kind: str, text: SchemaText, before: Sequence[Version]
    ) -> tuple[Cause, ...]:
        """Return why content may not follow versions; ValueError if the content is invalid."""
        compared = before if level.endswith("_TRANSITIVE") else before[-1:]
        if level == "NONE":
            compared = ()
        existing = [await self._text(artifact, version) for version in compared]
        known = verdict_at_once(kind, level, text, existing)
        if known is not None:
            return known
        # Some schemas take seconds to parse or compare, so another process does it.
        try:
            return await checks.run(verdict, kind, level, text, existing, timeout=_LONGEST_CHECK)
        except TimeoutError as error:
            problem = Problem(504, "CheckTimeoutException", str(error))
            raise RegistryConnectionError(self._bucket.url, problem=problem) from error
        except checks.CheckFailedError as error:
            raise RegistryConnectionError(self._bucket.url, str(error)) from error

    async def _text(self, artifact: Artifact, version: Version) -> SchemaText:
        stored = await self._contents.known(version.content_id)
        return await self._with_references(artifact, stored.content)

    async def _with_references(self, artifact: Artifact, content: Content) -> SchemaText:
        if not content.references:
            return SchemaText(content.text)
        texts: dict[str, str] = {}
        await self._collect(artifact, content, texts)
        return SchemaText(content.text, tuple(texts.items()))

    async def _collect(self, artifact: Artifact, content: Content, texts: dict[str, str]) -> None:
        """Add the references of content, each after its own references."""
        for reference in content.references:
            if reference.name in texts:
                continue
            referred = Artifact(reference.group_id or artifact.group_id, reference.artifact_id)
            version = (await self._log.head(referred)).find(reference.version)
            if version is None or reference.version == LATEST:
                shown = f"{referred.group_id}/{referred.artifact_id}/{reference.version}"
                raise _violation(
                    artifact, "INTEGRITY", [Cause(f"no schema {shown!r}", reference.name)]
                )
            stored = await self._contents.known(version.content_id)
            await self._collect(referred, stored.content, texts)
            texts[reference.name] = stored.content.text

    async def _read(self) -> tuple[SharedRules, int]:
        stored = await self._bucket.get(RULES_KEY)
        if stored is None:
            return SharedRules(), 0
        rules = self._bucket.decoded(stored, SharedRules.model_validate_json)
        return rules, stored.revision


def verdict_at_once(
    kind: str, level: str, text: SchemaText, existing: Sequence[SchemaText]
) -> tuple[Cause, ...] | None:
    """Return the verdict on small Avro schemas; None where another process has to find it.

    Asking a process takes several times longer than most of these checks.
    """
    size = sum(_size(each) for each in (text, *existing))
    if kind != "AVRO" or size > _AT_ONCE:
        return None
    try:
        return verdict(kind, level, text, existing)
    except Exception:  # noqa: BLE001 - the process finds the same error and limits what it costs
        return None


def _size(text: SchemaText) -> int:
    return len(text.content) + sum(len(content) for _, content in text.references)


def verdict(
    kind: str, level: str, text: SchemaText, existing: Sequence[SchemaText]
) -> tuple[Cause, ...]:
    """Return why content may not follow existing contents; ValueError if it is invalid."""
    parse(kind, text)
    return incompatibilities(kind, level, text, existing)


def _duplicates(references: Sequence[Reference]) -> tuple[Cause, ...]:
    names = [reference.name for reference in references]
    doubled = sorted({name for name in names if names.count(name) > 1})
    return tuple(Cause("two references have this name", name) for name in doubled)


def _check(artifact: Artifact, rule: str, causes: Sequence[Cause]) -> None:
    if causes:
        raise _violation(artifact, rule, causes)


def _violation(artifact: Artifact, rule: str, causes: Sequence[Cause]) -> IncompatibleSchemaError:
    title = f"the schema breaks the {rule} rule"
    problem = Problem(409, "RuleViolationException", title, causes=tuple(causes))
    return IncompatibleSchemaError(artifact.artifact_id, problem=problem)
