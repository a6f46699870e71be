"""Switching between polling and a webhook: duplicates, holes and loss (telegram-server.md, 6)."""

from __future__ import annotations

from tests.sansio.sim.client import Client


def test_what_polling_did_not_confirm_is_posted_to_the_webhook() -> None:
    """It is still stored (6)."""
    client = Client()
    ids = [client.message(user=user) for user in (1, 2, 3)]
    assert client.ids() == ids
    client.set_webhook()
    seen = []
    while client.waiting:
        seen += client.reply_all()
    assert seen == ids


def test_a_last_getupdates_before_the_switch_prevents_duplicates() -> None:
    """As does drop_pending_updates (6)."""
    client = Client()
    ids = [client.message(), client.message()]
    client.ids()
    client.ids(offset=ids[-1] + 1)
    client.set_webhook()
    assert client.deliveries == []
    client.message()
    client.wait(1)
    client.set_webhook(drop_pending_updates=True)
    assert client.waiting == []
    assert client.pending == 0


def test_deleting_the_webhook_keeps_the_queue_with_holes_in_it() -> None:
    """What was in flight comes through getUpdates; later updates of other chats were acknowledged before (6)."""
    client = Client()
    client.set_webhook()
    client.message(user=9)
    client.reply_all()
    ids = [client.message(user=user) for user in (1, 2, 3, 4)]
    client.reply(client.waiting[1])
    client.reply(client.waiting[2])
    client.ask("deleteWebhook")
    assert client.ids() == [ids[0], ids[2]]


def test_updates_pile_up_while_nobody_reads() -> None:
    """Up to the limits of the queue, then the new ones are lost (6, 1.2)."""
    client = Client()
    for _ in range(100_000):
        client.message()
    assert client.offer("poll", {"id": "5"}) is None
    assert client.pending == 100_000
    assert len(client.ids()) == 100


def test_a_higher_offset_confirms_what_another_call_has_not_returned_yet() -> None:
    """Concurrent calls with guessed offsets lose updates (6, issue #43)."""
    client = Client()
    ids = [client.message() for _ in range(4)]
    assert client.ids(offset=ids[2], limit=2) == ids[2:]
    assert client.ids(offset=ids[0], limit=2) == ids[2:]


def test_one_press_that_the_users_app_sends_again_is_another_update() -> None:
    """An update_id removes duplicates of delivery only (6, issue #699)."""
    client = Client()
    press = client.telegram.button_press(42, "x", client.now)
    ids = [client.inject("callback_query", press), client.inject("callback_query", press)]
    assert ids[0] != ids[1]
    assert client.ids() == ids


def test_an_update_may_count_as_pending_while_its_answer_is_on_its_way() -> None:
    """pending_update_count is above 0 until the response has come (6)."""
    client = Client()
    client.set_webhook()
    client.message()
    assert client.webhook["pending_update_count"] == 1
    client.reply_all()
    assert client.webhook["pending_update_count"] == 0
