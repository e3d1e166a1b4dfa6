"""The same operations on every registry: each difference from Apicurio has a reason."""

from typing import Any

import pytest
from tests.micro_schema_registry.conftest import BACKENDS
from tests.micro_schema_registry.operations import OPERATIONS, outcomes

STORE = {
    ("another type", 1): "the store refuses another type; Apicurio ignores it",
    ("an unknown type", 0): "the store keeps any type; Apicurio answers 500",
    ("search", 4): "the store ignores case",
    ("a missing reference", 0): "the store refuses it without a rule, too",
    ("references unmapped under a rule", 2): "the store calls the content invalid",
    ("make a draft of a version", 1): "the store answers 409, Apicurio 400",
    ("delete a version", 6): "the store never uses the name of a version again",
    ("delete an artifact", 5): "the store never uses the name of a version again",
    ("delete the only version", 3): "an artifact of the store ends with its last version",
    ("delete the only version", 4): "an artifact of the store ends with its last version",
}
_PAGE = "a page over NATS has 1 to 500 items"
SERVICE = {
    ("windows that cannot be", 0): _PAGE,
    ("windows that cannot be", 1): _PAGE,
    ("windows that cannot be", 5): _PAGE,
    ("windows that cannot be", 7): _PAGE,
}
DIFFERENCES = {
    "embedded": STORE,
    "service-embedded": STORE | SERVICE,
    "service-apicurio": SERVICE,
}


async def run(backend: str, request: pytest.FixtureRequest, group_id: str) -> dict[str, list[Any]]:
    async with BACKENDS[backend](request, group_id) as new:
        return await outcomes(await new(), group_id)


@pytest.mark.timeout(600)
async def test_differences_from_apicurio_are_known(
    request: pytest.FixtureRequest, apicurio_url: str, group_id: str
) -> None:
    expected = await run("apicurio", request, f"{group_id}-expected")

    unknown = []
    for backend, known in DIFFERENCES.items():
        actual = await run(backend, request, f"{group_id}-{backend}")
        unknown += [
            (backend, name, number, expected[name][number], actual[name][number])
            for name, acts in OPERATIONS.items()
            for number in range(len(acts))
            if (expected[name][number] != actual[name][number]) != ((name, number) in known)
        ]

    assert unknown == []


def test_the_list_has_the_operations_of_every_method() -> None:
    assert sum(map(len, OPERATIONS.values())) > 250
