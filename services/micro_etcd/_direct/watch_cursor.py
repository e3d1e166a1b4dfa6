"""Where a watch stands: what of a response to deliver, and where to resume after a cut. Pure."""

from micro_etcd._pb import micro_etcd_pb2 as pb


class WatchCursor:
    """The position of one watch in the history of its keys.

    Attributes:
        next_revision: First revision not delivered yet; where a resumed watch starts.
        seen_revision: Newest revision of the store known to have existed.
    """

    def __init__(self, next_revision: int, seen_revision: int) -> None:
        self.next_revision = next_revision
        self.seen_revision = seen_revision
        self._incomplete: list[
            pb.Event
        ] = []  # of the newest revision in an unfinished set of fragments

    def feed(self, response: pb.WatchResponse) -> list[pb.Event]:
        """Take one response, return the events that may be delivered: whole revisions, each once, in order."""
        self.seen_revision = max(self.seen_revision, response.header.revision)
        if not response.events:
            if (
                not response.created and not self._incomplete
            ):  # a progress report: nothing older will follow
                self.next_revision = max(self.next_revision, response.header.revision + 1)
            return []
        # Some servers send events from before the revision asked for.
        fresh = [event for event in response.events if event.kv.mod_revision >= self.next_revision]
        events = self._incomplete + fresh
        self._incomplete = []
        if response.fragment and events:
            # The newest revision may go on in the next fragment; all before it are complete.
            newest = events[-1].kv.mod_revision
            self._incomplete = [event for event in events if event.kv.mod_revision == newest]
            events = events[: len(events) - len(self._incomplete)]
        if events:
            # Not the header's revision: a watcher that catches up gets headers far ahead of its events.
            self.next_revision = events[-1].kv.mod_revision + 1
        return events

    def cut(self) -> None:
        """Forget what was received in part; it will be sent again."""
        self._incomplete = []
