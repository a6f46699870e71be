"""Long polling: each rule of the design by its name, in virtual time. Random runs are in test_polling_random.py."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Mapping
from typing import Any, cast

import pytest

from hookline import PollingOptions
from hookline.effects import Abandon, Cancel, Ended, Fetch, Handle, Log, Verdict
from hookline.errors import LocalProtocolError
from hookline.objects import User
from hookline.outcomes import Cancelled, Outcome, Raised, Refused, Result, Returned, Unreachable
from hookline.polling import TABLE, Polling
from hookline.progress import Progress
from hookline.updates import LaneKey
from tests.sansio.keeper import kept
from tests.sansio.poller import ME, OTHER_POLLER, WEBHOOK_IS_SET, Poller, Queue, message

SERVER_ERROR = Refused(500, "Internal Server Error: restart")


def waited(poller: Poller) -> float:
    """The seconds until the next fetch."""
    before = poller.now
    poller.next_poll()
    return poller.now - before


# The start


def test_a_run_starts_with_get_me_delete_webhook_and_get_updates() -> None:
    poller = Poller().start()

    assert poller.of(Fetch) == [
        Fetch(1, "getMe", {}, 10.0),
        Fetch(2, "deleteWebhook", {}, 10.0),
        Fetch(3, "getUpdates", {"limit": 100, "timeout": 30}, 40.0),
    ]


def test_options_become_parameters() -> None:
    options = PollingOptions(timeout=50, limit=7, allowed_updates=("message", "poll"), drop_pending_updates=True)
    poller = Poller(options).start()

    assert poller.of(Fetch)[1:] == [
        Fetch(2, "deleteWebhook", {"drop_pending_updates": True}, 10.0),
        Fetch(3, "getUpdates", {"limit": 7, "timeout": 50, "allowed_updates": ["message", "poll"]}, 60.0),
    ]


def test_no_allowed_updates_at_all_is_sent_as_an_empty_list() -> None:
    """It resets Telegram to its default, other than leaving the parameter out."""
    poller = Poller(PollingOptions(allowed_updates=())).start()

    assert poller.of(Fetch)[-1].params["allowed_updates"] == []


def test_pending_updates_are_dropped_once_and_not_again_later() -> None:
    poller = Poller(PollingOptions(drop_pending_updates=True)).start()
    poller.fail()
    poller.next_poll()

    assert [fetch.method for fetch in poller.of(Fetch)].count("deleteWebhook") == 1


def test_get_me_says_who_the_bot_is() -> None:
    poller = Poller().start()

    assert User(42, True, "Bot", "some_bot") == poller.machine.progress.bot
    assert [Log("polling as @some_bot")] == poller.of(Log)


def test_a_bot_without_a_user_name_is_named_by_its_id() -> None:
    poller = Poller()
    poller.tell("start")
    poller.answer({"id": 42, "is_bot": True, "first_name": "Bot"})

    assert [Log("polling as @42")] == poller.of(Log)


@pytest.mark.parametrize("result", [None, True, [], "text", {}, {"id": "42", "is_bot": True, "first_name": "Bot"}])
def test_a_get_me_of_another_shape_is_tried_again(result: Any) -> None:
    poller = Poller()
    poller.tell("start")
    poller.answer(result)

    assert len(poller.reports(Verdict.UNREACHABLE)) == 1
    assert poller.next_poll().method == "getMe"


@pytest.mark.parametrize("done", [0, 1])
def test_a_failed_call_of_the_start_is_tried_again_before_the_next(done: int) -> None:
    poller = Poller()
    poller.tell("start")
    for result in [ME][:done]:
        poller.answer(result)
    method = poller.next_poll().method
    poller.fail()

    assert method == poller.next_poll().method


@pytest.mark.parametrize("status", [401, 404])
def test_a_get_me_that_finds_no_bot_api_ends_the_run_early(status: int) -> None:
    poller = Poller()
    poller.tell("start")
    poller.outcome(Unreachable("an HTML page", status))

    assert poller.ended == ["getMe: an HTML page; check the token and the address of the Bot API"]


@pytest.mark.parametrize("status", [401, 404, 502])
def test_an_html_page_later_is_outlived(status: int) -> None:
    """A proxy's page says nothing about the token, once it was good."""
    poller = Poller().start()
    poller.outcome(Unreachable("an HTML page", status))

    assert poller.ended == []
    assert poller.next_poll().method == "getUpdates"


# Offsets: what is confirmed when


def test_updates_of_a_batch_are_handled_one_at_a_time_in_order() -> None:
    poller = Poller().start()
    poller.give(12, 10, 11)
    seen = []
    for _ in range(3):
        (update_id,) = poller.running
        seen.append(update_id)
        poller.finish(update_id)

    assert [10, 11, 12] == seen == poller.handed


def test_a_poll_confirms_what_was_handled_and_no_more() -> None:
    poller = Poller().start()
    poller.give(10, 11, 12)
    poller.finish(10)
    poller.next_poll()

    assert poller.offset == 11


def test_an_update_is_not_confirmed_while_an_older_one_is_handled() -> None:
    poller = Poller(PollingOptions(concurrency=5)).start()
    poller.give(10, 11, 12)
    poller.finish(11)
    poller.finish(12)
    poller.next_poll()
    assert poller.offset == 10

    poller.finish(10)
    poller.give(10, 11, 12)
    poller.next_poll()
    assert poller.offset == 13


def test_a_gap_between_ids_holds_nothing_back() -> None:
    poller = Poller().start()
    poller.give(10, 20)
    poller.finish(10)
    poller.next_poll()
    assert poller.offset == 20

    poller.give(20)
    poller.finish(20)
    poller.next_poll()
    assert poller.offset == 21


@pytest.mark.parametrize("concurrency", [1, 5])
def test_confirm_received_confirms_before_a_handler_has_ended(concurrency: int) -> None:
    poller = Poller(PollingOptions(confirm="received", concurrency=concurrency)).start()
    poller.give(10, 11, 12)

    assert poller.offset == 13
    assert concurrency == 1 or len(poller.running) == 3


def test_confirm_received_still_handles_in_order() -> None:
    poller = Poller(PollingOptions(confirm="received")).start()
    poller.give(10, 11)
    poller.give(12)
    for update_id in (10, 11, 12):
        poller.finish(update_id)

    assert poller.handed == [10, 11, 12]


def test_confirm_received_lets_no_more_than_a_batch_wait_before_it_fetches_again() -> None:
    """Else a backlog at Telegram would all be fetched at once."""
    poller = Poller(PollingOptions(confirm="received", limit=3)).start()
    for first in range(10, 100, 3):
        if poller.pending is not None:
            poller.give(first, first + 1, first + 2)
    poller.wait(100)

    assert poller.pending is None
    assert poller.machine.progress == Progress(poller.machine.progress.bot, 1000.0, None, waiting=5, running=1)

    for update_id in (10, 11, 12):
        poller.finish(update_id)
    poller.next_poll()
    assert poller.offset == 16


@pytest.mark.parametrize("concurrency", [1, 5])
def test_what_is_held_already_is_not_handed_out_again(concurrency: int) -> None:
    poller = Poller(PollingOptions(concurrency=concurrency)).start()
    poller.give(10, 11)
    poller.finish(10)
    poller.next_poll()
    poller.give(11, 12)
    poller.wait(10)

    assert poller.handed == ([10, 11] if concurrency == 1 else [10, 11, 12])


def test_an_id_twice_in_one_batch_is_handed_out_once() -> None:
    for options in (PollingOptions(concurrency=5), PollingOptions(concurrency=5, confirm="received")):
        poller = Poller(options).start()
        poller.give(10, 10)
        assert poller.handed == [10]


def test_a_busy_bot_does_not_fetch_what_it_could_not_handle() -> None:
    """One slot, one slow handler: nothing is fetched again until it has ended."""
    poller = Poller().start()
    poller.give(10, 11)
    poller.wait(600)

    assert [offset for _, offset in poller.polls] == [None]
    poller.finish(10)
    poller.next_poll()
    assert poller.offset == 11


def test_a_confirmation_that_failed_is_repeated_though_every_slot_is_busy() -> None:
    poller = Poller().start()
    poller.give(10, 11)
    poller.finish(10)
    poller.next_poll()
    poller.fail()
    poller.next_poll()

    assert poller.offset == 11
    poller.give(11)
    poller.wait(600)
    assert len(poller.polls) == 3


def test_updates_of_other_chats_are_handled_while_one_chat_is_busy() -> None:
    poller = Poller(PollingOptions(concurrency=2)).start()
    poller.answer([message(10, 1), message(11, 1), message(12, 2)])

    assert poller.handed == [10, 12]


@pytest.mark.parametrize(
    "raw",
    [
        {"update_id": 10, "a_kind_of_tomorrow": {"x": 1}},
        {"update_id": 10, "message": "not an object"},
        {"update_id": 10},
    ],
)
def test_an_update_of_an_unknown_form_is_handed_out_as_it_is(raw: dict[str, Any]) -> None:
    poller = Poller().start()
    poller.answer([raw])

    assert [raw] == [effect.update.raw for effect in poller.of(Handle)]


# Pacing


def test_polls_of_one_offset_are_spaced_while_an_update_is_held() -> None:
    """More than the 0.5 s in which Telegram cuts the limit, less than the second in which news are to be seen."""
    poller = Poller(PollingOptions(concurrency=5)).start()
    poller.give(10)
    for _ in range(20):
        poller.next_poll()
        poller.give(10)
    times = [time for time, offset in poller.polls if offset == 10]

    assert len(times) == 20
    assert all(0.5 < later - earlier < 1 for earlier, later in itertools.pairwise(times))


def test_a_new_update_is_seen_within_a_second_while_another_is_held() -> None:
    poller = Poller(PollingOptions(concurrency=5)).start()
    poller.give(10)
    poller.next_poll()
    poller.give(10)  # 11 comes just now
    before = poller.now
    poller.next_poll()
    poller.give(10, 11)

    assert 11 in poller.running
    assert poller.now - before < 1


def test_polls_that_confirm_are_spaced_too() -> None:
    """Handlers of 10 ms each: Telegram is not asked a hundred times a second."""
    poller = Poller().start()
    ids = list(range(10, 110))
    poller.give(*ids)
    for update_id in ids:
        poller.wait(0.01)
        poller.finish(update_id)
        if poller.pending is not None:
            poller.give(*range(poller.offset or 0, 110))

    assert len(poller.polls) <= 12


def test_the_next_poll_follows_at_once_when_all_is_handled() -> None:
    poller = Poller().start()
    poller.give(10)
    poller.finish(10)

    assert poller.offset == 11


def test_an_empty_answer_that_comes_too_soon_makes_no_hot_loop() -> None:
    """As of a server that shuts down, which answers its long polls by an empty list."""
    poller = Poller().start()
    for _ in range(10):
        poller.answer([])
        assert waited(poller) > 0.5


def test_an_empty_answer_in_its_time_is_followed_by_the_next_poll_at_once() -> None:
    poller = Poller().start()
    poller.now += 30
    poller.answer([])

    assert poller.pending is not None


def test_a_pause_says_why() -> None:
    poller = Poller(PollingOptions(concurrency=5)).start()
    poller.give(10)

    assert poller.machine.reason == "updates are held; polls are spaced"


# The window of 100


def test_a_hundred_updates_from_the_oldest_on_are_all_that_can_be_seen() -> None:
    """While the oldest is handled nothing more is fetched; when it has ended, the rest is."""
    poller = Poller(PollingOptions(concurrency=1000)).start()
    poller.give(*range(10, 110))
    for update_id in range(11, 110):
        poller.finish(update_id)
    before = len(poller.polls)
    poller.wait(300)
    assert len(poller.polls) == before

    poller.finish(10)
    poller.next_poll()
    assert poller.offset == 110


def test_an_update_that_holds_back_a_full_window_is_reported_once_after_a_minute() -> None:
    poller = Poller(PollingOptions(concurrency=5, limit=3)).start()
    poller.give(10, 11, 12)
    poller.finish(11)
    assert poller.machine.reason == "an update holds back all others"
    poller.wait(59)
    assert poller.reports(Verdict.HELD_BACK) == []
    poller.wait(2)
    poller.finish(12)
    poller.wait(600)

    assert [report.update_id for report in poller.reports(Verdict.HELD_BACK)] == [10]
    assert poller.machine.deadline is None


def test_each_update_that_holds_back_is_reported() -> None:
    poller = Poller(PollingOptions(concurrency=5, limit=3)).start()
    poller.give(10, 11, 12)
    poller.wait(70)
    poller.finish(10)
    poller.next_poll()
    poller.give(11, 12, 13)
    poller.wait(70)

    assert [report.update_id for report in poller.reports(Verdict.HELD_BACK)] == [10, 11]


def test_slots_that_are_all_busy_are_no_update_that_holds_back() -> None:
    poller = Poller(PollingOptions(concurrency=3, limit=3)).start()
    poller.give(10, 11, 12)
    poller.wait(600)

    assert poller.reports(Verdict.HELD_BACK) == []


# Ids that jump down


def test_ids_that_jump_down_are_handled_once_and_then_confirmed() -> None:
    poller = Poller(PollingOptions(concurrency=5)).start()
    poller.give(5_000_000)
    poller.finish(5_000_000)
    poller.give(1_000, 1_001)
    poller.next_poll()
    assert poller.offset == 1_000
    poller.give(1_000, 1_001)
    poller.finish(1_000)
    poller.finish(1_001)
    poller.next_poll()

    assert poller.offset == 1_002
    assert poller.handed == [5_000_000, 1_000, 1_001]


def test_an_update_of_the_old_range_does_not_hold_back_the_new_one() -> None:
    poller = Poller(PollingOptions(concurrency=5)).start()
    poller.give(5_000_000)
    poller.next_poll()
    poller.give(1_000)
    poller.finish(1_000)
    poller.next_poll()
    assert poller.offset == 1_001

    poller.finish(5_000_000)
    poller.answer([])
    poller.next_poll()
    assert poller.offset == 1_001


def test_confirm_received_follows_ids_that_jump_down() -> None:
    poller = Poller(PollingOptions(confirm="received")).start()
    poller.give(5_000_000)
    poller.give(1_000)

    assert poller.offset == 1_001


def test_ids_that_jump_up_are_handled_like_any() -> None:
    poller = Poller().start()
    poller.give(1_000)
    poller.finish(1_000)
    poller.give(5_000_000)
    poller.finish(5_000_000)

    assert poller.offset == 5_000_001


# Elements that are no update

STRANGERS = [
    {"message": {}},
    {"update_id": None},
    {"update_id": "10"},
    {"update_id": 10.0},
    {"update_id": True},
    {"update_id": -10},
    {},
    [],
    ["update_id"],
    None,
    7,
    "text",
    False,
]


@pytest.mark.parametrize("stranger", STRANGERS, ids=repr)
def test_an_element_that_is_no_update_is_reported_whole_and_its_neighbours_are_handled(stranger: Any) -> None:
    poller = Poller(PollingOptions(concurrency=5)).start()
    poller.answer([message(10), stranger, message(12)])

    assert poller.handed == [10, 12]
    (report,) = poller.reports(Verdict.NOT_AN_UPDATE)
    assert stranger == report.raw
    assert type(stranger) is type(report.raw)


def test_an_element_that_is_no_update_is_reported_once_however_often_it_is_shown() -> None:
    poller = Poller(PollingOptions(concurrency=5)).start()
    for _ in range(5):
        poller.answer([message(10), {"bad": 1}])
        poller.next_poll()
    poller.answer([message(10), {"bad": 1}, {"bad": 2}])

    assert [report.raw for report in poller.reports(Verdict.NOT_AN_UPDATE)] == [{"bad": 1}, {"bad": 2}]


@pytest.mark.parametrize("strangers", [1, 3, 7])
@pytest.mark.parametrize("options", [PollingOptions(limit=3), PollingOptions(limit=3, confirm="received")], ids=repr)
def test_elements_that_are_no_update_do_not_stay_at_telegram(options: PollingOptions, strangers: int) -> None:
    """They have no id to confirm them by, and at the end of the queue no update to pass over them."""
    queue = Queue(10)
    poller = Poller(options).start()
    handled = [queue.push(1)]
    for number in range(strangers):
        queue.push_raw({"bad": number})
    for _ in range(4 * strangers + 4):
        answer = queue.get(poller.offset, 3)
        if not answer:
            break
        poller.answer(answer)
        for update_id in list(poller.running):
            poller.finish(update_id)
        poller.next_poll()
    assert queue.elements == {}

    handled.append(queue.push(1))
    poller.answer(queue.get(poller.offset, 3))
    assert poller.handed == handled
    assert len(poller.reports(Verdict.NOT_AN_UPDATE)) == strangers


def test_strangers_before_any_id_is_known_neither_make_a_hot_loop_nor_delete_updates() -> None:
    queue = Queue(10)
    poller = Poller().start()
    queue.push_raw("bad")
    for _ in range(5):
        poller.answer(queue.get(poller.offset, 100))
        assert waited(poller) > 0.5
    update_id = queue.push(1)
    poller.answer(queue.get(poller.offset, 100))

    assert poller.handed == [update_id]


@pytest.mark.parametrize("known", [False, True])
def test_a_stranger_that_fills_a_small_answer_does_not_hide_what_is_behind_it(known: bool) -> None:
    """Where no offset steps over it, as before any id is known or in a new range of ids, more is asked for."""
    queue = Queue(10)
    poller = Poller(PollingOptions(limit=1)).start()
    if known:  # an offset far above, which Telegram takes for none (telegram-server.md, 2.2)
        poller.answer([message(900)])
        poller.finish(900)
        poller.next_poll()
    queue.push_raw("bad")
    late = queue.push(1)
    poller.answer(queue.get(None, 1))
    assert poller.next_poll().params["limit"] == 100
    poller.answer(queue.get(None, 100))

    assert poller.handed[-1] == late
    poller.finish(late)
    poller.next_poll()
    poller.answer([])
    assert poller.next_poll().params["limit"] == 1


def test_an_update_that_comes_while_strangers_are_stepped_over_is_not_lost() -> None:
    queue = Queue(10)
    poller = Poller().start()
    queue.push(1)
    poller.answer(queue.get(poller.offset, 100))
    poller.finish(10)
    queue.next = 13  # a gap: what stands there has expired
    queue.push_raw("bad")
    for _ in range(3):
        poller.answer(queue.get(poller.offset, 100))
        poller.next_poll()
    late = queue.push(1)
    poller.answer(queue.get(poller.offset, 100))

    assert poller.handed == [10, late]


# Results of another shape, and failures that heal


@pytest.mark.parametrize("result", [None, True, 7, "text", {}, {"update_id": 10}])
def test_a_result_that_is_no_list_is_a_failed_poll(result: Any) -> None:
    poller = Poller().start()
    poller.answer(result)

    (report,) = poller.reports(Verdict.UNREACHABLE)
    assert "the result is not a list of updates" in report.text
    assert 0.75 <= waited(poller) <= 1


@pytest.mark.parametrize(
    "outcome",
    [Unreachable("Connection refused"), Unreachable("an HTML page", 502), SERVER_ERROR, Refused(400, "Bad Request")],
    ids=repr,
)
def test_a_failed_poll_is_reported_and_tried_again_with_the_same_offset(
    outcome: Unreachable | Refused,
) -> None:
    poller = Poller().start()
    poller.give(10)
    poller.finish(10)
    poller.outcome(outcome)

    (report,) = poller.reports(Verdict.UNREACHABLE)
    assert report.text.startswith("getUpdates: ")
    poller.next_poll()
    assert poller.offset == 11


def test_back_off_doubles_from_1_to_60_seconds_less_a_quarter_at_most() -> None:
    poller = Poller().start()
    waits = []
    for _ in range(12):
        poller.fail()
        waits.append(waited(poller))

    for wait, most in zip(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60], strict=True):
        assert 0.75 * most <= wait <= most


def test_a_success_resets_the_back_off() -> None:
    poller = Poller().start()
    for _ in range(6):
        poller.fail()
        poller.next_poll()
    poller.now += 5
    poller.answer([])
    poller.fail()

    assert waited(poller) <= 1


def test_a_result_of_another_shape_does_not_reset_the_back_off() -> None:
    poller = Poller().start()
    for _ in range(3):
        poller.answer({})
        poller.next_poll()
    poller.answer({})

    assert waited(poller) >= 6


def waits_of(seed: int) -> list[float]:
    """Five waits of a back-off."""
    poller = Poller(seed=seed).start()
    waits = []
    for _ in range(5):
        poller.fail()
        waits.append(waited(poller))
    return waits


def test_jitter_comes_from_the_seed() -> None:
    assert waits_of(1) == waits_of(1)
    assert waits_of(1) != waits_of(2)


def test_a_handler_that_ends_does_not_cut_a_back_off_short() -> None:
    poller = Poller(PollingOptions(concurrency=5)).start()
    poller.give(10)
    poller.next_poll()
    poller.outcome(SERVER_ERROR)
    poller.finish(10)

    assert poller.pending is None
    assert poller.machine.reason == "a failed call is tried again"


def test_an_answer_is_overdue_ten_seconds_past_the_long_poll() -> None:
    poller = Poller().start()
    fetch = poller.next_poll().fetch
    assert poller.machine.reason == "the answer to getUpdates is overdue"
    poller.wait(39.9)
    assert poller.of(Abandon) == []
    poller.wait(0.2)

    assert [Abandon(fetch)] == poller.of(Abandon)
    assert "no answer within 40 s" in poller.reports(Verdict.UNREACHABLE)[0].text
    assert poller.next_poll().fetch != fetch


def test_an_overdue_answer_of_the_start_is_abandoned_after_ten_seconds() -> None:
    poller = Poller()
    poller.tell("start")
    poller.wait(10)

    assert [Abandon(1)] == poller.of(Abandon)
    assert poller.next_poll().method == "getMe"


def test_the_answer_to_an_abandoned_poll_is_ignored() -> None:
    """Its updates come again: nothing of it was confirmed."""
    poller = Poller().start()
    fetch = poller.next_poll().fetch
    poller.wait(40)
    poller.next_poll()

    assert poller.tell("fetched", fetch, Result([message(10)])) == []
    assert poller.handed == []
    poller.give(10)
    assert poller.handed == [10]


def test_an_answer_told_twice_is_ignored_the_second_time() -> None:
    poller = Poller().start()
    fetch = poller.next_poll().fetch
    poller.give(10)

    assert poller.tell("fetched", fetch, Result([message(10), message(11)])) == []


# Refusals


@pytest.mark.parametrize(
    ("code", "description"),
    [
        (401, "Unauthorized"),
        (404, "Not Found"),
        (400, "Logged out"),
    ],
)
def test_a_token_that_is_not_accepted_ends_the_run(code: int, description: str) -> None:
    poller = Poller().start()
    poller.give(10)
    poller.finish(10)
    effects = poller.outcome(Refused(code, description))

    failure = f"Telegram does not accept the token (getUpdates: {code} {description}); check it"
    assert [Ended(failure)] == effects  # neither a last poll, nor is one given up that was answered


@pytest.mark.parametrize("code", [401, 404])
def test_a_token_that_is_not_accepted_at_the_start_ends_the_run(code: int) -> None:
    poller = Poller()
    poller.tell("start")
    poller.outcome(Refused(code, "Unauthorized"))

    assert len(poller.ended) == 1
    assert "getMe: 401" in str(poller.ended) or "getMe: 404" in str(poller.ended)


def test_handlers_get_their_grace_time_when_the_token_is_revoked() -> None:
    poller = Poller(PollingOptions(concurrency=5)).start()
    poller.give(10)
    poller.next_poll()
    poller.outcome(Refused(401, "Unauthorized"))
    assert poller.ended == []
    poller.wait(10)
    poller.finish(10)

    assert len(poller.ended) == 1
    assert "401" in str(poller.ended[0])
    assert poller.pending is None


def test_another_bad_request_does_not_end_the_run() -> None:
    poller = Poller().start()
    poller.outcome(Refused(400, "Bad Request: something"))

    assert poller.ended == []


def test_a_webhook_that_is_set_ends_the_run_and_the_cure_is_named() -> None:
    poller = Poller().start()
    poller.outcome(WEBHOOK_IS_SET)

    assert len(poller.ended) == 1
    assert "deleteWebhook" in str(poller.ended[0])


def test_a_poll_ended_by_set_webhook_is_asked_again_and_then_ends_the_run() -> None:
    poller = Poller().start()
    poller.outcome(Refused(409, "Conflict: terminated by setWebhook request"))
    assert poller.ended == []
    [report] = poller.reports(Verdict.CONFLICT)
    assert "the run ends if that webhook stays" in report.text
    poller.next_poll()
    poller.outcome(WEBHOOK_IS_SET)

    assert len(poller.ended) == 1


def test_another_poller_is_waited_out_a_little_longer_than_telegram_spaces_its_conflicts() -> None:
    poller = Poller().start()
    poller.outcome(OTHER_POLLER)

    assert len(poller.reports(Verdict.CONFLICT)) == 1
    assert poller.machine.reason == "another poller is waited out"
    assert 3 <= waited(poller) <= 4


def test_a_conflict_that_ends_within_the_grace_is_survived() -> None:
    poller = Poller().start()
    for _ in range(5):
        poller.outcome(OTHER_POLLER)
        poller.next_poll()
    poller.give(10)
    poller.finish(10)

    assert poller.ended == []
    assert poller.handed == [10]


def test_a_conflict_that_lasts_ends_the_run_and_confirms_what_was_handled() -> None:
    poller = Poller().start()
    poller.give(10)
    poller.finish(10)
    began = poller.now
    while poller.machine.deadline is not None and poller.now < began + 100:
        poller.next_poll()
        poller.outcome(OTHER_POLLER)
        if isinstance(poller.trace[-1][1], Fetch):
            break
    assert 60 <= poller.now - began <= 64
    assert poller.pending == Fetch(poller.pending.fetch if poller.pending else 0, "getUpdates", LAST(11), 1.0)
    poller.answer([])

    assert len(poller.ended) == 1
    assert "another poller of this bot did not go away within 60 s" in str(poller.ended[0])


def LAST(offset: int) -> Mapping[str, int]:  # noqa: N802
    """The parameters of the poll that only confirms."""
    return {"offset": offset, "limit": 1, "timeout": 0}


def test_answers_in_between_do_not_end_a_conflict() -> None:
    """Two pollers end each other's polls in turn, and each gets an update now and then."""
    poller = Poller(PollingOptions(concurrency=5)).start()
    update_id = 10
    began = poller.now
    while not poller.ended and poller.now < began + 200:
        poller.next_poll()
        if poller.now - began > 58 and poller.pending and poller.pending.params["timeout"] == 0:
            poller.answer([])
            break
        poller.outcome(OTHER_POLLER)
        if poller.ended or (poller.pending is not None and poller.pending.params["timeout"] == 0):
            continue
        poller.next_poll()
        poller.give(update_id)
        poller.finish(update_id)
        update_id += 1

    assert len(poller.ended) == 1
    assert poller.now - began < 70


def test_a_conflict_is_over_when_polls_were_answered_for_longer_than_a_long_poll_takes() -> None:
    poller = Poller().start()
    poller.outcome(OTHER_POLLER)
    for _ in range(3):
        poller.next_poll()
        poller.now += 30
        poller.answer([])
    poller.outcome(OTHER_POLLER)

    assert poller.ended == []
    assert "for 60 s more" in poller.reports(Verdict.CONFLICT)[-1].text


def test_a_conflict_long_after_the_last_is_a_new_one() -> None:
    """One 409, an hour without network, one more 409: that is no poller that did not go away."""
    poller = Poller().start()
    poller.outcome(OTHER_POLLER)
    before = poller.now
    while poller.now - before < 3600:
        poller.next_poll()
        poller.fail()
    poller.next_poll()
    poller.outcome(OTHER_POLLER)

    assert poller.ended == []


def test_no_grace_ends_the_run_at_the_first_conflict() -> None:
    poller = Poller(PollingOptions(conflict_grace=0)).start()
    poller.outcome(OTHER_POLLER)

    assert len(poller.ended) == 1


def test_too_many_requests_waits_retry_after() -> None:
    poller = Poller().start()
    poller.outcome(Refused(429, "Too Many Requests: retry after 17", retry_after=17))

    assert len(poller.reports(Verdict.FLOOD)) == 1
    assert poller.machine.reason == "Telegram asked to wait"
    assert waited(poller) == pytest.approx(17)


@pytest.mark.parametrize("retry_after", [None, 0, 0.1])
def test_too_many_requests_without_a_time_waits_a_second(retry_after: float | None) -> None:
    poller = Poller().start()
    poller.outcome(Refused(429, "Too Many Requests", retry_after=retry_after))

    assert waited(poller) == pytest.approx(1)


# Handlers that raise


def test_a_handler_that_raises_is_reported_and_its_update_counts_as_handled() -> None:
    poller = Poller().start()
    poller.give(10, 11)
    poller.finish(10, Raised("ValueError: no", "Traceback: ..."))
    poller.next_poll()

    (report,) = poller.reports(Verdict.HANDLER_FAILED)
    assert report.text == "the handler of update 10 (message) raised ValueError: no"
    assert (report.update_id, report.raw) == (10, "Traceback: ...")
    assert poller.offset == 11
    assert poller.handed == [10, 11]


def test_on_error_stop_ends_the_run_with_the_update_unconfirmed() -> None:
    poller = Poller(PollingOptions(on_error="stop")).start()
    poller.give(9, 10)
    poller.finish(9)
    poller.finish(10, Raised("ValueError: no"))
    assert poller.pending is not None
    assert LAST(10) == poller.pending.params
    poller.answer([message(10)])

    assert poller.ended == ["on_error is 'stop', and the handler of update 10 raised; it stays unconfirmed"]


@pytest.mark.parametrize("chat", [None, 1])
def test_on_error_stop_begins_nothing_new(chat: int | None) -> None:
    poller = Poller(PollingOptions(on_error="stop")).start()
    poller.give(10, 11, 12, chat=chat)
    poller.finish(10, Raised("ValueError: no"))

    assert poller.handed == [10]
    assert len(poller.ended) == 1


def test_on_error_stop_lets_the_others_end() -> None:
    poller = Poller(PollingOptions(on_error="stop", concurrency=5)).start()
    poller.give(10, 11)
    poller.finish(11, Raised("ValueError: no"))
    assert poller.ended == []
    poller.finish(10)

    assert poller.pending is not None
    assert LAST(11) == poller.pending.params


def test_on_error_stop_abandons_the_pending_poll() -> None:
    poller = Poller(PollingOptions(on_error="stop", concurrency=5)).start()
    poller.give(10)
    fetch = poller.next_poll().fetch
    poller.finish(10, Raised("ValueError: no"))

    assert [Abandon(fetch)] == poller.of(Abandon)
    assert len(poller.ended) == 1


def test_on_error_stop_does_not_claim_that_a_received_update_is_unconfirmed() -> None:
    poller = Poller(PollingOptions(on_error="stop", confirm="received")).start()
    poller.give(10)
    poller.finish(10, Raised("ValueError: no"))
    poller.answer([])

    assert poller.ended == ["on_error is 'stop', and the handler of update 10 raised"]


def test_a_handler_that_cancels_itself_does_not_hold_back_the_rest() -> None:
    poller = Poller().start()
    poller.give(10)
    poller.finish(10, Cancelled())

    assert poller.offset == 11


# Stop


def test_a_stop_with_nothing_to_confirm_ends_at_once_without_a_call() -> None:
    poller = Poller().start()
    poll = poller.next_poll().fetch

    assert [Abandon(poll), Ended(None)] == poller.tell("stop")


def test_a_stop_confirms_nothing_when_nothing_was_handled() -> None:
    poller = Poller().start()
    poller.give(10, 11)
    poller.tell("stop")
    poller.finish(10, Cancelled())

    assert poller.pending is None
    assert poller.ended == [None]


def test_a_stop_before_the_start_ends_the_run() -> None:
    poller = Poller()

    assert [Ended(None)] == poller.tell("stop")
    with pytest.raises(LocalProtocolError):
        poller.machine.start(poller.now)


@pytest.mark.parametrize("done", [0, 1])
def test_a_stop_during_the_start_ends_the_run(done: int) -> None:
    poller = Poller()
    poller.tell("start")
    for result in [ME][:done]:
        poller.answer(result)

    assert [Abandon(done + 1), Ended(None)] == poller.tell("stop")


def test_a_stop_begins_nothing_new_and_waits_for_what_runs() -> None:
    poller = Poller().start()
    poller.give(10, 11, 12)
    poller.tell("stop")
    assert poller.machine.reason == "the grace time of running handlers ends"
    poller.wait(19)
    poller.finish(10)

    assert poller.handed == [10]
    assert poller.pending is not None
    assert Fetch(poller.pending.fetch, "getUpdates", LAST(11), 5.0) == poller.pending
    assert poller.machine.reason == "the answer to the last getUpdates is overdue"
    assert [Ended(None)] == poller.give(11)


def test_a_stop_says_what_it_waits_for_what_is_left_and_what_comes_again() -> None:
    poller = Poller(PollingOptions(concurrency=3, grace=7)).start()
    poller.give(10, 11, 12, 13, 14, 15)
    poller.finish(11)
    poller.finish(12)
    poller.tell("stop")
    poller.finish(14)
    poller.wait(7.1)
    again = "updates that were handled and come again: 3 (updates 11, 12, 14)"

    assert [effect.text for effect in poller.of(Log)][-3:] == [
        "stopping: 3 running, with 7 s to end (updates 10, 13, 14); 1 waiting, left to Telegram",
        "handlers that did not end within the grace time: 2; Telegram sends updates 10, 13 again",
        f"{again}; update 10, which came before them, was not handled",
    ]


def test_a_stop_of_confirm_received_says_that_what_waits_is_still_to_be_handled() -> None:
    poller = Poller(PollingOptions(confirm="received")).start()
    poller.give(10, 11)

    assert Log("stopping: 1 running, with 20 s to end (update 10); 1 waiting, still to be handled") in poller.tell(
        "stop"
    )


def test_the_last_poll_confirms_no_further_than_the_oldest_that_is_not_handled() -> None:
    poller = Poller(PollingOptions(concurrency=5)).start()
    poller.give(10, 11, 12)
    poller.finish(10)
    poller.finish(12)
    poller.tell("stop")
    poller.wait(20)

    assert [Cancel(2)] == poller.of(Cancel)
    assert poller.pending is not None
    assert LAST(11) == poller.pending.params


def test_what_telegram_knows_is_confirmed_already_is_not_confirmed_again() -> None:
    poller = Poller().start()
    poller.give(10)
    poller.finish(10)
    poller.answer([])
    poller.tell("stop")

    assert [offset for _, offset in poller.polls] == [None, 11]
    assert poller.ended == [None]


def test_an_offset_that_was_sent_but_not_answered_is_sent_again() -> None:
    """Telegram has it most likely, and may hold the repeated poll for 3 s: that is not waited for."""
    poller = Poller().start()
    poller.give(10)
    poller.finish(10)
    poller.tell("stop")
    assert poller.pending is not None
    assert Fetch(poller.pending.fetch, "getUpdates", LAST(11), 1.0) == poller.pending
    poller.wait(1)

    assert poller.ended == [None]
    assert poller.of(Abandon)[-1] == Abandon(poller.of(Fetch)[-1].fetch)
    assert poller.reports(Verdict.UNREACHABLE) == []


def stopping() -> Poller:
    """A stopped run whose last poll is pending, with an offset that was not sent before."""
    poller = Poller().start()
    poller.give(10, 11)
    poller.tell("stop")
    poller.finish(10)
    return poller


@pytest.mark.parametrize("outcome", [Unreachable("Connection refused"), SERVER_ERROR, OTHER_POLLER], ids=repr)
def test_a_last_poll_that_fails_is_reported_and_ends_the_run(outcome: Unreachable | Refused) -> None:
    poller = stopping()
    poller.outcome(outcome)

    assert len(poller.reports(Verdict.UNREACHABLE)) == 1
    assert poller.ended == [None]


def test_a_last_poll_without_an_answer_ends_the_run_after_five_seconds() -> None:
    poller = stopping()
    poller.wait(4.9)
    assert poller.ended == []
    poller.wait(0.2)

    assert len(poller.reports(Verdict.UNREACHABLE)) == 1
    assert poller.ended == [None]


def test_handlers_that_outlast_the_grace_time_are_cancelled_and_left_unconfirmed() -> None:
    poller = Poller(PollingOptions(grace=7)).start()
    poller.give(10)
    poller.tell("stop")
    poller.wait(6.9)
    assert poller.of(Cancel) == []
    poller.wait(0.2)

    assert [Cancel(1)] == poller.of(Cancel)
    assert poller.handed == [10]
    assert poller.ended == [None]
    assert poller.reports(Verdict.LOST) == []


def test_a_second_stop_cuts_the_grace_time_short() -> None:
    poller = Poller().start()
    poller.give(10)
    poller.tell("stop")

    assert Cancel(1) in poller.tell("stop")
    assert poller.ended == [None]


def test_a_further_stop_does_nothing() -> None:
    poller = stopping()
    assert poller.tell("stop") == []
    poller.give(11)
    assert poller.ended == [None]

    assert poller.tell("stop") == []


def test_no_grace_time_ends_the_run_at_the_next_tick() -> None:
    poller = Poller(PollingOptions(grace=0)).start()
    poller.give(10)
    poller.tell("stop")
    poller.tick()

    assert poller.ended == [None]


@pytest.mark.parametrize(
    "outcome",
    [SERVER_ERROR, Refused(429, "Too Many Requests", retry_after=3000), OTHER_POLLER],
    ids=repr,
)
def test_a_stop_cuts_every_wait_short(outcome: Refused) -> None:
    poller = Poller().start()
    for _ in range(5):
        poller.outcome(outcome)
        if outcome.code != 500:
            break
        poller.next_poll()

    poller.tell("stop")
    assert poller.ended == [None]


def test_a_stop_while_polls_are_spaced_ends_the_run() -> None:
    poller = Poller().start()
    poller.answer([])

    assert [Ended(None)] == poller.tell("stop")


@pytest.mark.parametrize("outcome", [Cancelled(), Raised("ValueError: no")])
def test_a_handler_cancelled_in_the_stop_leaves_its_update_to_telegram(outcome: Outcome) -> None:
    """One that raised is passed over, as ever."""
    poller = Poller().start()
    poller.give(10)
    poller.tell("stop")
    poller.finish(10, outcome)

    assert (poller.pending is None) == isinstance(outcome, Cancelled)


def test_a_handler_that_raises_in_the_stop_with_on_error_stop_stays_unconfirmed() -> None:
    poller = Poller(PollingOptions(on_error="stop")).start()
    poller.give(10)
    poller.tell("stop")
    poller.finish(10, Raised("ValueError: no"))

    assert poller.pending is None
    assert poller.ended == [None]


def test_confirm_received_handles_at_a_stop_what_telegram_has_no_more() -> None:
    poller = Poller(PollingOptions(confirm="received")).start()
    poller.give(10, 11, 12)
    poller.tell("stop")
    for update_id in (10, 11, 12):
        assert poller.ended == []
        poller.finish(update_id)

    assert poller.handed == [10, 11, 12]
    assert poller.pending is not None
    assert LAST(13) == poller.pending.params


def test_confirm_received_reports_what_is_lost_when_the_grace_time_is_up() -> None:
    poller = Poller(PollingOptions(confirm="received")).start()
    poller.give(10, 11)
    poller.tell("stop")
    poller.wait(20)

    lost = poller.reports(Verdict.LOST)
    assert [(10, message(10)), (11, message(11))] == [(report.update_id, report.raw) for report in lost]
    assert [Cancel(1)] == poller.of(Cancel)


def test_what_is_told_after_the_end_is_ignored() -> None:
    poller = Poller(PollingOptions(concurrency=5, grace=0)).start()
    poller.give(10)
    poll = poller.next_poll().fetch
    poller.tell("stop")
    poller.tick()
    assert poller.ended == [None]

    assert poller.finish(10) == []
    assert poller.tell("fetched", poll, Result([message(11)])) == []
    assert poller.tick() == []
    assert poller.machine.deadline is None
    assert poller.machine.reason == "nothing is awaited"


def test_a_handler_that_ends_while_the_last_poll_is_under_way_is_ignored() -> None:
    poller = Poller(PollingOptions(concurrency=5)).start()
    poller.give(10, 11)
    poller.finish(10)
    poller.tell("stop")
    poller.tell("stop")
    assert poller.pending is not None

    assert poller.finish(11) == []
    poller.answer([])
    assert poller.ended == [None]


# The program's own lanes


def by_text(raw: Mapping[str, Any]) -> LaneKey:
    """One lane for all."""
    return str(raw["message"]["text"])


def broken(raw: Mapping[str, Any]) -> LaneKey:
    """Raises."""
    raise RuntimeError("no lane")


def mistyped(raw: Mapping[str, Any]) -> LaneKey:
    """Returns what is no key."""
    return cast(LaneKey, [raw["update_id"]])


def forgetful(raw: Mapping[str, Any]) -> LaneKey:
    """Returns nothing."""
    return cast(LaneKey, None)


def test_the_programs_own_lanes_replace_the_default() -> None:
    poller = Poller(PollingOptions(concurrency=5), lane=by_text).start()
    poller.give(10, 11)

    assert poller.handed == [10]


@pytest.mark.parametrize("lane", [broken, mistyped, forgetful])
def test_a_lane_function_that_fails_leaves_the_default_lane_and_is_reported_once(lane: Any) -> None:
    poller = Poller(PollingOptions(concurrency=5), lane=lane).start()
    poller.give(10, 11)
    poller.next_poll()
    poller.give(10, 11)

    assert poller.handed == [10, 11]
    assert [report.update_id for report in poller.reports(Verdict.POLICY_FAILED)] == [10, 11]


# Progress


def test_progress_says_when_updates_were_fetched_and_handled_and_how_many_wait() -> None:
    poller = Poller().start()
    bot = poller.machine.progress.bot
    assert Progress(bot) == poller.machine.progress
    poller.now = 1010.0
    poller.give(10, 11, 12)
    assert Progress(bot, 1010.0, None, waiting=2, running=1) == poller.machine.progress
    poller.now = 1020.0
    poller.finish(10)

    assert Progress(bot, 1010.0, 1020.0, waiting=1, running=1) == poller.machine.progress


def test_a_failed_poll_is_no_progress() -> None:
    poller = Poller().start()
    poller.now = 1010.0
    poller.answer([])
    poller.next_poll()
    poller.now = 1020.0
    poller.fail()

    assert poller.machine.progress.last_fetched == 1010.0


# Wrong use


def in_the_middle() -> Poller:
    """A run with updates running, waiting and handled, and a poll pending."""
    poller = Poller(PollingOptions(concurrency=2)).start()
    poller.give(10, 11, 12)
    poller.finish(10)
    poller.next_poll()
    return poller


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("start", ()),
        ("fetched", (0, Result([]))),
        ("fetched", (99, Result([]))),
        ("finished", (0, Returned())),
        ("finished", (1, Returned())),  # told before
        ("finished", (99, Returned())),
    ],
)
def test_wrong_use_raises_and_changes_nothing(method: str, args: tuple[Any, ...]) -> None:
    poller = in_the_middle()
    before = pickle.dumps(poller.machine)
    with pytest.raises(LocalProtocolError):
        poller.tell(method, *args)

    assert before == pickle.dumps(poller.machine)


def test_the_end_of_a_handler_that_was_not_begun_is_wrong_use() -> None:
    poller = Poller().start()
    poller.give(10, 11)
    before = pickle.dumps(poller.machine)
    with pytest.raises(LocalProtocolError):
        poller.tell("finished", 2, Returned())

    assert before == pickle.dumps(poller.machine)


def test_facts_before_the_start_are_wrong_use() -> None:
    machine = Polling()
    with pytest.raises(LocalProtocolError):
        machine.fetched(1, Result(ME), 0.0)
    with pytest.raises(LocalProtocolError):
        machine.finished(1, Returned(), 0.0)

    assert machine.tick(0.0) == []
    assert machine.deadline is None


# Copies


def pickled(machine: Polling) -> Polling:
    """The machine, gone through bytes."""
    copied = pickle.loads(pickle.dumps(machine))
    assert isinstance(copied, Polling)
    return copied


def eventful(poller: Poller) -> list[Any]:
    """All that came of a run with some of everything."""
    poller.start()
    poller.answer([message(10, 1), {"bad": 1}, message(11, 1), message(12, 2)])
    poller.next_poll()
    poller.fail()
    poller.finish(12, Raised("ValueError: no"))
    poller.next_poll()
    poller.outcome(OTHER_POLLER)
    poller.finish(10)
    poller.next_poll()
    poller.wait(40)
    poller.next_poll()
    poller.give(11, 12, 13)
    poller.tell("stop")
    poller.finish(11)
    poller.wait(30)
    assert poller.ended
    return poller.trace


@pytest.mark.parametrize("again", [copy.deepcopy, pickled])
def test_a_copied_machine_goes_on_the_same(again: Any) -> None:
    options = PollingOptions(concurrency=2)

    assert eventful(Poller(options)) == eventful(Poller(options, again=again))


def test_a_copy_and_its_original_do_not_share_anything() -> None:
    poller = in_the_middle()
    before = pickle.dumps(poller.machine)
    other = copy.deepcopy(poller.machine)
    other.stop(poller.now)

    assert before == pickle.dumps(poller.machine)


# The table of states


def stored(stops: int) -> None:
    """A run with an inbox, which is stopped while that is being opened, while it stores, or never.

    Or what it had fails while the next poll waits for its time, or leaves no room from the start.
    """
    poller = Poller(PollingOptions(confirm="stored", max_waiting=1))
    poller.tell("start")
    poller.answer(ME)
    if stops == 0:
        poller.tell("stop")  # Opening, Over
        return
    poller.tell("opened", {4: kept(9), 5: kept(7, 8)}.get(stops, ()), durable=True)
    poller.answer(True)
    if stops == 5:  # Fetching, Full
        return
    if stops == 4:
        poller.fail()
        poller.finish(9, Raised("ValueError"))
        poller.wait(1.0)  # Pausing, Full
        return
    poller.give(10, 11)
    if stops == 1:
        poller.tell("stop")  # Storing, Draining
    elif stops == 2:
        poller.tell("store_failed", 1, "no")  # Storing, Pausing
        poller.next_poll()
        poller.give(10)
        poller.tell("stored", 2, (10,))  # Storing, Fetching
    else:
        poller.tell("stored", 1, (10, 11))  # Storing, Full


def test_the_declared_edges_are_those_that_are_taken() -> None:
    TABLE.seen = set()
    try:
        Poller().tell("stop")  # Idle, Over
        eventful(Poller(PollingOptions(concurrency=2)))
        poller = Poller().start()
        poller.give(10, 11)  # Fetching, Full
        poller.finish(10)  # Full, Pausing
        poller.tell("stop")
        poller = Poller().start()
        poller.give(10)
        poller.finish(10)  # Full, Fetching
        poller.give(11)
        poller.tell("stop")  # Full, Draining
        poller.tell("stop")  # Draining, Draining
        poller = Poller(PollingOptions(concurrency=5, limit=2)).start()
        poller.give(10, 11)
        poller.finish(11)  # Full, Full
        Poller().start().tell("stop")  # Fetching, Draining
        poller = Poller(PollingOptions(concurrency=5)).start()
        poller.give(10, 11)
        poller.next_poll()
        poller.give(10, 11)
        poller.finish(10)  # Pausing, Pausing: the next poll may come earlier, as the offset has moved
        for stops in range(6):
            stored(stops)
        seen = {(getattr(old, "__name__", ""), getattr(new, "__name__", "")) for old, new in TABLE.seen}
    finally:
        TABLE.seen = None

    assert set(TABLE.declared()) == seen
