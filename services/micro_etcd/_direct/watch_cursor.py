"""The position of a watch: the events to deliver, and the revision to resume from. Pure."""

from micro_etcd._pb import micro_etcd_pb2 as pb


class WatchCursor:
    """The position of one watch in the history of its keys.

    Attributes:
        next_revision: First revision that was not delivered; a resumed watch starts there.
        seen_revision: Newest revision of the store known to have existed.
    """

    def __init__(self, next_revision: int, seen_revision: int) -> None:
        self.next_revision = next_revision
        self.seen_revision = seen_revision
        # The events of the newest revision in an unfinished set of fragments.
        self._incomplete: list[pb.Event] = []

    def feed(self, response: pb.WatchResponse) -> list[pb.Event]:
        """Return the events that a response completes: whole revisions, once, in order."""
        self.seen_revision = max(self.seen_revision, response.header.revision)
        if not response.events:
            # A progress report: nothing older follows.
            if not response.created and not self._incomplete:
                self.next_revision = max(self.next_revision, response.header.revision + 1)
            return []
        # Some servers send events before the requested revision.
        fresh = [event for event in response.events if event.kv.mod_revision >= self.next_revision]
        events = self._incomplete + fresh
        self._incomplete = []
        if response.fragment and events:
            # The newest revision may go on in the next fragment; all before it are complete.
            newest = events[-1].kv.mod_revision
            self._incomplete = [event for event in events if event.kv.mod_revision == newest]
            events = events[: len(events) - len(self._incomplete)]
        if events:
            # Not the revision of the header, which is far ahead while a watcher catches up.
            self.next_revision = events[-1].kv.mod_revision + 1
        return events

    def cut(self) -> None:
        """Drop an incomplete revision; the server sends it again."""
        self._incomplete = []
