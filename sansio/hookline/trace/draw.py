"""Draws a recorded run as a sequence diagram: SVG as text, and a page of HTML around it.

Time runs downward, one event to a row; where long nothing happens, the gap is compressed and labelled. The participants
stand side by side: Telegram, the bot, and each lane that was busy. A bar beside the bot is a request that waits for its
answer; a bar in a lane is a run of the handler.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

from attrs import frozen

from hookline.options import PollingOptions, WebhookOptions, WorkOptions
from hookline.outcomes import Raised, Returned
from hookline.trace.canvas import Canvas, escaped
from hookline.trace.layout import (
    BOT_X,
    LONGEST_GAP,
    REQUEST_WIDTH,
    ROW,
    TELEGRAM_X,
    TIME_X,
    TOP,
    Layout,
    View,
)
from hookline.trace.reader import Header, Trace
from hookline.trace.story import (
    Called,
    Event,
    Over,
    PollAnswered,
    Polled,
    Queued,
    Rejected,
    Reported,
    RequestAnswered,
    RequestCame,
    RunBegan,
    RunCancelled,
    RunEnded,
    Stopped,
    Story,
    tell,
)
from hookline.updates import LaneKey, Update

RUN_WIDTH: Final = 12
MESSAGE_ROOM: Final = BOT_X - TELEGRAM_X - 24
"""For what is said between Telegram and the bot."""
LEGEND: Final = (
    ("good", "a request, answered 200"),
    ("bad", "500; a run that raised"),
    ("warn", "503; a run that was cancelled"),
    ("run", "a run that returned"),
    ("faint", "not ended"),
)

_PAGE_STYLE: Final = """
:root { color-scheme: light dark; }
body { margin: 2rem; background: #ffffff; color: #1f2328; font: 15px/1.5 system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { body { background: #0d1117; color: #e6edf3; } }
h2 { font-size: 1.1rem; }
div { overflow-x: auto; }
"""


@frozen
class Drawing:
    """A picture of a run. title: what it shows, in words. left_out: what it does not, in sentences.

    reports: what the bot reported, each with its time. empty: whether nothing of what was asked for is in it. end: the
        seconds that the whole run took.
    """

    svg: str
    title: str
    left_out: tuple[str, ...]
    reports: tuple[str, ...]
    empty: bool
    end: float

    def page(self) -> str:
        """The picture in a page of HTML, and the reports, which the picture cuts short."""
        reports = "".join(f"<li>{escaped(report)}</li>\n" for report in self.reports)
        return "\n".join(
            [
                "<!doctype html>",
                '<html lang="en">',
                '<meta charset="utf-8">',
                f"<title>{escaped(self.title)}</title>",
                f"<style>{_PAGE_STYLE}</style>",
                f"<div>\n{self.svg}</div>",
                f"<h2>What the bot reported</h2>\n<ul>\n{reports}</ul>"
                if reports
                else "<p>The bot reported nothing.</p>",
                "</html>\n",
            ]
        )


def draw(trace: Trace, view: View | None = None) -> Drawing:
    """A picture of a recorded run."""
    view = view or View()
    story = tell(trace)
    begin, end = (max(0.0, min(second, story.end)) for second in (view.begin, view.end))
    title = f"{_bot(trace.header)}, {begin:.2f} to {end:.2f} s"
    return _Picture(story, Layout(story, view), title).draw()


class _Picture:
    """Draws a story that is laid out."""

    def __init__(self, story: Story, layout: Layout, title: str) -> None:
        self._layout = layout
        self._end = story.end
        self._title = title
        self._canvas = Canvas()
        self._ids = sorted({event.update.update_id for event in story.events if isinstance(event, (RunBegan, Queued))})
        self._same = _same_beginning([str(number) for number in self._ids])
        self._left_out = list(layout.left_out)
        if story.difference is not None:
            self._left_out.append("The run is drawn up to the first effect that differs from what was recorded.")
        self._draw_row: dict[type, Callable[[Any, float], None]] = {
            RequestCame: self._draw_request,
            RequestAnswered: self._draw_answer,
            Rejected: self._draw_rejected,
            Polled: self._draw_poll,
            PollAnswered: self._draw_poll_answer,
            Called: self._draw_call,
            Queued: self._draw_queued,
            RunBegan: self._draw_begin,
            RunEnded: self._draw_end,
            RunCancelled: self._draw_cancelled,
            Reported: self._draw_report,
            Stopped: self._draw_stop,
            Over: self._draw_over,
        }

    def draw(self) -> Drawing:
        """The picture."""
        self._draw_gaps()
        self._draw_columns()
        self._draw_bars()
        said = ""
        for row in self._layout.rows:
            at = f"{row.event.at:.2f}"
            if at != said:
                self._canvas.text("faint plain", TIME_X, row.y + 4, at, anchor="end")
            said = at
            self._draw_row[type(row.event)](row.event, row.y)
        self._draw_heads()
        self._draw_legend()
        svg = self._canvas.svg(self._layout.width, self._layout.bottom + 48, self._title)
        reports = [row.event for row in self._layout.rows if isinstance(row.event, Reported)]
        lines = tuple(f"{event.at:.2f} s: {event.report.verdict.value}: {event.report.text}" for event in reports)
        return Drawing(svg, self._title, tuple(self._left_out), lines, self._layout.empty, self._end)

    # What lies below the rows

    def _draw_gaps(self) -> None:
        for before, after in pairwise(self._layout.rows):
            if after.y - before.y >= ROW + LONGEST_GAP:
                y = before.y + ROW / 2
                passed = _seconds(after.event.at - before.event.at)
                self._canvas.box("gap", 0, y, self._layout.width, LONGEST_GAP - 4)
                self._canvas.text("faint plain", TIME_X, y + LONGEST_GAP / 2 + 2, f"⋮ {passed}", anchor="end")

    def _draw_columns(self) -> None:
        for x in (TELEGRAM_X, BOT_X, *self._layout.lane_x.values()):
            self._canvas.line("life", x, TOP - 18, x, self._layout.bottom)

    def _draw_bars(self) -> None:
        for bar in self._layout.runs():
            assert isinstance(bar.begin, RunBegan)
            says = f"update {bar.begin.update.update_id}: "
            says += _how(bar.end) if isinstance(bar.end, RunEnded) else "not ended"
            x = self._layout.lane_x[bar.begin.update.lane] - RUN_WIDTH / 2
            height = max(2.0, bar.y2 - bar.y1)
            self._canvas.box(f"bar {_tone_of_run(bar.end)}", x, bar.y1, RUN_WIDTH, height, says=says)
        for bar in self._layout.waits():
            assert isinstance(bar.begin, Queued)
            x = self._layout.lane_x[bar.begin.update.lane] + RUN_WIDTH
            self._canvas.line("waits", x, bar.y1, x, bar.y2)
        for slot, bar in self._layout.requests:
            says = "not answered" if not isinstance(bar.end, RequestAnswered) else self._answer(bar.end)
            x = BOT_X + 6 + slot * REQUEST_WIDTH
            height = max(2.0, bar.y2 - bar.y1)
            self._canvas.box(f"bar {_tone_of_answer(bar.end)}", x, bar.y1, REQUEST_WIDTH - 2, height, says=says)

    def _draw_heads(self) -> None:
        canvas, room = self._canvas, self._layout.width - 32
        canvas.text("strong", 16, 26, self._title, room=room)
        notes = list(self._left_out)
        if self._same:
            notes.append(f"The ids of updates begin with {str(self._ids[0])[: self._same]}.")
        canvas.text("faint", 16, 46, " ".join(notes), room=room)
        heads = [(TELEGRAM_X, "Telegram"), (BOT_X, "the bot")]
        heads += [(x, f"lane {lane}") for lane, x in self._layout.lane_x.items()]
        for x, name in heads:
            canvas.box("box", x - 44, TOP - 40, 88, 22)
            canvas.text("strong plain", x, TOP - 25, name, room=84, anchor="middle")
        canvas.text("faint plain", TIME_X, TOP - 25, "seconds", anchor="end")

    def _draw_legend(self) -> None:
        x, y = 16.0, self._layout.bottom + 30
        for tone, text in LEGEND:
            self._canvas.box(f"bar {tone}", x, y - 9, 8, 10)
            self._canvas.text("faint", x + 13, y, text)
            x += 30 + len(text) * 6.4

    # Between Telegram and the bot

    def _to_bot(self, tone: str, y: float, text: str) -> None:
        self._canvas.arrow(tone, TELEGRAM_X, BOT_X, y)
        self._canvas.text(tone, TELEGRAM_X + 12, y - 5, text, room=MESSAGE_ROOM)

    def _to_telegram(self, tone: str, y: float, text: str, x: float = BOT_X) -> None:
        self._canvas.arrow(tone, x, TELEGRAM_X, y)
        self._canvas.text(tone, TELEGRAM_X + 12, y - 5, text, room=MESSAGE_ROOM)

    def _draw_request(self, event: RequestCame, y: float) -> None:
        if event.update is None:
            self._to_bot("", y, "a request that is no update")
            return
        again = f" again, for the {_ordinal(event.number)} time" if event.number > 1 else ""
        self._to_bot("", y, f"update {self._id(event.update)}{again}")
        if event.fate == "joins" and event.lane is not None and event.lane in self._layout.lane_x:
            x = self._layout.lane_x[event.lane]
            self._canvas.arrow("run", BOT_X, x - RUN_WIDTH / 2, y, dashed=True)
            self._say(event.lane, y, "run", f"{self._id(event.update)} joins its run")

    def _draw_answer(self, event: RequestAnswered, y: float) -> None:
        self._to_telegram(_tone_of_answer(event), y, self._answer(event))

    def _draw_rejected(self, event: Rejected, y: float) -> None:
        self._canvas.arrow("faint", BOT_X - 40, BOT_X, y)
        text = f"a client: {event.said}: {event.status}"
        self._canvas.text("faint", BOT_X - 8, y - 5, text, room=MESSAGE_ROOM, anchor="end")

    def _draw_poll(self, event: Polled, y: float) -> None:
        confirms = "" if event.offset is None else f", confirms all before {self._short(event.offset)}"
        self._to_telegram("faint", y, f"getUpdates{confirms}")

    def _draw_poll_answer(self, event: PollAnswered, y: float) -> None:
        if event.problem is not None:
            self._to_bot("bad", y, f"getUpdates: {event.problem}")
            return
        ids = ", ".join(map(self._short, event.updates))
        held = f", and {event.again} that it has" if event.again else ""
        self._to_bot("", y, f"update{'s' if len(event.updates) > 1 else ''} {ids}{held}")

    def _draw_call(self, event: Called, y: float) -> None:
        if event.replied:
            text = f"{event.method}, in the response"
        elif event.said is None:
            text = f"{event.method}: no answer yet"
        else:
            text = f"{event.method}: {event.said} after {_seconds(event.after)}"
        x = float(BOT_X)
        if event.lane in self._layout.lane_x:
            x = self._layout.lane_x[event.lane] - RUN_WIDTH / 2
        self._to_telegram("faint" if event.good else "bad", y, text, x)

    # In the lanes

    def _say(self, lane: LaneKey, y: float, tone: str, text: str) -> None:
        x = self._layout.lane_x[lane] + 2 * RUN_WIDTH
        self._canvas.text(tone, x, y + 4, text, room=self._layout.room_in(lane))

    def _draw_queued(self, event: Queued, y: float) -> None:
        x = self._layout.lane_x[event.update.lane]
        self._canvas.arrow("faint", BOT_X, x + RUN_WIDTH, y, dashed=True)
        self._say(event.update.lane, y, "faint", f"{self._id(event.update)} waits: {_content(event.update)}")

    def _draw_begin(self, event: RunBegan, y: float) -> None:
        x = self._layout.lane_x[event.update.lane]
        self._canvas.arrow("run", BOT_X, x - RUN_WIDTH / 2, y)
        self._say(event.update.lane, y, "", f"{self._id(event.update)} {_content(event.update)}")

    def _draw_end(self, event: RunEnded, y: float) -> None:
        x = self._layout.lane_x[event.update.lane]
        if event.outcome is not None:
            self._canvas.arrow(_tone_of_run(event), x - RUN_WIDTH / 2, BOT_X, y)
        self._say(event.update.lane, y, _tone_of_run(event), f"{self._id(event.update)} {_how(event)}")

    def _draw_cancelled(self, event: RunCancelled, y: float) -> None:
        x = self._layout.lane_x[event.update.lane]
        self._canvas.arrow("warn", BOT_X, x - RUN_WIDTH / 2, y)
        self._say(event.update.lane, y, "warn", f"{self._id(event.update)} is cancelled")

    # Of the bot as a whole

    def _draw_report(self, event: Reported, y: float) -> None:
        x = self._layout.notes_x + 16.0
        if event.lane in self._layout.lane_x:
            x = self._layout.lane_x[event.lane] + 1.5 * RUN_WIDTH
        width = self._layout.width - x - 16
        report = event.report
        text = report.text
        if report.update_id is not None:
            text = text.replace(str(report.update_id), self._short(report.update_id))
        self._canvas.box("note", x, y - 10, width, 20)
        says = f"{report.verdict.value}: {report.text}"
        self._canvas.text("plain", x + 0.5 * RUN_WIDTH, y + 4, text, room=width - RUN_WIDTH, says=says)

    def _draw_stop(self, event: Stopped, y: float) -> None:
        self._across("warn", y, "a stop is asked for")

    def _draw_over(self, event: Over, y: float) -> None:
        tone, why = ("", "") if event.failure is None else ("bad", f": {event.failure}")
        self._across(tone, y, f"the run has ended{why}")

    def _across(self, tone: str, y: float, text: str) -> None:
        self._canvas.line(f"line {tone}", TELEGRAM_X - 40, y, self._layout.width - 16, y)
        self._canvas.text(f"{tone} strong", TELEGRAM_X + 12, y - 5, text, room=self._layout.width - TELEGRAM_X - 40)

    # Words

    def _id(self, update: Update) -> str:
        return self._short(update.update_id)

    def _short(self, update_id: int) -> str:
        """An update's id without the digits that all have."""
        text = str(update_id)
        return f"…{text[self._same :]}" if self._same and text.startswith(str(self._ids[0])[: self._same]) else text

    def _answer(self, event: RequestAnswered) -> str:
        what = "no update" if event.update is None else f"update {self._id(event.update)}"
        after = _seconds(event.after)
        return (
            f"{what}: its client went after {after}"
            if event.status is None
            else f"{event.status}, to {what}, after {after}"
        )


def _bot(header: Header) -> str:
    bot = f"bot {header.token.partition(':')[0]}"
    source = header.source
    if isinstance(source, PollingOptions):
        return f"{bot} by polling (concurrency {source.concurrency}, confirm {source.confirm})"
    if isinstance(source, WebhookOptions):
        return f"{bot} by webhook (timeout {source.timeout:g} s, on_timeout {source.on_timeout})"
    if isinstance(source, WorkOptions):
        return f"{bot}, a worker (concurrency {source.concurrency})"
    return f"{bot}, calls alone"


def _how(event: RunEnded) -> str:
    outcome = event.outcome
    if outcome is None:
        return "is left to Telegram"
    if isinstance(outcome, Raised):
        return f"raised after {_seconds(event.after)}: {outcome.summary}"
    return f"{'returned' if isinstance(outcome, Returned) else 'was cancelled'} after {_seconds(event.after)}"


def _tone_of_run(end: Event | None) -> str:
    if not isinstance(end, RunEnded) or end.outcome is None:
        return "faint"
    return "run" if isinstance(end.outcome, Returned) else "bad" if isinstance(end.outcome, Raised) else "warn"


def _tone_of_answer(end: Event | None) -> str:
    if not isinstance(end, RequestAnswered) or end.status is None:
        return "faint"
    return "good" if end.status == 200 else "warn" if end.status == 503 else "bad"


def _content(update: Update) -> str:
    """What an update is, with a word of what it says."""
    payload = update.payload if isinstance(update.payload, dict) else {}
    said = next((payload[name] for name in ("text", "caption", "data") if isinstance(payload.get(name), str)), None)
    kind = update.kind or "empty"
    return kind if said is None else f"{kind} “{said}”"


def _seconds(seconds: float) -> str:
    if seconds >= 600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s" if seconds >= 100 else f"{round(seconds, 3):.3g} s"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _same_beginning(numbers: list[str]) -> int:
    """How many digits all have at their beginning, so that three or more are left; 0 if they are few."""
    if not numbers or len(set(map(len, numbers))) > 1:
        return 0
    same = next(
        (place for place, digits in enumerate(zip(*numbers, strict=True)) if len(set(digits)) > 1), len(numbers[0])
    )
    same = min(same, len(numbers[0]) - 3)
    return same if same >= 3 else 0
