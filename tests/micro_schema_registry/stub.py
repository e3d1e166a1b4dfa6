"""A stub of registries: gateways that send ids in headers, Apicurio before 3.3, broken ones."""

import json
from collections import Counter
from typing import Any

import httpx
from tests.micro_schema_registry.openapi import API, check_request

URL = f"http://registry.invalid{API}"
SCHEMA = {"type": "record", "name": "User", "fields": []}


class Stub:
    """A registry that has every artifact in one version.

    `requests` counts method and path of each request. `answers` maps such a key to the responses
    or errors of the next requests.
    """

    def __init__(self, *, ids_in_headers: bool = False) -> None:
        self.ids_in_headers = ids_in_headers
        self.requests: Counter[str] = Counter()
        self.answers: dict[str, list[httpx.Response | Exception]] = {}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        check_request(request)
        path = request.url.raw_path.decode().removeprefix(API).partition("?")[0]
        key = f"{request.method} {path}"
        self.requests[key] += 1
        if self.answers.get(key):
            answer = self.answers[key].pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        if request.method == "POST":
            body = json.loads(request.content)
            return httpx.Response(200, json={"version": version(body["artifactId"])})
        if path.endswith("/content"):
            headers = {"X-Registry-GlobalId": "17", "X-Registry-ContentId": "9"}
            return httpx.Response(200, json=SCHEMA, headers=headers if self.ids_in_headers else {})
        if path.startswith("/ids/"):
            return httpx.Response(200, json=SCHEMA, headers={"X-Registry-ArtifactType": "AVRO"})
        return httpx.Response(200, json=version("any"))

    def client(self) -> httpx.Client:
        """Return a blocking client that reaches only this stub."""
        return httpx.Client(transport=httpx.MockTransport(self))

    def async_client(self) -> httpx.AsyncClient:
        """Return an async client that reaches only this stub."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self))


def version(artifact_id: str, **fields: Any) -> dict[str, Any]:
    """Return a version's description as Apicurio sends it."""
    described = {"version": "1", "globalId": 17, "contentId": 9, "artifactId": artifact_id}
    return described | {"artifactType": "AVRO", "state": "ENABLED", "owner": ""} | fields


def problem(status: int, name: str = "", title: str = "", **fields: Any) -> httpx.Response:
    """Return a problem document."""
    body = {"status": status, "name": name, "title": title, "detail": f"{name}: {title}"}
    return httpx.Response(status, json=body | fields)
