"""A bot's instance in the server: tokens, close, logOut, revocation and restart (telegram-server.md, 2.6 and 4.9)."""

from __future__ import annotations

import pytest

from tests.sansio.sim.client import BOT_ID, TOKEN, URL, Client

SECRET = "t" * 30
UNAUTHORIZED = {"ok": False, "error_code": 401, "description": "Unauthorized"}
LOGGED_OUT = {"ok": False, "error_code": 400, "description": "Logged out"}
HALF_HOUR = 1_800


# Tokens (2.6)


@pytest.mark.parametrize(
    "token",
    [
        f"0:{SECRET}",
        f"042:{SECRET}",
        "42",
        "",
        f"42:{'t' * 78}",
        f"-1:{SECRET}",
        f"{1 << 54}:{SECRET}",
        f"99999999999999999999:{SECRET}",
    ],
)
def test_a_token_of_the_wrong_form_is_invalid(token: str) -> None:
    """0 first, no colon, over 80 bytes, an id outside 1..2^54-1 (2.6)."""
    answer = Client().ask("getMe", token=token)
    assert answer == {"ok": False, "error_code": 401, "description": "Unauthorized: invalid token specified"}


@pytest.mark.parametrize("token", [f"x:{SECRET}", f":{SECRET}", f"4 2:{SECRET}", f"+42:{SECRET}", f"42.:{SECRET}"])
def test_a_token_whose_id_is_no_integer_is_misdirected(token: str) -> None:
    """421 (2.6)."""
    answer = Client().ask("getMe", token=token)
    assert answer["error_code"] == 421
    assert answer["description"] == "Misdirected Request: unallowed token specified"


@pytest.mark.parametrize("secret", ["", "t" * 23, "t" * 29 + ".", "t" * 29 + " "])
def test_a_token_whose_secret_cannot_be_one_is_unauthorized(secret: str) -> None:
    """Shorter than 24 characters, or not base64url (2.6)."""
    assert Client().ask("getMe", token=f"42:{secret}") == UNAUTHORIZED


@pytest.mark.parametrize("token", [f"1:{'t' * 24}", f"{(1 << 54) - 1}:{'A-z_9' * 5}", f"42:{'t' * 77}"])
def test_a_token_of_the_right_form_is_accepted(token: str) -> None:
    """Whichever it is: up to 80 bytes, the longest id (2.6)."""
    answer = Client().ask("getMe", token=token)
    assert answer["result"]["id"] == int(token.partition(":")[0])


# Revocation (2.6)


def test_a_revoked_token_is_unauthorized_for_ever() -> None:
    """Every method, unknown ones too (2.6, 5.1)."""
    client = Client()
    client.perform(client.telegram.revoke(BOT_ID, client.now))
    for method in ("getMe", "getUpdates", "close", "logOut", "unheard"):
        assert client.ask(method) == UNAUTHORIZED
    client.wait(30 * 86_400)
    assert client.ask("getMe") == UNAUTHORIZED


def test_revocation_deletes_the_webhook_and_keeps_the_updates() -> None:
    """Only logOut deletes them (2.6)."""
    client = Client()
    client.set_webhook()
    client.message()
    client.perform(client.telegram.revoke(BOT_ID, client.now))
    assert client.slots == set()
    assert client.webhook == {"url": "", "has_custom_certificate": False, "pending_update_count": 1}


def test_revocation_answers_the_pending_poll() -> None:
    """By what is there (2.6)."""
    client = Client()
    poll = client.call("getUpdates", timeout=50)
    client.perform(client.telegram.revoke(BOT_ID, client.now))
    assert client.answer(poll) == {"ok": True, "result": []}


# close (2.6)


def test_close_answers_the_pending_poll_with_what_is_there() -> None:
    """200, not an error (2.6)."""
    client = Client()
    poll = client.call("getUpdates", timeout=50)
    update_id = client.message()
    assert client.ask("close") == {"ok": True, "result": True}
    assert [update["update_id"] for update in client.answer(poll)["result"]] == [update_id]


@pytest.mark.parametrize("used", [False, True])
def test_closing_what_does_not_run_is_refused(used: bool) -> None:
    """Never used, or closed before (2.6)."""
    client = Client()
    if used:
        client.ask("close")
    answer = client.ask("close")
    assert answer["description"] == "Bad Request: the bot has already been closed"
    assert answer["error_code"] == 400


def test_close_is_refused_in_the_first_ten_minutes_of_a_late_instance() -> None:
    """429 with what remains of 600 s, if the instance started more than 600 s after the server (2.6)."""
    client = Client()
    client.ask("getMe", token=f"43:{SECRET}")
    client.wait(601)
    client.ask("getMe")
    client.wait(100.5)
    answer = client.ask("close")
    assert answer["description"] == "Too Many Requests: retry after 500"
    assert answer["parameters"] == {"retry_after": 500}
    assert client.ask("close", token=f"43:{SECRET}")["ok"], "this one started with the server"
    client.wait(499.5)
    assert client.ask("close")["ok"]


def test_close_keeps_webhook_and_updates() -> None:
    """The next call starts the instance anew, with the webhook, and what was in flight is sent again (2.6, 4.9)."""
    client = Client()
    client.set_webhook(max_connections=3)
    update_id = client.message()
    assert client.ask("close")["ok"]
    assert client.slots == set()
    assert client.webhook["url"] == "", "nothing runs"
    client.wait(1)
    assert len(client.deliveries) == 1
    assert client.ask("getWebhookInfo")["result"]["max_connections"] == 3
    assert [delivery.id for delivery in client.deliveries] == [update_id, update_id]


def test_an_instance_that_setwebhook_starts_does_not_restore_the_stored_webhook() -> None:
    """It has only the new one (4.9)."""
    client = Client()
    client.set_webhook()
    client.ask("close")
    client.set_webhook(f"{URL}2")
    client.message()
    assert [delivery.post.request.target for delivery in client.waiting] == ["/hook2"]
    client.ask("close")
    assert client.ask("getWebhookInfo")["result"]["url"] == f"{URL}2"


def test_an_instance_that_deletewebhook_starts_leaves_the_stored_webhook() -> None:
    """It answers that there is none, and the next instance has it again (4.9)."""
    client = Client()
    client.set_webhook()
    client.ask("close")
    assert client.ask("deleteWebhook")["description"] == "Webhook is already deleted"
    assert client.ids() == []
    client.ask("close")
    assert client.ask("getWebhookInfo")["result"]["url"] == URL


def test_a_restored_webhook_opens_no_connection_without_an_update() -> None:
    """It counts as verified (4.9)."""
    client = Client()
    client.set_webhook()
    client.ask("close")
    client.ask("getMe")
    assert client.slots == set()


def test_an_instance_remembers_nothing_of_the_one_before() -> None:
    """Neither the pacing of getUpdates nor its limits: they are not stored (2.3, 2.5)."""
    client = Client()
    client.message()
    client.message()
    assert len(client.ids()) == 2
    client.ask("close")
    assert len(client.ids()) == 2


# logOut (2.6)


def test_logout_deletes_webhook_and_updates() -> None:
    """Both (2.6)."""
    client = Client()
    client.set_webhook()
    client.message()
    assert client.ask("logOut") == {"ok": True, "result": True}
    assert client.slots == set()
    assert client.webhook == {"url": "", "has_custom_certificate": False, "pending_update_count": 0}


def test_ids_go_on_after_logout() -> None:
    """The tail is kept (1.1)."""
    client = Client()
    first = client.message()
    client.ask("logOut")
    assert client.message() == first + 1


@pytest.mark.parametrize(("authorised", "kept"), [(0, HALF_HOUR), (HALF_HOUR, HALF_HOUR), (HALF_HOUR + 1, 1)])
def test_after_logout_everything_is_refused_for_a_while(authorised: float, kept: float) -> None:
    """1 s if the bot had been authorised for more than 1800 s, else 1800 s (2.6)."""
    client = Client()
    client.ask("getMe")
    client.wait(authorised)
    client.ask("logOut")
    client.wait(kept - 0.5)
    for method in ("getMe", "getUpdates", "close", "logOut"):
        assert client.ask(method) == LOGGED_OUT
    client.wait(0.5)
    assert client.ask("getMe")["ok"]


def test_logout_answers_the_pending_poll() -> None:
    """By what is there (2.6)."""
    client = Client()
    poll = client.call("getUpdates", timeout=50)
    client.ask("logOut")
    assert client.answer(poll) == {"ok": True, "result": []}


# A restart of the server, as a bot sees it (4.9)


def test_a_restart_sends_what_was_in_flight_again() -> None:
    """Reading restarts at the head, over new connections; the webhook is there at once (4.9)."""
    client = Client()
    client.set_webhook()
    update_id = client.message()
    (old,) = client.waiting
    client.perform(client.telegram.restart(BOT_ID, client.now))
    assert old.post.slot not in client.slots
    assert [delivery.id for delivery in client.waiting] == [update_id]
    client.reply(old)
    assert client.pending == 1, "nobody hears the old answer"
    client.reply_all()
    assert client.pending == 0


def test_a_restart_answers_the_pending_poll() -> None:
    """By what is there (2.6)."""
    client = Client()
    poll = client.call("getUpdates", timeout=50)
    client.perform(client.telegram.restart(BOT_ID, client.now))
    assert client.answer(poll) == {"ok": True, "result": []}


def test_a_restart_restores_a_stored_webhook_of_a_closed_bot() -> None:
    """As of any other (4.9)."""
    client = Client()
    client.set_webhook()
    client.ask("close")
    update_id = client.message()
    client.perform(client.telegram.restart(BOT_ID, client.now))
    assert [delivery.id for delivery in client.waiting] == [update_id]


@pytest.mark.parametrize("ended", ["logOut", "revoked"])
def test_a_restart_does_not_authorise_a_bot(ended: str) -> None:
    """Whose webhook is gone as well (2.6)."""
    client = Client()
    client.set_webhook()
    if ended == "revoked":
        client.perform(client.telegram.revoke(BOT_ID, client.now))
    else:
        client.ask(ended)
    client.perform(client.telegram.restart(BOT_ID, client.now))
    client.message()
    assert client.deliveries == []
    assert client.ask("getMe") in (UNAUTHORIZED, LOGGED_OUT)


def test_a_token_in_the_test_environment_is_checked_alike() -> None:
    """Of another instance (5.1)."""
    client = Client()
    client.ask("logOut")
    assert client.ask("test/getMe", token=TOKEN)["ok"]
    assert client.ask("test/getMe", token="42:x") == UNAUTHORIZED
