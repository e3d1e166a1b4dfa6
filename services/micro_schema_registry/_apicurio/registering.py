"""Registering and its dry run, as generators of calls that a driver runs."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from pydantic import BaseModel

from micro_schema_registry._apicurio.fetching import PROTOBUF_TYPE, Fetches, cached_schema
from micro_schema_registry._apicurio.rest import (
    ARTIFACT_EXISTS,
    VERSION_EXISTS,
    Answer,
    Call,
    Operation,
    Pause,
    Shared,
    path,
    post,
    read_problem,
    registration_failure,
    succeeded,
)
from micro_schema_registry._backoff import pauses
from micro_schema_registry._errors import (
    Cause,
    IncompatibleSchemaError,
    InvalidArgumentError,
    InvalidSchemaError,
    RegistryConnectionError,
    SchemaNotFoundError,
    SchemaRegistrationError,
)
from micro_schema_registry._model.models import (
    ArtifactInfo,
    CachedSchema,
    CompatibilityResult,
    IfExists,
    Reference,
    Schema,
    SchemaContent,
    VersionInfo,
    canonical_text,
    check_id,
    check_if_exists,
    check_references,
    check_version,
    parse_schema,
    schema_text,
)

_RACE_RETRIES = 20
"""Repetitions of a registration that lost a race: at most 5 s; 40 racing clients needed 12."""


class Operations(Fetches):
    """All operations of the clients of one group: those of its bases, and registering."""

    def register_schema(  # noqa: PLR0913 - the protocol's signature
        self,
        artifact_id: str,
        schema: Schema,
        if_exists: IfExists = "FIND_OR_CREATE_VERSION",
        *,
        artifact_type: str = "AVRO",
        references: Sequence[Reference] = (),
        canonical: bool = False,
        version: str | None = None,
        labels: Mapping[str, str] | None = None,
        group_id: str | None = None,
    ) -> Operation[CachedSchema]:
        check_if_exists(if_exists)
        group = self.group(group_id)
        text = schema_text(schema)
        content = SchemaContent(text, _parsed(artifact_id, text, artifact_type), artifact_type)
        body = self._artifact_body(artifact_id, content, references, group)
        if version is not None:
            body["firstVersion"]["version"] = check_version(version)
        if labels is not None:
            body["labels"] = body["firstVersion"]["labels"] = dict(labels)
        operation = self._register(group, content, body, if_exists, canonical)
        if if_exists != "FIND_OR_CREATE_VERSION":
            return (yield from operation)
        # Equal registrations at the same time are one request.
        key = "register", group, canonical, json.dumps(body, sort_keys=True)
        outcome: Any = yield Shared(key, operation)
        cached: CachedSchema = outcome
        return cached

    def _register(
        self,
        group: str,
        content: SchemaContent,
        body: Mapping[str, Any],
        if_exists: IfExists,
        canonical: bool,
    ) -> Operation[CachedSchema]:
        params = {"ifExists": if_exists, "canonical": str(canonical).lower()}
        info = yield from self._create(group, body, params)
        if canonical:
            stored = yield from self._content_of(info, content)
            kind = content.artifact_type
            if canonical_text(stored.content, kind) == canonical_text(content.content, kind):
                content = stored
            else:  # Apicurio's canonical form lacks aliases, documentation and some defaults
                params["canonical"] = "false"
                info = yield from self._create(group, body, params)
        cached = cached_schema(content, info)
        if info.state in _SERVED:
            self.contents.put(("globalId", info.global_id), content)
            self.schemas.put((group, body["artifactId"], None), cached)
        return cached

    def _content_of(self, info: VersionInfo, registered: SchemaContent) -> Operation[SchemaContent]:
        """Return the content of a version; a draft has no readable one by its ids."""
        try:
            stored = yield from self.fetch_content(("contentId", info.content_id))
        except SchemaNotFoundError:
            return SchemaContent("", None)
        artifact_type = registered.artifact_type
        return SchemaContent(
            stored.content, parse_schema(stored.content, artifact_type), artifact_type
        )

    def check_compatibility(
        self,
        artifact_id: str,
        schema: Schema,
        *,
        artifact_type: str | None = None,
        references: Sequence[Reference] = (),
        group_id: str | None = None,
    ) -> Operation[CompatibilityResult]:
        group = self.group(group_id)
        text = schema_text(schema)
        if artifact_type is None:
            answer = yield Call("GET", self.artifact_path(artifact_id, group))
            artifact_type = "AVRO"
            if answer.status != 404:
                artifact_type = succeeded(answer).read(ArtifactInfo).artifact_type
        try:
            content = SchemaContent(text, _parsed(artifact_id, text, artifact_type), artifact_type)
            body = self._artifact_body(artifact_id, content, references, group)
            yield from self._create(group, body, {"ifExists": "CREATE_VERSION", "dryRun": "true"})
        except (IncompatibleSchemaError, InvalidSchemaError) as error:
            causes = error.causes or (Cause(str(error.problem or error.cause)),)
            return CompatibilityResult(False, causes)
        return CompatibilityResult(True)

    def _create(
        self, group: str, body: Mapping[str, Any], params: dict[str, str]
    ) -> Operation[VersionInfo]:
        """Create an artifact or version; repeat it if another client did so at the same moment.

        Apicurio looks for content and adds a version in two steps, so that one of two racing
        clients gets "the version exists". A version name of the caller may really be taken: that
        is repeated once, to find a version with the same content.
        """
        may_find = params["ifExists"] == "FIND_OR_CREATE_VERSION"
        retries = 0 if params["ifExists"] == "FAIL" else _RACE_RETRIES
        if "version" in body["firstVersion"]:
            retries = int(may_find)
        repeatable = may_find or "dryRun" in params
        call = post(path("groups", group, "artifacts"), body, repeatable=repeatable, **params)
        answer = yield call
        for seconds in islice(pauses(0.05, 0.4), retries):
            if answer.ok or read_problem(answer).name not in {VERSION_EXISTS, ARTIFACT_EXISTS}:
                break
            yield Pause(seconds)
            answer = yield call
        if not answer.ok:
            raise registration_failure(body["artifactId"], answer)
        return self._created(answer, body["artifactId"])

    def _created(self, answer: Answer, artifact_id: str) -> VersionInfo:
        try:
            return answer.read(_Created).version
        except RegistryConnectionError as error:
            raise SchemaRegistrationError(artifact_id, error) from error

    def _artifact_body(
        self, artifact_id: str, content: SchemaContent, references: Sequence[Reference], group: str
    ) -> dict[str, Any]:
        if content.content.lstrip().startswith(("http://", "https://")):
            raise InvalidArgumentError("a schema cannot be a URL: the registry would fetch it")
        listed = [
            {
                "name": ref.name,
                "groupId": group if ref.group_id is None else ref.group_id,
                "artifactId": ref.artifact_id,
                "version": ref.version,
            }
            for ref in check_references(references)
        ]
        return {
            "artifactId": check_id("artifact_id", artifact_id),
            "artifactType": content.artifact_type,
            "firstVersion": {
                "content": {
                    "content": content.content,
                    "contentType": _CONTENT_TYPES.get(
                        content.artifact_type or "", "application/json"
                    ),
                    "references": listed,
                }
            },
        }


class _Created(BaseModel):
    version: VersionInfo


def _parsed(artifact_id: str, text: str, artifact_type: str) -> Any:
    try:
        return parse_schema(text, artifact_type)
    except ValueError as error:
        raise InvalidSchemaError(artifact_id, error) from error


_SERVED = frozenset({"ENABLED", "DEPRECATED"})
"""The states of versions that may be the newest; a sunset one is read by name only."""

_CONTENT_TYPES = {
    "PROTOBUF": PROTOBUF_TYPE,
    "GRAPHQL": "application/graphql",
    "WSDL": "text/xml",
    "XSD": "text/xml",
    "XML": "text/xml",
}
