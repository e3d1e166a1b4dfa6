"""Operations other than fetching and registering: lists, search, states, rules, deletion."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, Field

from micro_schema_registry._apicurio.rest import (
    ARTIFACT_NOT_FOUND,
    GROUP_NOT_FOUND,
    Answer,
    Call,
    Operation,
    path,
    post,
    put,
    read_problem,
    succeeded,
)
from micro_schema_registry._errors import (
    InvalidArgumentError,
    SchemaNotFoundError,
)
from micro_schema_registry._model.models import (
    LATEST,
    ArtifactInfo,
    Page,
    Reference,
    RegistryInfo,
    RuleType,
    Schema,
    VersionInfo,
    VersionState,
    check_id,
    check_rule,
    check_state,
    check_version,
    check_window,
    schema_text,
)

T = TypeVar("T")
_ALL = 500
"""The size of a page when all entries are needed; the most that Apicurio gives."""


class Catalog:
    """The operations of the clients of one group; their docstrings are in `SchemaRegistry`."""

    def __init__(self, group_id: str) -> None:
        self.group_id = check_id("group_id", group_id)

    def group(self, group_id: str | None) -> str:
        """Return the group of a call."""
        return self.group_id if group_id is None else check_id("group_id", group_id)

    def artifact_path(self, artifact_id: str, group_id: str | None, *rest: str) -> str:
        """Return the path of an artifact or of a resource below it."""
        checked = check_id("artifact_id", artifact_id)
        return path("groups", self.group(group_id), "artifacts", checked, *rest)

    def checked(
        self,
        answer: Answer,
        artifact_id: str | None,
        group_id: str | None,
        version: str | None = None,
    ) -> Answer:
        """Return a successful answer; a 404 about an artifact is a SchemaNotFoundError."""
        if answer.status == 404 and artifact_id is not None:
            raise SchemaNotFoundError(
                self.group(group_id), artifact_id, version=version, problem=read_problem(answer)
            )
        return succeeded(answer)

    def list_groups(self, *, offset: int = 0, limit: int = 20) -> Operation[Page[str]]:
        answer = yield Call("GET", "/groups", _window(offset, limit, "groupId"))
        body = succeeded(answer).read(_Groups)
        return Page(tuple(group.group_id for group in body.groups), body.count)

    def list_artifacts(
        self, *, offset: int = 0, limit: int = 20, group_id: str | None = None
    ) -> Operation[Page[ArtifactInfo]]:
        group = self.group(group_id)

        def fetch(offset: int, limit: int) -> Operation[Page[ArtifactInfo]]:
            call = Call(
                "GET", path("groups", group, "artifacts"), _window(offset, limit, "artifactId")
            )
            body = succeeded((yield call)).read(_Artifacts)
            return Page(body.artifacts, body.count)

        if "*" not in group:
            return (yield from fetch(offset, limit))
        return (yield from _exact(fetch, lambda item: item.group_id == group, offset, limit))

    def list_versions(
        self, artifact_id: str, *, offset: int = 0, limit: int = 20, group_id: str | None = None
    ) -> Operation[Page[VersionInfo]]:
        group = self.group(group_id)
        where = self.artifact_path(artifact_id, group_id, "versions")

        def fetch(offset: int, limit: int) -> Operation[Page[VersionInfo]]:
            call = Call("GET", where, _window(offset, limit, "globalId"))
            body = self.checked((yield call), artifact_id, group_id).read(_Versions)
            return Page(body.versions, body.count)

        def is_meant(item: VersionInfo) -> bool:
            return (item.group_id, item.artifact_id) == (group, artifact_id)

        if "*" not in group + artifact_id:
            return (yield from fetch(offset, limit))
        return (yield from _exact(fetch, is_meant, offset, limit))

    def search_artifacts(  # noqa: PLR0913 - every condition is optional
        self,
        *,
        name: str | None = None,
        content: Schema | None = None,
        artifact_type: str | None = None,
        labels: Mapping[str, str] | None = None,
        group_id: str | None = None,
        offset: int = 0,
        limit: int = 20,
    ) -> Operation[Page[ArtifactInfo]]:
        params: dict[str, Any] = _window(offset, limit, "artifactId")
        if group_id is not None:
            params["groupId"] = self.group(group_id)
        if content is not None:
            if not (name is None and artifact_type is None and labels is None):
                raise InvalidArgumentError(
                    "content cannot be searched together with name, artifact_type or labels"
                )
            body = schema_text(content).encode()
            answer = yield Call("POST", "/search/artifacts", params, body)
        else:
            if name is not None:
                params["name"] = f"*{name}*"
            if artifact_type is not None:
                params["artifactType"] = artifact_type
            if labels is not None:
                params["labels"] = [f"{key}:{value}" for key, value in labels.items()]
            answer = yield Call("GET", "/search/artifacts", params)
        page = succeeded(answer).read(_Artifacts)
        return Page(page.artifacts, page.count)

    def get_version(
        self, artifact_id: str, version: str | None = None, *, group_id: str | None = None
    ) -> Operation[VersionInfo]:
        answer = yield from self._of_version("GET", artifact_id, version, group_id)
        return answer.read(VersionInfo)

    def get_references(
        self, artifact_id: str, version: str | None = None, *, group_id: str | None = None
    ) -> Operation[tuple[Reference, ...]]:
        answer = yield from self._of_version("GET", artifact_id, version, group_id, "references")
        return read_references(answer)

    def set_state(
        self, artifact_id: str, version: str, state: VersionState, *, group_id: str | None = None
    ) -> Operation[None]:
        check_state(state)
        yield from self._of_version(
            "PUT", artifact_id, version, group_id, "state", body={"state": state}
        )

    def delete_artifact(self, artifact_id: str, *, group_id: str | None = None) -> Operation[None]:
        call = Call("DELETE", self.artifact_path(artifact_id, group_id))
        self.checked((yield call), artifact_id, group_id)

    def delete_version(
        self, artifact_id: str, version: str, *, group_id: str | None = None
    ) -> Operation[None]:
        yield from self._of_version("DELETE", artifact_id, version, group_id)

    def _of_version(
        self,
        method: str,
        artifact_id: str,
        version: str | None,
        group_id: str | None,
        *rest: str,
        body: Mapping[str, Any] | None = None,
    ) -> Operation[Answer]:
        """Send a request for a version, by default the newest enabled one."""
        expression = LATEST if version is None else check_version(version)
        where = self.artifact_path(artifact_id, group_id, "versions", expression, *rest)
        call = Call(method, where) if body is None else put(where, body)
        return self.checked((yield call), artifact_id, group_id, version)

    def get_rules(
        self,
        *,
        artifact_id: str | None = None,
        everywhere: bool = False,
        group_id: str | None = None,
    ) -> Operation[dict[str, str]]:
        where = self._rules_path(artifact_id, everywhere, group_id)
        answer = yield Call("GET", where)
        if artifact_id is None and answer.status == 404:
            return {}
        rules = {}
        for kind in self.checked(answer, artifact_id, group_id).read(list[str]):
            answer = yield Call("GET", where + path(kind))
            if answer.status != 404:  # 404: it was removed since
                rules[kind] = succeeded(answer).read(_Rule).config
        return rules

    def set_rule(
        self,
        rule: RuleType,
        config: str,
        *,
        artifact_id: str | None = None,
        everywhere: bool = False,
        group_id: str | None = None,
    ) -> Operation[None]:
        """Change a rule; create it if it is missing, and its group before it."""
        check_rule(rule, config)
        where = self._rules_path(artifact_id, everywhere, group_id)
        body = {"ruleType": rule, "config": config}
        answer = yield put(where + path(rule), body)
        if answer.status == 404:
            answer = yield from self._create_rule(where, body, artifact_id, group_id)
        if answer.status == 409:  # another client created it since
            answer = yield put(where + path(rule), body)
        self.checked(answer, artifact_id, group_id)

    def _create_rule(
        self, where: str, body: dict[str, str], artifact_id: str | None, group_id: str | None
    ) -> Operation[Answer]:
        answer = yield post(where, body)
        if artifact_id is None and read_problem(answer).name == GROUP_NOT_FOUND:
            yield post("/groups", {"groupId": self.group(group_id)})
            answer = yield post(where, body)
        return answer

    def delete_rule(
        self,
        rule: RuleType,
        *,
        artifact_id: str | None = None,
        everywhere: bool = False,
        group_id: str | None = None,
    ) -> Operation[None]:
        where = self._rules_path(artifact_id, everywhere, group_id)
        answer = yield Call("DELETE", where + path(rule))
        if answer.status != 404 or read_problem(answer).name == ARTIFACT_NOT_FOUND:
            self.checked(answer, artifact_id, group_id)

    def info(self) -> Operation[RegistryInfo]:
        return succeeded((yield Call("GET", "/system/info"))).read(RegistryInfo)

    def _rules_path(self, artifact_id: str | None, everywhere: bool, group_id: str | None) -> str:
        if artifact_id is not None:
            if everywhere:
                raise InvalidArgumentError("a rule is for one artifact or everywhere, not both")
            return self.artifact_path(artifact_id, group_id, "rules")
        return "/admin/rules" if everywhere else path("groups", self.group(group_id), "rules")


class _Group(BaseModel):
    group_id: str = Field(alias="groupId")


class _Groups(BaseModel):
    groups: tuple[_Group, ...]
    count: int


class _Artifacts(BaseModel):
    artifacts: tuple[ArtifactInfo, ...]
    count: int


class _Versions(BaseModel):
    versions: tuple[VersionInfo, ...]
    count: int


class _Rule(BaseModel):
    config: str


def read_references(answer: Answer) -> tuple[Reference, ...]:
    """Return the references of a successful answer; Apicurio leaves out the group `default`."""
    return tuple(
        reference.model_copy(update={"group_id": reference.group_id or "default"})
        for reference in succeeded(answer).read(list[Reference])
    )


def _window(offset: int, limit: int, orderby: str) -> dict[str, str | int]:
    check_window(offset, limit)
    return {"offset": offset, "limit": limit, "order": "asc", "orderby": orderby}


def _exact(
    fetch: Callable[[int, int], Operation[Page[T]]],
    is_meant: Callable[[T], bool],
    offset: int,
    limit: int,
) -> Operation[Page[T]]:
    """List the entries of an id that contains `*`, which is a wildcard for Apicurio.

    It fetches all matches and keeps the exact ones.
    """
    check_window(offset, limit)
    items: list[T] = []
    seen = 0
    while True:
        page = yield from fetch(seen, _ALL)
        items += filter(is_meant, page)
        seen += len(page)
        if not page.items or seen >= page.count:
            return Page(tuple(items[offset : offset + limit]), len(items))
