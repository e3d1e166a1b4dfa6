"""Heads as the sum of changes; pure, so every order of events can be played."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from micro_schema_registry._embedded.history import (
    Change,
    Deleted,
    Head,
    RuleSet,
    StateSet,
    VersionAdded,
    read_change,
)
from micro_schema_registry._embedded.keys import Artifact, artifact_of


def added(version: str, **more: Any) -> VersionAdded:
    return VersionAdded(version=version, content_id=1, artifact_type="AVRO", **more)


def play(*changes: Change) -> Head:
    head = Head()
    for revision, change in enumerate(changes, 100):
        head = head.after(change, revision)
    return head


NAMES = st.sampled_from(["1", "2", "3", "10", "x"])
CHANGES = st.lists(
    st.one_of(
        st.builds(added, NAMES, labels=st.just({"a": "b"})),
        st.builds(StateSet, version=NAMES, state=st.sampled_from(["ENABLED", "DISABLED"])),
        st.builds(RuleSet, rule=st.just("VALIDITY"), config=st.sampled_from(["FULL", None])),
        st.builds(Deleted, version=st.one_of(st.none(), NAMES)),
    )
)


@settings(deadline=None)
@given(CHANGES)
def test_heads_and_changes_survive_being_stored(changes: list[Change]) -> None:
    head = play(*changes)

    assert [read_change(change.encoded()) for change in changes] == changes
    assert Head.model_validate_json(head.encoded()) == head
    assert head.slot == len(changes)


@settings(deadline=None)
@given(CHANGES)
def test_versions_keep_their_place_and_the_next_name_is_free(changes: list[Change]) -> None:
    head = play(*changes)

    made = [revision for revision, c in enumerate(changes, 100) if isinstance(c, VersionAdded)]
    assert [version.global_id for version in head.versions] == made
    assert not head.is_taken(head.next_name())
    assert [v for v in head.versions if v in head.present] == list(head.present)
    assert [v for v in head.present if v in head.served] == list(head.served)


def test_the_newest_is_the_last_one_that_is_served() -> None:
    head = play(added("1"), added("2"), added("3"), StateSet(version="3", state="DISABLED"))

    newest = head.find(None)
    assert newest is not None
    assert newest.name == "2"
    assert head.find("branch=latest") == newest
    assert head.find("branch=other") is None
    assert play(Deleted()).find(None) is None


def test_an_artifact_that_is_deleted_begins_again_with_new_names() -> None:
    gone = play(added("1", labels={"a": "b"}), RuleSet(rule="VALIDITY", config="FULL"), Deleted())
    again = gone.after(added(gone.next_name()), 200)

    assert (gone.exists, gone.rules, gone.labels) == (False, {}, {})
    assert again.exists
    assert [version.name for version in again.present] == ["2"]
    assert again.is_taken("1")


@settings(deadline=None)
@given(st.text(min_size=1), st.text(min_size=1))
def test_keys_hold_any_id(group_id: str, artifact_id: str) -> None:
    artifact = Artifact(group_id, artifact_id)

    assert artifact_of(artifact.head_key) == artifact
    assert artifact_of(artifact.slot_key(7)) == artifact
    assert artifact.slot_key(7).endswith(".7")
    assert not set(artifact.head_key) & set(" *>\r\n\t")
