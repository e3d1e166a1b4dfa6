"""The position of a watch, fed with responses as servers of all kinds send them."""

from micro_etcd._direct.watch_cursor import WatchCursor
from micro_etcd._pb import micro_etcd_pb2 as pb


def response(header: int, *revisions: int, fragment: bool = False) -> pb.WatchResponse:
    return pb.WatchResponse(
        header=pb.Header(revision=header),
        events=[pb.Event(kv=pb.KeyValue(mod_revision=revision)) for revision in revisions],
        fragment=fragment,
    )


def fed(cursor: WatchCursor, answer: pb.WatchResponse) -> list[int]:
    return [event.kv.mod_revision for event in cursor.feed(answer)]


def test_resumes_behind_the_last_event_not_behind_the_header() -> None:
    cursor = WatchCursor(5, 4)

    assert fed(cursor, response(4000, 5, 6, 7)) == [5, 6, 7]
    assert cursor.next_revision == 8
    assert cursor.seen_revision == 4000


def test_progress_moves_the_resume_point() -> None:
    cursor = WatchCursor(5, 4)

    assert fed(cursor, response(90)) == []
    assert cursor.next_revision == 91


def test_created_response_moves_nothing() -> None:
    cursor = WatchCursor(5, 4)
    created = response(90)
    created.created = True

    assert fed(cursor, created) == []
    assert cursor.next_revision == 5


def test_older_events_are_dropped() -> None:
    cursor = WatchCursor(5, 4)

    assert fed(cursor, response(9, 3, 4, 5, 6)) == [5, 6]
    assert fed(cursor, response(9, 6)) == []
    assert cursor.next_revision == 7


def test_fragments_give_whole_revisions_only() -> None:
    cursor = WatchCursor(1, 0)

    assert fed(cursor, response(9, 1, 2, 2, fragment=True)) == [1]
    assert cursor.next_revision == 2
    assert fed(cursor, response(9, 2, 3, fragment=True)) == [2, 2, 2]
    assert fed(cursor, response(9, 3, 4)) == [3, 3, 4]
    assert cursor.next_revision == 5


def test_cut_inside_a_fragment_set_repeats_the_open_revision_as_a_whole() -> None:
    cursor = WatchCursor(1, 0)
    fed(cursor, response(9, 1, 2, 2, fragment=True))
    cursor.cut()

    assert cursor.next_revision == 2
    assert fed(cursor, response(9, 2, 2, 2, 3)) == [2, 2, 2, 3]


def test_fragment_of_old_events_only() -> None:
    cursor = WatchCursor(5, 4)

    assert fed(cursor, response(9, 3, 4, fragment=True)) == []
    assert fed(cursor, response(9, 5)) == [5]
