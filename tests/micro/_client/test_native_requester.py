"""The accelerated requester against its specification, and its answers as futures of asyncio."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import nats.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from micro._client.requester import Requester
from micro._native import specification
from micro._protocol.headers import header_block
from micro._wire.congestion import Congestion

native = pytest.importorskip("natsmicro_native", reason="natsmicro-native is not built")
if Requester is not native.Requester:
    pytest.skip("MICRO_NATIVE is 0", allow_module_level=True)

SPECIFIED = specification["Requester"]
LIMIT = 120


class Line:
    """A path that keeps what it is given, in an outbox of either form."""

    def __init__(self, outbox: Any) -> None:
        self.congestion = Congestion()
        self.outbox = outbox(self.publish, lambda: None)
        self.reply = self.outbox.reply

    def open_outbox(self) -> None:
        self.outbox.turn = LIMIT

    def publish(
        self,
        subject: str,
        data: bytes,
        headers: Mapping[str, str] | None,
        reply: bytes,
        block: bytes,
    ) -> None:
        if not subject or set(subject) & set(" \t\r\n"):
            raise nats.errors.BadSubjectError
        if headers and not block:
            block = header_block(headers)
        self.outbox.add(b"%b %b" % (subject.encode(), reply), block, data)

    def sent(self) -> bytes:
        frames: bytes = self.outbox.take([])[0]
        return frames


def requester_on(make: Any, loop: asyncio.AbstractEventLoop) -> tuple[Any, Line]:
    """Return an opened requester, and its path."""
    requester = make(NatsClient())
    line = Line(native.Outbox if make is native.Requester else specification["Outbox"])
    requester._loop, requester._path, requester._inbox = loop, line, b"_INBOX.a."
    return requester, line


async def received(asked: Any) -> Any:
    return await asked


async def received_from(requester: Any, *arguments: Any, tell: bool) -> Any:
    return await requester.request(*arguments, tell=tell)


texts = st.one_of(st.sampled_from(["a.b", "", " x ", "é\u2003", "\ud800", "b\r\nC: d"]), st.text())
names = st.sampled_from(["A", "b-C", "", "a b", "a:", "ä", "Micro-Timeout-Ms", "~!"])
tables = st.one_of(
    st.none(),
    st.dictionaries(names, texts, max_size=3),
    st.dictionaries(names, st.one_of(texts, st.just(3)), max_size=1),
)
requests = st.tuples(
    st.one_of(st.sampled_from(["a", "a.b", "", "a b", "a\n", "é", "\ud800"]), st.text()),
    st.one_of(st.binary(max_size=5), st.integers(LIMIT - 60, LIMIT + 1).map(bytes)),
    tables,
    st.one_of(st.sampled_from([0, 1, 0.5, 5, -1, 1.0009, 86_400]), st.floats(0, 1e6)),
    st.booleans(),
)


def frames_of(make: Any, calls: list[Any]) -> list[Any]:
    loop = asyncio.new_event_loop()
    seen: list[Any] = []
    requester, line = requester_on(make, loop)
    kept = []  # an unfinished coroutine forgets its request when it is collected
    for subject, data, headers, timeout, tell in calls:
        try:
            asked = received_from(requester, subject, data, headers, timeout, tell=tell)
            kept.append(asked)
            asked.send(None)
        except Exception as error:  # noqa: BLE001 - compared
            seen.append((type(error), str(error)))
        seen.append((line.sent(), requester.outstanding))
    kept.clear()
    seen.append(requester.outstanding)
    loop.close()
    return seen


@given(st.lists(requests, min_size=1, max_size=4))
def test_any_requests_send_the_same_frames(calls: list[Any]) -> None:
    assert frames_of(native.Requester, calls) == frames_of(SPECIFIED, calls)


blocks = st.one_of(
    st.none(),
    st.sampled_from(
        [b"NATS/1.0 503\r\n\r\n", b"NATS/1.0 5031\r\n\r\n", b"NATS/1.0\r\nA: b\r\n\r\n"]
    ),
    st.sampled_from([b"", b"NATS/1.0\r\nStatus: 503\r\n\r\n", b"NATS/1.0\r\n\r\n", {"A": "b"}, {}]),
    st.sampled_from([{"Status": "503"}, b"NATS/1.0 503 No\xff\r\n\r\n"]),
)
subjects = st.sampled_from([b"_INBOX.a.%d" % n for n in range(5)]).flatmap(
    lambda name: st.sampled_from([name, name, name + b"x", name[:-1], b"_INBOX.a.0" + name[-1:]])
)
messages = st.tuples(subjects, st.sampled_from([b"", b"r", b"\xff"]), st.binary(max_size=4), blocks)


def answers_of(make: Any, messages: list[Any]) -> list[Any]:
    async def outcomes() -> list[Any]:
        requester, _ = requester_on(make, asyncio.get_running_loop())
        asked = [
            asyncio.ensure_future(received(requester.request("a", b"", None, 600)))
            for _ in range(4)
        ]
        await asyncio.sleep(0)
        requester._receive(messages)
        await asyncio.sleep(0)
        seen: list[Any] = [requester.outstanding]
        for each in asked:
            each.cancel()
        ends: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
        for end in ends:
            is_msg = isinstance(end, Msg)
            seen.append((end.subject, end.reply, end.data, end.headers) if is_msg else type(end))
        return [*seen, requester.outstanding]

    return asyncio.run(outcomes())


@given(st.lists(messages, max_size=6))
def test_any_messages_are_the_same_answers(messages: list[Any]) -> None:
    assert answers_of(native.Requester, messages) == answers_of(SPECIFIED, messages)


@pytest.fixture
async def asked() -> tuple[Any, Callable[[], Coroutine[Any, Any, Any]], Callable[[], None]]:
    """Return a requester, what asks, and what answers all requests so far."""
    requester, _ = requester_on(native.Requester, asyncio.get_running_loop())

    async def ask() -> Any:
        return await requester.request("a", b"", None, 600)

    def answer() -> None:
        requester._receive(
            [(b"_INBOX.a.%d" % n, b"", b"%d" % n, None) for n in range(requester._number + 1)]
        )

    return requester, ask, answer


async def test_tasks_gathers_groups_and_limits_of_time_wait_for_answers(asked: Any) -> None:
    requester, ask, answer = asked
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask()), group.create_task(asyncio.wait_for(ask(), 600))]
        gathered = asyncio.gather(ask(), asyncio.shield(ask()))
        await asyncio.sleep(0.01)
        assert requester.outstanding == 4
        answer()
        assert not tasks[0].done()  # as with a future: the event loop wakes it
    assert sorted(m.data for m in [*(t.result() for t in tasks), *await gathered]) == [
        b"1", b"2", b"3", b"4",
    ]  # fmt: skip


async def test_cancelled_task_forgets_its_request_and_tells_the_reason(asked: Any) -> None:
    requester, ask, answer = asked
    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    assert requester.outstanding == 1
    task.cancel("enough")
    assert requester.outstanding == 0
    answer()
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(), 0.01)
    assert requester.outstanding == 0


async def test_task_that_is_cancelled_behind_its_answer_is_cancelled(asked: Any) -> None:
    _, ask, answer = asked
    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    answer()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_coroutine_that_is_closed_or_thrown_into_forgets_its_request(asked: Any) -> None:
    requester, ask, _ = asked
    closed, thrown = ask(), ask()
    closed.send(None)
    thrown.send(None)
    assert requester.outstanding == 2
    closed.close()
    assert requester.outstanding == 1
    with pytest.raises(KeyError):
        thrown.throw(KeyError("x"))
    assert requester.outstanding == 0


async def test_each_task_goes_on_in_its_own_context(asked: Any) -> None:
    _, ask, answer = asked
    name = contextvars.ContextVar[int]("name")

    async def caller(number: int) -> tuple[int, bool]:
        name.set(number)
        await ask()
        return name.get(), asyncio.current_task() is tasks[number]

    tasks = [asyncio.create_task(caller(number)) for number in range(3)]
    await asyncio.sleep(0)
    answer()
    assert await asyncio.gather(*tasks) == [(number, True) for number in range(3)]


async def test_answer_is_a_future_for_asyncio(asked: Any) -> None:
    requester, _, answer = asked
    future: Any = requester.request("a", b"", None, 600)
    calls: list[Any] = []
    assert asyncio.isfuture(future)
    assert future.get_loop() is asyncio.get_running_loop()
    assert not future.done()
    with pytest.raises(asyncio.InvalidStateError):
        future.result()
    future.add_done_callback(calls.append)
    future.add_done_callback(calls.remove)
    assert future.remove_done_callback(calls.remove) == 1
    answer()
    assert future.done()
    assert not future.cancel()
    assert not future.cancelled()
    future.add_done_callback(calls.append)
    await asyncio.sleep(0)
    assert calls == [future, future]
    assert (await future).data == future.result().data == b"1"
    assert future.exception() is None


async def test_time_is_over_for_each_request_by_itself(asked: Any) -> None:
    requester, ask, answer = asked
    late = [asyncio.create_task(received(requester.request("a", b"", None, t))) for t in (0.03, 0)]
    kept = asyncio.create_task(ask())
    for each in late:
        with pytest.raises(nats.errors.TimeoutError):
            await each
    assert requester.outstanding == 1
    answer()
    assert (await kept).data == b"3"


def test_exit_of_one_task_lets_the_others_have_their_answers() -> None:
    loop = asyncio.new_event_loop()
    requester, _ = requester_on(native.Requester, loop)

    async def ask(*, leave: bool) -> Any:
        answer = await requester.request("a", b"", None, 600)
        if leave:
            raise SystemExit(3)
        return answer

    leaving, staying = loop.create_task(ask(leave=True)), loop.create_task(ask(leave=False))
    loop.call_soon(
        loop.call_soon, requester._receive, [(b"_INBOX.a.%d" % n, b"", b"", None) for n in (1, 2)]
    )
    with pytest.raises(SystemExit):
        loop.run_until_complete(asyncio.wait({leaving, staying}))
    assert loop.run_until_complete(staying).subject == "_INBOX.a.2"
    assert isinstance(leaving.exception(), SystemExit)
    loop.close()


async def test_cycle_through_a_requester_is_collected() -> None:
    requester, line = requester_on(native.Requester, asyncio.get_running_loop())
    line.owner = requester  # type: ignore[attr-defined]
    with pytest.raises(nats.errors.TimeoutError):
        await requester.request("a", b"", None, 0)
    gone = weakref.ref(requester)
    del requester, line
    await asyncio.sleep(0)
    gc.collect()
    assert gone() is None
