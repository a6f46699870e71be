"""Pictures of recorded runs: well-formed, with what a person looks for, and cut to what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline import PollingOptions, Returned, Update, WebhookOptions
from hookline.effects import Verdict
from hookline.sim import Fault
from hookline.testing import Behaviour, World, generate, record
from hookline.testing.world import BOT_ID, TOKEN
from hookline.trace import Recorder, Trace, View, draw, read_trace
from hookline.trace.canvas import clipped
from hookline.trace.layout import MAX_LANES
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
    tell,
)

SVG = "{http://www.w3.org/2000/svg}"


def recorded_world(behaviour: Behaviour | Callable[[Update], Behaviour]) -> World:
    """A world that records its bots, and what their handlers do in it."""
    world = World(seed=1, record=True)
    world.behave = lambda update, attempt: behaviour(update) if callable(behaviour) else behaviour
    return world


def recorded(world: World) -> Trace:
    """The trace of its only bot."""
    (lines,) = world.traces().values()
    return read_trace(lines)


def slow_webhook() -> Trace:
    """A handler of 25 s behind a webhook that answers within 10 s; a second message of its chat, and one of another."""
    world = recorded_world(
        lambda update: Behaviour((25.0 if update.payload["text"] == "slow" else 1.0, "sendMessage")),
    )
    host = world.bot(WebhookOptions(timeout=10.0))
    world.run(1)
    world.message("slow")
    world.run(40)
    world.message("<&>\x00", user=2)
    world.run(5)
    world.stop(host)
    return recorded(world)


def kinds(events: tuple[Event, ...]) -> list[type]:
    return [type(event) for event in events]


def texts(svg: str) -> list[str]:
    """What stands in a picture; without what is shown only to whoever points at it."""
    root = ElementTree.fromstring(svg)
    return [
        "".join(part for part in [node.text, *(child.tail for child in node)] if part)
        for node in root.iter(f"{SVG}text")
    ]


def shapes(svg: str, kind: str) -> list[ElementTree.Element]:
    """The shapes of a class."""
    return [node for node in ElementTree.fromstring(svg).iter() if node.get("class") == kind]


# The story


def test_the_story_of_a_slow_webhook_handler() -> None:
    """Two requests are answered 500 in time, the third joins too and gets 200: one run."""
    events = [event for event in tell(slow_webhook()).events if event.lane == 1]
    came = [event for event in events if isinstance(event, RequestCame)]
    answered = [event for event in events if isinstance(event, RequestAnswered)]
    (began,) = [event for event in events if isinstance(event, RunBegan)]
    (ended,) = [event for event in events if isinstance(event, RunEnded)]
    (called,) = [event for event in events if isinstance(event, Called)]

    assert [(event.at, event.number, event.fate) for event in came] == [
        (1.0, 1, "begins"),
        (11.0, 2, "joins"),
        (23.0, 3, "joins"),
    ]
    assert [(event.at, event.status, event.after) for event in answered] == [
        (11.0, 500, 10.0),
        (21.0, 500, 10.0),
        (26.0, 200, 3.0),
    ]
    assert (began.at, ended.at, ended.after) == (1.0, 26.0, 25.0)
    assert (called.at, called.method, called.said) == (26.0, "sendMessage", "ok")
    assert kinds(tell(slow_webhook()).events)[-2:] == [Stopped, Over]


def test_the_story_of_polling() -> None:
    """What is confirmed, what comes, what goes wrong; an update that waits for its chat."""
    world = recorded_world(lambda update: Behaviour((3.0,), "raise" if update.payload["text"] == "bad" else "return"))
    world.bot(PollingOptions(concurrency=2))
    world.run(1)
    first, second = world.message("good"), world.message("bad")
    assert second is not None
    world.run(2)
    world.telegram.set_fault(BOT_ID, Fault("html", code=502))
    world.run(20)
    events = tell(recorded(world)).events

    assert [event.method for event in events if isinstance(event, Called)] == ["getMe", "deleteWebhook"]
    assert next(event.offset for event in events if isinstance(event, Polled)) is None
    assert second + 1 in [event.offset for event in events if isinstance(event, Polled)]
    brought = [event.updates for event in events if isinstance(event, PollAnswered) and event.updates]
    assert [update for updates in brought for update in dict.fromkeys(updates)][:2] == [first, second]
    assert any("502" in (event.problem or "") for event in events if isinstance(event, PollAnswered))
    assert [event.update.update_id for event in events if isinstance(event, Queued)] == [second]
    assert [event.update.update_id for event in events if isinstance(event, RunBegan)] == [first, second]
    verdicts = [event.report.verdict for event in events if isinstance(event, Reported)]
    assert Verdict.HANDLER_FAILED in verdicts


def test_the_story_of_a_run_that_is_cancelled() -> None:
    world = recorded_world(Behaviour((3.0,)))
    world.bot(WebhookOptions(timeout=1.0, on_timeout="cancel"))
    world.run(1)
    world.message()
    world.run(0.5)
    world.message()
    world.run(1)
    of_runs = [kind for kind in kinds(tell(recorded(world)).events) if kind in (RunBegan, RunCancelled, RunEnded)]

    assert of_runs[:3] == [RunBegan, RunCancelled, RunEnded]
    said = texts(draw(recorded(world)).svg)
    assert {"…510 is cancelled", "…510 was cancelled after 1 s"} <= set(said)


def test_the_story_of_a_stop_with_updates_that_wait() -> None:
    """They are left to Telegram: they end without a run."""
    world = recorded_world(lambda update: Behaviour(() if update.lane == 2 else (3.0,)))
    host = world.bot(WebhookOptions())
    world.run(1)
    world.message(user=2)  # Telegram opens more connections once something was answered
    world.run(1)
    world.message()
    world.run(1)
    world.inject("callback_query", {"id": "1", "from": {"id": 1}, "data": "yes"})
    world.run(1)
    world.stop(host)
    world.run(10)
    events = tell(recorded(world)).events
    left = [event for event in events if isinstance(event, RunEnded) and event.outcome is None]

    assert [event.update.kind for event in left] == ["callback_query"]
    said = texts(draw(recorded(world)).svg)
    assert {"…512 waits: callback_query “yes”", "…512 is left to Telegram"} <= set(said)
    assert 503 in [event.status for event in events if isinstance(event, RequestAnswered)]


def test_a_client_that_goes_before_its_answer_is_told() -> None:
    """Its request ends without a status; the run goes on, for as long as it takes."""
    lines: list[str] = []
    bot = Recorder(TOKEN, WebhookOptions(), write=lines.append)
    bot.start(1.0)
    bot.accepted(bot.new_connection(), 1.0)
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n"
    bot.received(1, head + b'{"update_id":5}', 2.0)
    bot.disconnected(1, "reset", 3.0)
    bot.finished(1, Returned(), 1_000.0)
    trace = read_trace(lines)

    (answered,) = [event for event in tell(trace).events if isinstance(event, RequestAnswered)]
    assert (answered.at, answered.status, answered.after) == (2.0, None, 1.0)
    assert {"update 5: its client went after 1 s", "5 returned after 17 min"} <= set(texts(draw(trace).svg))


def test_strangers_and_health_checks_are_told() -> None:
    """What a request's head alone decides is no request for an update; nor is what is no update."""
    lines: list[str] = []
    bot = Recorder(TOKEN, WebhookOptions(path="/hook"), write=lines.append)
    bot.start(1.0)
    for request in (
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /other HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
        b"POST /hook HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]",
    ):
        connection = bot.new_connection()
        bot.accepted(connection, 2.0)
        bot.received(connection, request, 2.0)
    events = tell(read_trace(lines)).events

    assert [(event.said, event.status) for event in events if isinstance(event, Rejected)] == [
        ("GET /healthz", 200),
        ("POST /other", 404),
    ]
    assert [event.fate for event in events if isinstance(event, RequestCame)] == ["answered"]
    assert [event.status for event in events if isinstance(event, RequestAnswered)] == [400]
    said = texts(draw(read_trace(lines)).svg)
    assert {"a client: GET /healthz: 200", "a client: POST /other: 404", "a request that is no update"} <= set(said)


def test_the_story_breaks_off_where_the_effects_differ() -> None:
    """What follows happened to a machine that did something else."""
    trace = slow_webhook()
    wrong = evolve(trace.inputs[8], effects=())
    story = tell(evolve(trace, inputs=(*trace.inputs[:8], wrong, *trace.inputs[9:])))

    assert story.difference is not None
    assert story.difference.input == wrong
    assert len(story.events) < len(tell(trace).events)


# The picture


def test_a_slow_webhook_handler_is_seen_at_a_glance() -> None:
    """Each request and its answer, the joins, one run, the chats, the reports, the stop."""
    drawing = draw(slow_webhook())
    said = texts(drawing.svg)

    assert drawing.title == "bot 42 by webhook (timeout 10 s, on_timeout throw), 0.00 to 46.00 s"
    assert [text for text in said if text.startswith("lane")] == ["lane 1", "lane 2"]
    assert [text for text in said if text.startswith("update …510")] == [
        "update …510",
        "update …510 again, for the 2nd time",
        "update …510 again, for the 3rd time",
    ]
    assert said.count("…510 joins its run") == 2
    assert said.count("500, to update …510, after 10 s") == 2
    assert "200, to update …510, after 3 s" in said
    assert "…510 message “slow”" in said
    assert "…510 returned after 25 s" in said
    assert "sendMessage: ok after 0 s" in said
    assert "a stop is asked for" in said
    assert "the run has ended" in said
    assert "The ids of updates begin with 146272." in said
    assert "⋮ 10 s" in said
    assert len([text for text in said if "did not end within 10 s" in text]) == 2


def test_a_bar_lasts_from_a_runs_begin_to_its_end() -> None:
    """And those of requests have the colours of their answers."""
    svg = draw(slow_webhook()).svg
    runs = [bar for bar in shapes(svg, "bar run") if bar.findtext(f"{SVG}title")]
    bad, good = shapes(svg, "bar bad"), shapes(svg, "bar good")

    assert [bar.findtext(f"{SVG}title") for bar in runs] == [
        "update 146272510: returned after 25 s",
        "update 146272511: returned after 1 s",
    ]
    assert float(runs[0].get("height", 0)) > 4 * float(runs[1].get("height", 0))
    assert [bar.findtext(f"{SVG}title") for bar in bad if bar.findtext(f"{SVG}title")] == [
        "500, to update …510, after 10 s"
    ] * 2
    assert len([bar for bar in good if bar.findtext(f"{SVG}title")]) == 2


def test_what_users_wrote_does_not_break_the_picture() -> None:
    """Markup is text, and what XML can't hold is replaced."""
    said = texts(draw(slow_webhook()).svg)

    assert "…511 message “<&>\N{REPLACEMENT CHARACTER}”" in said


def test_the_page_is_the_picture_with_all_reports() -> None:
    drawing = draw(slow_webhook())
    page = drawing.page()

    assert drawing.svg in page
    assert page.startswith("<!doctype html>")
    assert page.count("<li>") == 2
    assert "11.00 s: handler timeout: the handler of update 146272510 did not end within 10 s" in page
    assert "prefers-color-scheme: dark" in page


def test_colours_need_no_browser() -> None:
    """Viewers such as librsvg know no variables of CSS; light is what stands outside the rules for the dark."""
    style = ElementTree.fromstring(draw(slow_webhook()).svg).findtext(f"{SVG}style") or ""
    light, _, dark = style.partition("@media (prefers-color-scheme: dark)")

    assert "var(" not in style
    for rule in (".paper { fill: #", ".run { color: #", ".note { fill: #"):
        assert rule in light
        assert rule in dark


def test_one_chat_is_drawn_alone() -> None:
    """With its polls, if they bring something for it, and what is of the bot as a whole."""
    said = texts(draw(slow_webhook(), View(lane="2")).svg)
    assert [text for text in said if text.startswith("lane")] == ["lane 2"]
    assert not any("…510" in text for text in said)
    assert "the run has ended" in said

    world = recorded_world(Behaviour())
    world.bot(PollingOptions())
    world.run(1)
    for user in (1, 2):
        world.message(user=user)
        world.run(1)
    said = texts(draw(recorded(world), View(lane="2")).svg)
    assert [text for text in said if text.startswith("update")] == ["update …511"]
    assert "getUpdates" not in said


def test_a_part_of_the_time_is_drawn_alone() -> None:
    """A run that began before it goes on from the top, one that ends after it to the bottom."""
    drawing = draw(slow_webhook(), View(begin=10.0, end=22.0))
    said = texts(drawing.svg)
    (run,) = [bar for bar in shapes(drawing.svg, "bar run") if bar.findtext(f"{SVG}title")]

    assert "update …510" not in said
    assert "…510 returned after 25 s" not in said
    assert "…510 joins its run" in said
    assert float(run.get("height", 0)) > 50
    assert len([bar for bar in shapes(drawing.svg, "bar bad") if bar.findtext(f"{SVG}title")]) == 2


@pytest.mark.parametrize("view", [View(begin=1e6), View(begin=3, end=2), View(lane="99"), View(lane="2", end=20)])
def test_a_picture_of_nothing_says_that_it_is_empty(view: View) -> None:
    """A time or a lane in which nothing happened; what is of the bot as a whole is no part of a lane."""
    drawing = draw(slow_webhook(), view)

    assert drawing.empty
    assert shapes(drawing.svg, "note") == []


@pytest.mark.parametrize("view", [View(), View(begin=-5, end=1e6), View(lane="2")])
def test_the_title_tells_no_more_time_than_the_run_took(view: View) -> None:
    drawing = draw(slow_webhook(), view)

    assert not drawing.empty
    assert drawing.title.endswith(f", 0.00 to {drawing.end:.2f} s")


def test_a_long_run_is_drawn_from_its_begin() -> None:
    """And it is said what is left out; a run that goes on is seen to."""
    drawing = draw(slow_webhook(), View(rows=4))
    run = next(bar for bar in shapes(drawing.svg, "bar run") if bar.findtext(f"{SVG}title"))

    assert len(drawing.left_out) == 1
    assert drawing.left_out[0].endswith("more events are left out, from 11.00 s on.")
    assert drawing.left_out[0] in " ".join(texts(drawing.svg))
    assert float(run.get("height", 0)) > 20


def test_more_lanes_than_there_is_room_for_are_left_out() -> None:
    """With their requests; it is said how many."""
    world = recorded_world(Behaviour((1.0,)))
    world.bot(PollingOptions(concurrency=50))
    world.run(1)
    for user in range(MAX_LANES + 3):
        world.message(user=user + 1)
    world.run(20)
    drawing = draw(recorded(world))

    assert drawing.left_out == ("3 more lanes are left out; a chat can be drawn by itself.",)
    assert len([text for text in texts(drawing.svg) if text.startswith("lane")]) == MAX_LANES


def test_a_run_that_differs_is_drawn_up_to_there() -> None:
    trace = slow_webhook()
    wrong = evolve(trace.inputs[8], effects=())

    assert "up to the first effect that differs" in draw(evolve(trace, inputs=(*trace.inputs[:8], wrong))).left_out[0]


def test_calls_alone_are_drawn() -> None:
    """Of a bot without a source: good ones, refused ones, a reply, one that is not answered."""
    lines: list[str] = []
    bot = Recorder(TOKEN, write=lines.append)
    bot.start(0.0)
    bot.call(1, "getMe", {}, 1.0)
    bot.call(2, "getChat", {}, 1.0)
    bot.connected(1, 1.0)
    body = b'{"ok":false,"error_code":400,"description":"Bad Request"}'
    bot.received(1, b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body), 1.5)
    bot.download(3, "a", 2.0)
    bot.cancel(3, 2.0)
    bot.connect_failed(2, "refused", 2.5)
    drawing = draw(read_trace(lines))
    said = texts(drawing.svg)

    assert drawing.title.startswith("bot 42, calls alone")
    assert "getMe: 400 Bad Request after 0.5 s" in said
    assert "getChat: no answer yet" in said or any(text.startswith("getChat: ") for text in said)
    assert "a download: cancelled after 0 s" in said


def test_a_poll_that_fails_is_drawn() -> None:
    world = recorded_world(Behaviour())
    world.bot(PollingOptions())
    world.run(1)
    world.telegram.set_fault(BOT_ID, Fault("error", code=500, description="Internal Server Error"))
    world.message()
    world.run(60)

    assert any(text.startswith("getUpdates: 500 Internal") for text in texts(draw(recorded(world)).svg))


def test_a_call_in_a_response_is_drawn() -> None:
    world = recorded_world(Behaviour((1.0, "sendMessage")))
    world.bot(WebhookOptions(), reply_with=lambda method: True)
    world.run(1)
    world.message()
    world.run(5)

    assert "sendMessage, in the response" in texts(draw(recorded(world)).svg)


@pytest.mark.exhaustive
@given(
    seed=st.integers(0, 2**32),
    view=st.builds(
        View,
        begin=st.sampled_from([0.0, 5.0]),
        end=st.sampled_from([6.0, float("inf")]),
        lane=st.sampled_from([None, "1", "9"]),
        rows=st.sampled_from([1, 300]),
    ),
)
@settings(max_examples=40)
def test_any_run_can_be_drawn(seed: int, view: View) -> None:
    """Whatever happens in it, and whatever part of it is asked for: the picture is well-formed, and shows the lanes."""
    scenario = generate(seed)
    lanes = {f"lane {-sent.user if sent.kind == 'group' else sent.user}" for sent in scenario.sent}
    for lines in record(scenario).values():
        said = texts(draw(read_trace(lines), view).svg)

        assert {"Telegram", "the bot"} <= set(said)
        assert {text for text in said if text.startswith("lane")} <= lanes


@pytest.mark.parametrize(
    ("text", "room", "shown"),
    [
        ("short", 100, "short"),
        ("a longer text", 50, "a long…"),
        ("two\nlines", 100, "two lines"),
        ("漢字漢字", 40, "漢字…"),
    ],
)
def test_a_text_is_cut_to_its_room(text: str, room: float, shown: str) -> None:
    assert clipped(text, room) == shown
