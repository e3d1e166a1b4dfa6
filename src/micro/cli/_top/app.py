"""The terminal application of `micro top`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import ClassVar

import nats.errors
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, Static

from micro._client.rates import Rate, Row
from micro._protocol.models import ServiceStats
from micro.cli._output import clean
from micro.cli._top.columns import cells, duration, fitting, number
from micro.cli._top.rows import ORDERS, EndpointKey, chosen, rows_of


@dataclass(frozen=True)
class Sight:
    """The state of all services at one moment, with the rates since the last one."""

    services: Sequence[ServiceStats]
    rates: Mapping[EndpointKey, Rate]


class Details(ModalScreen[None]):
    """One endpoint: its instances, errors by code and the last error."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Back", priority=True)
    ]

    def __init__(self, row: Row) -> None:
        super().__init__()
        self._row = row

    def compose(self) -> ComposeResult:
        """Make the texts and the table of instances."""
        row, first = self._row, self._row.parts[0]
        lines = [
            f"{row.service} {first.service.version}  {row.name}",
            f"Subject: {row.subject}   queue group: {first.endpoint.queue_group or '-'}",
            f"Requests: {number(row.requests)}   errors: {number(row.errors)}   average: "
            f"{duration(row.average_ns)}",
            "Errors by code: "
            + (", ".join(f"{code}: {count:,}" for code, count in row.codes().items()) or "-"),
            f"Last error: {row.last_error or '-'}",
        ]
        yield Static(Text("\n".join(clean(line) for line in lines)), id="summary")
        table: DataTable[Text] = DataTable(cursor_type="row", zebra_stripes=True)
        table.add_columns("Instance", "Req/s", "Errors", "p50", "p99", "Flight", "Refused")
        for part in row.parts:
            one = Row(part.service.id, (part,), row.name)
            rate = "-" if part.rate is None else f"{part.rate.requests:,.1f}"
            texts = [part.service.id, rate, number(one.errors), duration(one.worst("p50_ns"))]
            texts += [duration(one.worst("p99_ns")), number(one.total("in_flight"))]
            texts += [number(one.total("rejected"))]
            table.add_row(*(Text(clean(text)) for text in texts))
        yield table
        yield Footer()


class EndpointTable(DataTable[Text]):
    """The table of endpoints; Enter shows the details of one."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Details")]


class TopApp(App[None]):
    """A table of endpoints that is updated until the user quits.

    Args:
        look: Return the present state of all services.
        interval: Seconds between two updates.
        problem: Return why no service can be seen, or None.
    """

    CSS = """
    #state, #summary { height: auto; padding: 0 1; }
    #state { background: $panel; }
    #filter { display: none; border: none; height: 1; padding: 0 1; }
    #filter.shown { display: block; }
    DataTable { height: 1fr; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("s", "sort", "Sort"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("i", "instances", "Instances"),
        Binding("escape", "clear", "Clear", show=False),
    ]

    def __init__(
        self,
        look: Callable[[], Awaitable[Sight]],
        *,
        interval: float,
        problem: Callable[[], str | None],
    ) -> None:
        super().__init__()
        self._look = look
        self._interval = interval
        self._problem = problem
        self._orders = cycle(ORDERS)
        self._order = next(self._orders)
        self._per_instance = False
        self._filter = ""
        self._sight = Sight((), {})
        self._rows: list[Row] = []

    def compose(self) -> ComposeResult:
        """Make the line of state, the filter, the table and the keys."""
        yield Static("Asking the services ...", id="state")
        yield Input(placeholder="service, endpoint, subject or instance", id="filter")
        yield EndpointTable(cursor_type="row", zebra_stripes=True, cell_padding=1)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one(EndpointTable).focus()
        self.run_worker(self._keep_looking(), exit_on_error=True)

    def on_resize(self, event: Resize) -> None:
        """Show as many columns as fit."""
        self.call_after_refresh(self._show, new_columns=True)

    async def _keep_looking(self) -> None:
        while True:
            pause = asyncio.create_task(asyncio.sleep(self._interval))
            try:
                self._sight = await self._look()
            except (nats.errors.Error, OSError):  # the line of state says why
                self._sight = Sight((), {})
            self._show()
            await pause

    def _show(self, *, new_columns: bool = False) -> None:
        if not self._is_shown():  # before the start, or at the end
            return
        table = self.screen_stack[0].query_one(EndpointTable)
        rows = rows_of(self._sight.services, self._sight.rates, per_instance=self._per_instance)
        self._rows = chosen(rows, order=self._order, text=self._filter)
        self.screen_stack[0].query_one("#state", Static).update(Text(self._state(len(rows))))
        columns = fitting(self.size.width, per_instance=self._per_instance)
        if new_columns or not table.columns:
            table.clear(columns=True)
            for column in columns:
                title = column.title.rjust(column.width) if column.right else column.title
                table.add_column(title, width=column.width)
        selected, offset = table.cursor_coordinate.row, table.scroll_y
        table.clear()
        for row in self._rows:
            table.add_row(*map(Text, cells(row, columns)), key=row.key)
        if self._rows:
            table.cursor_coordinate = Coordinate(min(selected, len(self._rows) - 1), 0)
            table.scroll_to(y=offset, animate=False)

    def _is_shown(self) -> bool:
        return bool(self.screen_stack) and len(self.screen_stack[0].query("#state")) == 1

    def _state(self, count: int) -> str:
        problem = self._problem()
        if problem is not None:
            return clean(problem)
        services = self._sight.services
        names = len({service.name for service in services})
        what = f"{names} services, {len(services)} instances, {count} rows"
        only = f"   filter {self._filter!r}: {len(self._rows)}" if self._filter else ""
        return f"{what}   by {self._order}{only}"

    def action_sort(self) -> None:
        """Sort by the next order."""
        self._order = next(self._orders)
        self._show()

    def action_instances(self) -> None:
        """Show rows of instances, or of endpoints again."""
        self._per_instance = not self._per_instance
        self._show(new_columns=True)

    def action_filter(self) -> None:
        """Open the filter."""
        field = self.query_one(Input)
        field.add_class("shown")
        field.focus()

    def action_clear(self) -> None:
        """Close the filter and show all rows."""
        field = self.query_one(Input)
        field.value = ""
        field.remove_class("shown")
        self.query_one(EndpointTable).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while the user types."""
        self._filter = event.value
        self._show()

    def on_input_submitted(self) -> None:
        """Return to the table; the filter stays."""
        self.query_one(EndpointTable).focus()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show the endpoint under the cursor."""
        row = next((each for each in self._rows if each.key == event.row_key.value), None)
        if row is not None:
            self.push_screen(Details(row))
