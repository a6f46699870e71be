"""Webhook delivery: connections, requests, order, deadlines and retries (telegram-server.md, 4, but for 4.7)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.http import Headers, body_bytes
from hookline.sim.sender import head_bytes
from tests.sansio.sim.client import BOT_ID, URL, Client, Delivery


def served(**params: Any) -> Client:
    """A bot with a webhook."""
    client = Client()
    client.set_webhook(**params)
    return client


def healthy(**params: Any) -> Client:
    """A bot with a webhook whose endpoint has just acknowledged an update, over its one connection."""
    client = served(**params)
    client.message(user=999)
    client.reply_all()
    assert (client.pending, len(client.slots)) == (0, 1)
    client.opened.clear()
    return client


def burst(client: Client, chats: int) -> list[int]:
    """A message in each of so many chats; their ids."""
    return [client.message(user=user) for user in range(1, chats + 1)]


def retry(client: Client, delivery: Delivery, status: int = 500, headers: Headers = (), reason: str = "") -> float:
    """Fail a delivery; how many seconds pass until its update is sent again."""
    now = client.now
    client.reply(delivery, status, headers=headers, reason=reason)
    again = client.wait_for_delivery()
    assert again.id == delivery.id
    return again.at - now


# Connections (4.1)


def test_a_connection_carries_one_request_at_a_time() -> None:
    """No pipelining; it is used again once its response has come (4.1)."""
    client = served(max_connections=1)
    ids = burst(client, 3)
    seen = []
    while client.waiting:
        (delivery,) = client.waiting
        seen.append((delivery.post.slot, delivery.id))
        client.reply(delivery)
    (slot,) = client.slots
    assert seen == [(slot, update_id) for update_id in ids]


def test_the_first_burst_goes_over_one_connection_until_it_has_succeeded() -> None:
    """Without a success in the last 10 s only one is opened; it widens after the first 2xx (4.1)."""
    client = served()
    burst(client, 30)
    client.wait(10)
    assert len(client.waiting) == 1
    client.reply(client.waiting[0])
    assert len(client.waiting) == len(client.slots) == 11


def test_connections_are_opened_in_a_burst_of_10_and_then_every_50_ms() -> None:
    """While the endpoint is healthy (4.1)."""
    client = healthy()
    burst(client, 30)
    client.wait(2)
    assert client.opened == pytest.approx([0.0] * 10 + [0.05 * number for number in range(1, 20)])
    assert len(client.waiting) == len(client.slots) == 30


@settings(max_examples=30)
@given(start=st.floats(0, 1e7))
def test_a_burst_is_10_whatever_the_time(start: float) -> None:
    """Rounding takes none of it away (4.1)."""
    client = Client()
    client.wait(start)
    client.set_webhook()
    client.message(user=999)
    client.reply_all()
    burst(client, 30)
    assert len(client.slots) == 11


def test_the_burst_comes_back_with_time() -> None:
    """One more for each 50 ms without an opening, up to 10 (4.1)."""
    client = healthy()
    burst(client, 11)
    for delivery in client.waiting:
        client.reply(delivery, headers=(("connection", "close"),))
    assert client.pending == 0
    client.opened.clear()
    client.wait(0.2)
    burst(client, 30)
    client.wait(1)
    assert client.opened[:6] == pytest.approx([0.05, 0.2, 0.2, 0.2, 0.25, 0.3]), "one was kept (4.1)"


def test_there_are_at_most_max_connections() -> None:
    """However many chats wait (4.1)."""
    client = healthy(max_connections=3)
    burst(client, 30)
    client.wait(2)
    assert len(client.waiting) == len(client.slots) == 3


def test_there_are_no_more_connections_than_ordering_queues() -> None:
    """Two chats need two (4.1)."""
    client = healthy()
    for _ in range(5):
        burst(client, 2)
    client.wait(2)
    assert len(client.slots) == 2


def test_while_unhealthy_one_connection_is_opened_per_2_s() -> None:
    """And only when none is open: the endpoint refuses each (4.1, issue #879)."""
    client = served()
    client.message()
    while len(client.opened) < 5:
        for slot in list(client.slots):
            client.lose_slot(slot, "Connection refused")
        client.wait(0.1)
    assert [round(later - earlier, 1) for earlier, later in pairwise(client.opened)] == [2.0] * 4


def test_an_endpoint_is_healthy_for_10_s_after_its_last_success() -> None:
    """Then a burst starts on the connections that are still open, and widens after the first 2xx (4.1)."""
    client = healthy()
    burst(client, 3)
    client.reply_all()
    client.wait(10)
    burst(client, 5)
    assert len(client.waiting) == 5
    client.reply_all()
    client.wait(10.1)
    burst(client, 7)
    assert len(client.waiting) == len(client.slots) == 5
    client.reply(client.waiting[0])
    assert len(client.waiting) == 6


def test_while_healthy_at_least_one_connection_is_kept() -> None:
    """If the endpoint closes it, another is opened without an update to send (4.1)."""
    client = healthy()
    (slot,) = client.slots
    client.wait(9)
    client.lose_slot(slot)
    assert len(client.slots) == 1
    client.wait(2)
    (slot,) = client.slots
    client.lose_slot(slot)
    assert client.slots == set()


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ((), True),
        ((("connection", "keep-alive"),), True),
        ((("connection", "whatever"),), True),
        ((("connection", "close"),), False),
        ((("connection", "CLOSE"),), False),
    ],
)
def test_a_connection_is_kept_unless_its_response_says_close(headers: Headers, kept: bool) -> None:
    """In any case; any other value means keep-alive (4.1). test_reader has HTTP/1.0."""
    client = served()
    client.message()
    (slot,) = client.slots
    client.reply(client.waiting[0], headers=headers)
    assert (slot in client.slots) is kept


def test_an_idle_connection_is_closed_after_60_s() -> None:
    """From the last response on (4.1, 4.5)."""
    client = healthy()
    client.wait(59.9)
    assert len(client.slots) == 1
    client.wait(0.2)
    assert client.slots == set()
    assert "last_error_message" not in client.webhook


def test_of_idle_connections_the_one_that_idled_longest_is_used() -> None:
    """So all of them stay in use."""
    client = healthy()
    burst(client, 2)
    first, second = client.waiting
    client.reply(second)
    client.wait(1)
    client.reply(first)
    client.message()
    assert client.waiting[0].post.slot == second.post.slot


def test_an_idle_connection_that_the_endpoint_closed_is_replaced() -> None:
    """Nothing was lost, and no error is shown of a clean close (4.1, 4.8)."""
    client = healthy()
    (slot,) = client.slots
    client.lose_slot(slot)
    update_id = client.message()
    assert client.reply_all() == [update_id]
    assert "last_error_message" not in client.webhook


def test_an_endpoint_that_closes_under_a_request_gets_it_again_at_once() -> None:
    """A failed attempt, the first of this update (4.1, 4.6)."""
    client = healthy()
    update_id = client.message()
    client.lose(client.waiting[0], "Connection reset by peer")
    assert [delivery.id for delivery in client.waiting] == [update_id]
    assert client.deliveries[-1].at == client.now


# The request (4.2)


def test_a_request_is_written_byte_for_byte() -> None:
    """The order and the names of its headers, and its body (4.2)."""
    client = Client()
    client.telegram.restart_ids(BOT_ID, 7)
    client.set_webhook("http://user:pass@Example.org:8080/hook?a=b#c", secret_token="secret")
    client.inject("poll", {"id": "5", "question": "ä"})
    request = client.waiting[0].post.request
    body = '{"update_id":7,\n"poll":{"id":"5","question":"ä"}}'.encode()
    assert body_bytes(request.body) == body
    assert head_bytes(request).decode() == (
        "POST /hook?a=b#c HTTP/1.1\r\n"
        "Host: example.org:8080\r\n"
        "Authorization: Basic dXNlcjpwYXNz\r\n"
        "X-Telegram-Bot-Api-Secret-Token: secret\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: keep-alive\r\n"
        "Accept-Encoding: gzip, deflate\r\n"
        "\r\n"
    )


def test_without_userinfo_and_secret_these_headers_are_left_out() -> None:
    """There is no User-Agent, no Accept and no Expect (4.2)."""
    client = served()
    client.message()
    assert [name for name, _ in client.waiting[0].post.request.headers] == [
        "host",
        "content-type",
        "content-length",
        "connection",
        "accept-encoding",
    ]


def test_an_update_is_sent_byte_identical_on_every_retry() -> None:
    """It was rendered once, at its creation (1.2)."""
    client = served()
    client.message("\u00e4 \u2603")
    for _ in range(3):
        client.reply_all(500)
        client.wait(10)
    assert len({body_bytes(delivery.post.request.body) for delivery in client.deliveries}) == 1


@pytest.mark.parametrize(("size", "sent"), [(4_096, True), (4_097, False)])
def test_a_head_of_more_than_4096_bytes_cannot_be_sent(size: int, sent: bool) -> None:
    """Its ordering queue stalls until the webhook is set anew (4.2)."""
    client = served()
    client.message()
    (delivery,) = client.waiting
    room = size - len(head_bytes(delivery.post.request))
    client.reply(delivery)
    client.wait(1)
    client.set_webhook(URL + "x" * room)
    client.message()
    client.message()
    client.wait(60)
    assert bool(client.waiting) is sent
    if not sent:
        client.set_webhook()
        assert len(client.waiting) == 1
        assert client.pending == 2


def test_only_the_queue_stalls_whose_head_is_too_long() -> None:
    """A body with one digit less in its length goes through (4.2)."""
    client = served()
    client.message()
    (delivery,) = client.waiting
    room = 4_096 - len(head_bytes(delivery.post.request))
    client.reply(delivery)
    client.wait(1)
    client.set_webhook(URL + "x" * room)
    client.message("x" * 10_000, user=1)
    short = client.message(user=2)
    assert [delivery.id for delivery in client.waiting] == [short]


# Order (4.3)


def test_one_queue_has_one_update_outstanding() -> None:
    """The next is sent when the one before was acknowledged (4.3)."""
    client = healthy()
    ids = [client.message() for _ in range(3)]
    seen = []
    while client.waiting:
        client.wait(5)
        assert len(client.waiting) == 1
        seen += client.reply_all()
    assert seen == ids


def test_different_queues_are_delivered_in_parallel() -> None:
    """A message and a callback_query of one private chat too, in either order (4.3)."""
    client = healthy()
    message = client.message(user=7)
    press = client.inject("callback_query", client.telegram.button_press(BOT_ID, "x", client.now, user=7))
    assert {delivery.id for delivery in client.waiting} == {message, press}
    client.reply(client.waiting[1])
    assert client.pending == 1


def test_kinds_that_share_a_queue_are_delivered_one_by_one() -> None:
    """As messages, edits and posts of one chat do (4.3); test_kinds has all queues."""
    client = healthy()
    ids = [
        client.inject(kind, {"chat": {"id": -100}, "date": 1_750_000_000, "edit_date": 1_750_000_000})
        for kind in ("message", "edited_message", "channel_post")
    ]
    assert [client.reply_all() for _ in range(3)] == [[update_id] for update_id in ids]


def test_custom_events_are_ordered_after_nothing() -> None:
    """Each has a queue of its own (4.3)."""
    client = healthy()
    for _ in range(5):
        client.inject("custom_event", {"same": "thing"})
    assert len(client.waiting) == 5


def test_a_backlog_is_sent_by_queue_id_within_a_batch() -> None:
    """Not by update_id: all that was read at once has one due time, and negative ids come first (4.3)."""
    client = Client()
    chats = [5, -7, 3, -100, 4]
    ids = {chat: client.message(user=1, chat=chat) for chat in chats}
    client.set_webhook(max_connections=3)
    seen = []
    while client.waiting:
        seen += client.reply_all()
    assert seen == [ids[chat] for chat in sorted(chats)]


def test_the_queue_that_was_due_first_goes_first() -> None:
    """Before its id counts (4.3)."""
    client = served(max_connections=1)
    first = client.message(user=9)
    client.wait(1)
    later = client.message(user=8)
    client.wait(1)
    last = client.message(user=7)
    seen = []
    while client.waiting:
        seen += client.reply_all()
    assert seen == [first, later, last]


def test_the_next_of_a_queue_is_due_since_it_was_loaded() -> None:
    """Not since the one before was acknowledged (4.3)."""
    client = served(max_connections=1)
    first, second = client.message(user=9), client.message(user=9)
    client.wait(1)
    other = client.message(user=8)
    client.wait(1)
    assert [client.reply_all() for _ in range(3)] == [[first], [second], [other]]


def test_a_retry_is_due_at_its_time() -> None:
    """Those that became due before go first (4.3)."""
    client = served(max_connections=1)
    failing = client.message(user=1)
    client.reply_all(500)
    client.reply(client.waiting[0], 500, headers=(("retry-after", "5"),))
    client.wait(4)
    other = client.message(user=2)
    (delivery,) = client.waiting
    assert delivery.id == other
    client.wait(2)
    third = client.message(user=0)
    client.reply(delivery)
    assert [client.reply_all() for _ in range(2)] == [[failing], [third]]


def test_at_most_twice_max_connections_queues_are_loaded() -> None:
    """Nothing newer is read while so many are held, so failing chats block all others (4.3)."""
    client = healthy(max_connections=2)
    failing = burst(client, 4)
    other = client.message(user=9)
    for _ in range(40):
        client.reply_all(500)
        client.wait(30)
    assert {delivery.id for delivery in client.deliveries[1:]} == set(failing)
    client.wait(200)
    client.reply_all()
    client.wait(200)
    assert other in {delivery.id for delivery in client.deliveries}


@pytest.mark.parametrize(("connections", "loaded"), [(1, 2), (40, 80), (500, 1_000), (5_000, 1_000)])
def test_one_read_takes_a_limited_number_of_updates(connections: int, loaded: int) -> None:
    """min(1000, 2 x max_connections - queues held) (4.3)."""
    client = Client()
    for _ in range(1_100):
        client.message()
    client.set_webhook(max_connections=connections)
    sender = client.telegram.bot(BOT_ID).sender
    assert sender is not None
    assert sum(len(lane.events) for lane in sender.lanes.values()) == loaded


def test_a_failing_head_blocks_only_its_own_queue() -> None:
    """Others go on (4.6)."""
    client = healthy()
    failing = client.message(user=1)
    client.message(user=1)
    client.reply_all(500)
    for _ in range(10):
        other = client.message(user=2)
        waiting = [delivery for delivery in client.waiting if delivery.id == other]
        client.reply(waiting[0])
    assert client.pending == 2
    assert {delivery.id for delivery in client.waiting} == {failing}


# Success (4.4)


@pytest.mark.parametrize("status", range(200, 300, 9))
@pytest.mark.parametrize("body", [b"", b"OK", b"{", b'{"ok": false}'])
def test_any_2xx_acknowledges_whatever_its_body(status: int, body: bytes) -> None:
    """The update is deleted (4.4)."""
    client = served()
    client.message()
    client.reply(client.waiting[0], status, body=body)
    assert client.pending == 0
    assert "last_error_message" not in client.webhook


@pytest.mark.parametrize("status", [100, 103, 199, 300, 301, 302, 304, 400, 401, 404, 410, 429, 500, 502, 503, 599])
def test_any_other_status_fails(status: int) -> None:
    """Redirects are not followed, an interim answer is the answer (4.4)."""
    client = served()
    update_id = client.message()
    client.reply(client.waiting[0], status, headers=(("location", "/other"),), reason="Why")
    assert client.pending == 1
    assert [delivery.id for delivery in client.waiting] == [update_id]
    assert client.webhook["last_error_message"] == f"Wrong response from the webhook: {status} Why"


# Deadlines (4.5)


def test_a_response_has_60_s_and_its_update_is_sent_again_at_once() -> None:
    """While the endpoint may still work on the first copy (4.5, 4.6)."""
    client = served()
    update_id = client.message()
    (first,) = client.waiting
    assert client.telegram.sent(first.post.post, client.now) == []
    client.wait(59.9)
    assert client.waiting == [first]
    client.wait(0.2)
    (second,) = client.waiting
    assert (second.id, second.at) == (update_id, 60.0)
    assert first.post.slot not in client.slots
    assert client.webhook["last_error_message"] == "Read timeout expired"
    client.reply(first)
    assert client.pending == 1, "the first response comes too late"


def test_a_request_that_was_not_taken_in_60_s_has_its_own_words() -> None:
    """As when the connection was never opened (4.5)."""
    client = served()
    client.message()
    client.wait(61)
    assert client.webhook["last_error_message"] == "Write timeout expired"


def test_each_delivery_has_its_60_s_from_its_own_hand_over() -> None:
    """Not from the opening of its connection (4.5)."""
    client = healthy()
    client.wait(30)
    client.message()
    client.wait(59.9)
    assert len(client.deliveries) == 2
    client.wait(0.2)
    assert len(client.deliveries) == 3


# Retries (4.6)


def test_an_update_is_sent_again_after_these_waits() -> None:
    """0, 2, 4, 8, 16, 32, 60..64, then 60..120 each, without an end (4.6)."""
    client = served()
    client.message()
    waits = [retry(client, client.waiting[0]) for _ in range(40)]
    assert waits[:6] == [0, 2, 4, 8, 16, 32]
    assert 60 <= waits[6] <= 64
    assert all(60 <= wait <= 120 for wait in waits[7:])
    assert len(set(waits[7:])) > 10, "they are random"


@pytest.mark.parametrize("status", [300, 400, 429, 500, 503])
def test_retry_after_is_honoured_with_every_status_but_2xx(status: int) -> None:
    """Not only 429 and 503 (4.6)."""
    client = served()
    client.message()
    assert retry(client, client.waiting[0], status, (("retry-after", "7"),)) == 7


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1", 1),
        ("3600", 3_600),
        ("3601", 3_600),
        ("2147483647", 3_600),
        ("0", 0),
        ("-1", 0),
        ("1.5", 0),
        ("+5", 0),
        ("5 s", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("2147483648", 0),
        ("9" * 5_000, 0),
        ("\u0665", 0),
    ],
)
def test_retry_after_is_a_decimal_integer_of_seconds(value: str, seconds: int) -> None:
    """At most an hour; anything else counts as none, so that the first retry is at once (4.6)."""
    client = served()
    client.message()
    assert retry(client, client.waiting[0], 503, (("retry-after", value),)) == seconds


def test_retry_after_leaves_the_delay_and_counts_as_a_failure() -> None:
    """After it the next wait without it is 2 s, not 0 (4.6)."""
    client = served()
    client.message()
    assert retry(client, client.waiting[0], 503, (("retry-after", "30"),)) == 30
    assert retry(client, client.waiting[0]) == 2
    assert retry(client, client.waiting[0], 503, (("retry-after", "30"),)) == 30
    assert retry(client, client.waiting[0]) == 4


def test_the_delay_is_each_updates_own() -> None:
    """The next of its queue begins anew (4.6)."""
    client = served()
    client.message()
    client.message()
    for _ in range(4):
        client.reply_all(500)
        client.wait(10)
    client.reply_all(200)
    (second,) = client.waiting
    assert retry(client, second) == 0


@pytest.mark.parametrize(
    ("retry_after", "age", "kept"),
    [("0", 30, True), ("0", 31, False), ("5", 25, True), ("5", 26, False), ("31", 0, False)],
)
def test_an_update_that_would_have_expired_is_dropped_at_once(retry_after: str, age: float, kept: bool) -> None:
    """If now + wait > expires_at, in whole seconds; the queue goes on with the next one (4.6)."""
    client = served()
    client.inject("inline_query", {"from": {"id": 1}})
    client.wait(age)
    following = client.inject("inline_query", {"from": {"id": 1}})
    client.reply(client.waiting[0], 500, headers=(("retry-after", retry_after),))
    assert client.pending == 1 + kept
    assert len(client.telegram.bot(BOT_ID).queue.expired) == (not kept)
    if not kept:
        assert [delivery.id for delivery in client.waiting] == [following]


@pytest.mark.parametrize(("kind", "lifetime"), [("inline_query", 30), ("callback_query", 150), ("message", 86_400)])
def test_an_update_is_retried_until_it_expires(kind: str, lifetime: int) -> None:
    """30 s for an inline query, 150 s for a callback, a day from its date for a message (1.3, 4.6)."""
    client = served()
    client.inject(kind, {"from": {"id": 1}, "chat": {"id": 1}, "date": 1_750_000_000})
    while client.pending:
        client.reply(client.wait_for_delivery(), 500)
    assert lifetime - 125 < client.deliveries[-1].at <= lifetime


def test_a_410_for_more_than_23_hours_removes_the_webhook() -> None:
    """Counted from the first; the updates stay (4.6)."""
    client = Client()
    client.set_webhook()
    client.message()
    client.reply(client.waiting[0], 410, reason="Gone")
    while client.webhook["url"]:
        assert client.now <= 82_800 + 4_000
        client.wait(3_600)
        client.message()
        client.reply_all(410, headers=(("retry-after", "3600"),))
    assert client.now > 82_800
    assert client.slots == set()
    assert client.pending > 0
    assert len(client.ids()) > 0, "getUpdates is allowed again"


@pytest.mark.parametrize("between", [200, 404, 500])
def test_another_status_in_between_begins_the_23_hours_anew(between: int) -> None:
    """Any 2xx or any other one (4.6)."""
    client = Client()
    client.set_webhook()
    client.message()
    client.reply_all(410)
    client.wait(80_000)
    client.reply_all(between)
    client.wait(3_600)
    client.message()
    client.wait(200)
    client.reply_all(410)
    assert client.webhook["url"] == URL


def test_a_connection_failure_in_between_does_not() -> None:
    """Nor does an answer that can't be read (4.6)."""
    client = Client()
    client.set_webhook()
    client.message()
    client.reply_all(410)
    client.lose(client.wait_for_delivery(), "Connection refused")
    unreadable = (("content-encoding", "br"),)
    client.reply(client.wait_for_delivery(), 200, headers=unreadable, body=b"x")
    client.wait(82_801)
    client.reply(client.wait_for_delivery(), 410)
    assert client.webhook["url"] == ""


# What getWebhookInfo shows (4.8)


@pytest.mark.parametrize(
    "reason", ["Connection refused", "Connection reset by peer", "SSL error {error:0A000086:SSL routines::x}"]
)
def test_a_broken_connection_shows_its_reason_alone(reason: str) -> None:
    """The system's text (4.8)."""
    client = served()
    client.message()
    client.lose(client.waiting[0], reason)
    assert client.webhook["last_error_message"] == reason


def test_a_clean_close_without_a_response_fails_and_shows_nothing() -> None:
    """It is only logged (4.8)."""
    client = served()
    client.message()
    client.lose(client.waiting[0])
    client.wait(2)
    assert len(client.deliveries) == 2
    assert "last_error_message" not in client.webhook


def test_the_reason_phrase_is_shown_verbatim() -> None:
    """An empty one leaves a trailing space (4.8)."""
    client = served()
    client.message()
    client.reply_all(500)
    client.reply(client.waiting[0], 404, reason="")
    assert client.webhook["last_error_message"] == "Wrong response from the webhook: 404 "


# Expiry and the store (1.3, 4.9)


def test_an_update_that_expired_before_it_was_read_is_not_sent() -> None:
    """Reading removes it (1.3)."""
    client = Client()
    client.inject("inline_query", {"from": {"id": 1}})
    client.wait(31)
    update_id = client.message()
    client.set_webhook()
    assert [delivery.id for delivery in client.waiting] == [update_id]
    assert client.pending == 1


def test_a_new_webhook_reads_from_the_head() -> None:
    """Whatever was not acknowledged comes again, and what was does not (4.9)."""
    client = healthy()
    ids = burst(client, 5)
    client.reply(client.waiting[2])
    client.wait(1)
    client.set_webhook(f"{URL}2")
    client.reply(client.waiting[0])
    seen = [delivery.id for delivery in client.deliveries if delivery.post.request.target == "/hook2"]
    assert sorted(seen) == [ids[0], ids[1], ids[3], ids[4]]


def test_a_range_of_ids_that_jumps_goes_on_with_what_is_under_way() -> None:
    """What waited is dropped with the old range (1.1)."""
    client = healthy()
    under_way = client.message(user=1)
    client.message(user=1)
    client.telegram.restart_ids(BOT_ID, 5)
    assert client.message(user=1) == 5
    assert [client.reply_all() for _ in range(2)] == [[under_way], [5]]
    assert client.pending == 0


def test_ids_that_reach_their_ceiling_are_loaded_on() -> None:
    """Ids begin anew below (1.1)."""
    client = Client()
    client.telegram.restart_ids(BOT_ID, 1_999_999_999)
    client.set_webhook()
    client.message()
    assert client.reply_all() == [1_999_999_999]
    update_id = client.message()
    assert update_id <= 1_000_000_000
    assert client.reply_all() == [update_id]


# Properties


EVENTS = st.one_of(
    st.tuples(st.just("message"), st.integers(1, 6)),
    st.tuples(st.just("reply"), st.sampled_from([200, 200, 200, 204, 410, 429, 500])),
    st.tuples(st.just("lose"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.05, 1.0, 11.0, 61.0, 200.0])),
    st.tuples(st.just("set"), st.integers(1, 3)),
)


@settings(max_examples=150)
@given(events=st.lists(EVENTS, max_size=40))
def test_a_queue_has_at_most_one_update_outstanding_and_nothing_is_lost(events: list[tuple[str, Any]]) -> None:
    """Whatever the endpoint does: each chat's updates are first sent in order, and all arrive in the end (4.3, 4.6)."""
    client = served(max_connections=2)
    made: dict[int, int] = {}
    acknowledged: list[int] = []
    for name, value in events:
        if name == "message":
            made[client.message(user=value)] = value
        elif name == "wait":
            client.wait(value)
        elif name == "set":
            client.wait(1)
            client.set_webhook(f"{URL}{value}", max_connections=value)
        elif client.waiting:
            delivery = client.waiting[0]
            if name == "lose":
                client.lose(delivery, "Connection refused" if value else None)
            else:
                client.reply(delivery, value)
                acknowledged += [delivery.id] if value < 300 else []
        outstanding = [made[delivery.id] for delivery in client.waiting]
        assert len(outstanding) == len(set(outstanding)) <= 3
        assert client.pending == len(made) - len(set(acknowledged))
    for _ in range(200):
        acknowledged += client.reply_all()
        client.wait(5)
    assert set(acknowledged) == set(made)
    for chat in set(made.values()):
        order = [update_id for update_id in dict.fromkeys(d.id for d in client.deliveries) if made[update_id] == chat]
        assert order == sorted(order)
