"""setWebhook, deleteWebhook and getWebhookInfo (telegram-server.md, 3)."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.http import Request
from hookline.sim.effects import CloseSlot, OpenSlot
from tests.sansio.sim.client import BOT_ID, TOKEN, URL, Client

PEM = {"certificate": b"PEM"}
CLOUD_URL = "https://example.org/hook"
NO_WEBHOOK = {"url": "", "has_custom_certificate": False, "pending_update_count": 0}


def settled(**options: Any) -> Client:
    """A bot with a webhook that was set more than a second ago."""
    client = Client(**options)
    client.set_webhook()
    client.wait(1)
    return client


# What is answered (3.5)


def test_setting_and_deleting_say_what_they_did() -> None:
    """The four descriptions of 3.5, beside a result of true."""
    client = Client()

    def said(method: str, **params: Any) -> str:
        answer = client.ask(method, **params)
        client.wait(1)
        assert answer == {"ok": True, "result": True, "description": answer["description"]}
        description: str = answer["description"]
        return description

    assert said("setWebhook", url=URL) == "Webhook was set"
    assert said("setWebhook", url=URL) == "Webhook is already set"
    assert said("setWebhook", url=f"{URL}2") == "Webhook was set"
    assert said("deleteWebhook") == "Webhook was deleted"
    assert said("deleteWebhook") == "Webhook is already deleted"
    assert said("setWebhook", url=URL) == "Webhook was set"
    assert said("setWebhook") == "Webhook was deleted", "without a url it is deleteWebhook (3.1)"
    assert said("setWebhook", url="") == "Webhook is already deleted"


def test_deletewebhook_ignores_a_url() -> None:
    """It deletes all the same (3.1)."""
    client = settled()
    assert client.ask("deleteWebhook", url=URL)["description"] == "Webhook was deleted"
    assert client.webhook["url"] == ""


def test_a_webhook_is_a_bots_own() -> None:
    """Another bot has none by it (1.1)."""
    client = settled()
    assert client.ask("getWebhookInfo", token=f"43:{'t' * 30}")["result"] == NO_WEBHOOK


# The unchanged check (3.2, step 3)


@pytest.mark.parametrize(
    "change",
    [
        {"url": f"{URL}/"},
        {"max_connections": 7},
        {"ip_address": "10.0.0.1"},
        {"secret_token": "other"},
        {"drop_pending_updates": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_sets_the_webhook_anew(change: Any) -> None:
    """Any of url, max_connections, fixed address, secret, or the wish to drop (3.2)."""
    client = settled()
    assert client.ask("setWebhook", **{"url": URL} | change)["description"] == "Webhook was set"


def test_an_unchanged_webhook_goes_on_and_allowed_updates_are_applied() -> None:
    """Delivery is not restarted (3.2)."""
    client = settled()
    client.message()
    answer = client.ask("setWebhook", url=URL, allowed_updates=["message"])
    assert answer["description"] == "Webhook is already set"
    assert client.webhook["allowed_updates"] == ["message"]
    assert len(client.deliveries) == 1
    client.reply_all()
    assert client.pending == 0


def test_a_fixed_address_is_compared_and_its_absence_too() -> None:
    """The "fixed ip" flag and the address (3.2)."""
    client = Client()
    for params, description in (
        ({"ip_address": "10.0.0.1"}, "Webhook was set"),
        ({"ip_address": "10.0.0.1"}, "Webhook is already set"),
        ({}, "Webhook was set"),
        ({"ip_address": ""}, "Webhook is already set"),
    ):
        assert client.ask("setWebhook", url=URL, **params)["description"] == description
        client.wait(1)


def test_a_webhook_with_a_certificate_is_always_set_anew() -> None:
    """Neither a stored nor a given one passes the check (3.2)."""
    client = settled()
    assert client.upload("setWebhook", {"url": URL}, PEM)["description"] == "Webhook was set"
    client.wait(1)
    assert client.upload("setWebhook", {"url": URL}, PEM)["description"] == "Webhook was set"
    client.wait(1)
    assert client.ask("setWebhook", url=URL)["description"] == "Webhook was set"


# The order of steps (3.2)


def test_setwebhook_is_limited_to_one_a_second() -> None:
    """429 retry after 1, with the header and the parameters of every 429 (3.2 step 1, 2.7)."""
    client = Client()
    client.set_webhook()
    client.wait(0.9)
    request = client.call("setWebhook", url=f"{URL}2")
    assert client.answer(request) == {
        "ok": False,
        "error_code": 429,
        "description": "Too Many Requests: retry after 1",
        "parameters": {"retry_after": 1},
    }
    assert dict(client.responses[request][1].headers)["retry-after"] == "1"
    assert client.webhook["url"] == URL
    client.wait(0.1)
    client.set_webhook(f"{URL}2")


def test_a_refused_setwebhook_counts_for_the_limit_and_a_limited_one_does_not() -> None:
    """A second from the last that passed it (3.2)."""
    client = Client()
    assert client.ask("setWebhook", url="ftp://x")["error_code"] == 400
    client.wait(0.6)
    assert client.ask("setWebhook", url=URL)["error_code"] == 429
    client.wait(0.4)
    client.set_webhook()


def test_deleting_is_not_limited() -> None:
    """By either method (3.6, last line)."""
    client = Client()
    client.set_webhook()
    assert client.ask("deleteWebhook")["ok"]
    assert client.ask("setWebhook", url="")["ok"]


BAD = {
    "invalid webhook URL specified": {"url": "ftp://example.org/"},
    "secret token is too long": {"url": URL, "secret_token": "x" * 257},
    "secret token contains unallowed characters": {"url": URL, "secret_token": "a.b"},
    "bad webhook: Invalid IP address specified": {"url": URL, "ip_address": "x"},
}


@pytest.mark.parametrize(("problem", "params"), BAD.items())
def test_a_refused_setwebhook_leaves_no_webhook(problem: str, params: Any) -> None:
    """The old one was closed and erased before the new one was looked at (3.2, steps 5 and 7)."""
    client = settled()
    client.message()
    answer = client.ask("setWebhook", **params)
    assert answer == {"ok": False, "error_code": 400, "description": f"Bad Request: {problem}"}
    assert client.webhook == NO_WEBHOOK | {"pending_update_count": 1}
    assert client.slots == set()
    assert len(client.ids()) == 1, "getUpdates is allowed again"


def test_a_refused_setwebhook_has_dropped_what_was_pending() -> None:
    """If that was asked (3.2, steps 6 and 7)."""
    client = settled()
    client.message()
    client.ask("setWebhook", url="ftp://example.org/", drop_pending_updates=True)
    assert client.pending == 0


def test_a_refused_setwebhook_has_ended_the_pending_poll() -> None:
    """Step 4 comes before step 7 (3.2)."""
    client = Client()
    poll = client.call("getUpdates", timeout=50)
    client.ask("setWebhook", url="ftp://example.org/")
    assert client.answer(poll)["description"] == "Conflict: terminated by setWebhook request"


@pytest.mark.parametrize(
    ("params", "applied"),
    [
        ({"url": "ftp://example.org/"}, False),
        ({"url": URL, "secret_token": "a.b"}, False),
        ({"url": URL, "ip_address": "x"}, True),
        ({"url": URL}, True),
        ({"url": ""}, False),
    ],
)
def test_allowed_updates_are_applied_once_url_and_secret_are_valid(params: Any, applied: bool) -> None:
    """And not by a call that deletes a webhook (1.5, 3.2)."""
    client = settled()
    client.ask("setWebhook", **params | {"allowed_updates": ["poll"], "drop_pending_updates": True})
    assert ("allowed_updates" in client.webhook) is applied


def test_a_call_that_deletes_no_webhook_applies_allowed_updates() -> None:
    """It changes nothing, and that is the case in which they are applied (3.2, step 3)."""
    client = Client()
    client.ask("deleteWebhook", allowed_updates=["poll"])
    assert client.webhook["allowed_updates"] == ["poll"]


@pytest.mark.parametrize("method", ["setWebhook", "deleteWebhook"])
def test_pending_updates_are_dropped_with_or_without_a_webhook(method: str) -> None:
    """By whichever call deletes or sets (3.1, 3.2)."""
    client = Client()
    client.message()
    assert client.ask(method, drop_pending_updates="yes")["description"] == "Webhook is already deleted"
    assert client.pending == 0
    client.set_webhook()
    client.message()
    client.wait(1)
    assert client.ask(method, drop_pending_updates=True)["description"] == "Webhook was deleted"
    assert client.pending == 0


def test_a_webhook_that_is_set_anew_abandons_what_is_in_flight() -> None:
    """Without acknowledgement: it comes again, and a late answer means nothing (3.2, step 5)."""
    client = settled()
    update_id = client.message()
    (old,) = client.waiting
    client.set_webhook(f"{URL}2")
    assert old.post.slot not in client.slots
    assert [delivery.id for delivery in client.waiting] == [update_id]
    client.reply(old)
    assert client.pending == 1
    client.reply_all()
    assert client.pending == 0


# Parameters (3.1)


@pytest.mark.parametrize(
    ("value", "local", "cloud"),
    [
        (None, 1, 1),
        ("", 100, 40),
        (0, 1, 1),
        (7, 7, 7),
        (101, 101, 100),
        (100_001, 100_000, 100),
    ],
)
def test_max_connections_is_clamped(value: Any, local: int, cloud: int) -> None:
    """40 by default and 1 to 100; in local mode 100, and 1 to 100 000; null is 0 (0, 3.1)."""
    client = Client()
    client.set_webhook(max_connections=value)
    assert client.webhook["max_connections"] == local
    client = Client(local=False)
    client.set_webhook(CLOUD_URL, max_connections=value)
    assert client.webhook["max_connections"] == cloud


def test_null_is_a_text_for_all_parameters() -> None:
    """A secret, an invalid address, a host (3.1)."""
    client = Client()
    client.set_webhook(secret_token=None)
    client.message()
    assert ("x-telegram-bot-api-secret-token", "null") in client.waiting[0].post.request.headers
    client.wait(1)
    assert client.ask("setWebhook", url=URL, ip_address=None)["error_code"] == 400
    client.wait(1)
    client.set_webhook(None)  # type: ignore[arg-type]
    client.wait(1)
    client.message()
    assert client.webhook["url"] == "null"
    assert ("host", "null") in client.waiting[-1].post.request.headers


@pytest.mark.parametrize("secret", ["", "A-Z_a-z-09", "x" * 256])
def test_a_secret_of_its_characters_is_accepted(secret: str) -> None:
    """0 to 256 bytes of A-Z a-z 0-9 _ - (0)."""
    Client().set_webhook(secret_token=secret)


@pytest.mark.parametrize("secret", ["x" * 257, "ä" * 128 + "x"])
def test_a_secret_is_measured_in_bytes_before_it_is_looked_at(secret: str) -> None:
    """257 of them are too long (0)."""
    answer = Client().ask("setWebhook", url=URL, secret_token=secret)
    assert answer["description"] == "Bad Request: secret token is too long"


def test_a_certificate_is_an_uploaded_file() -> None:
    """In its field, or in the one that `attach://` names (3.1)."""
    client = Client()
    assert client.upload("setWebhook", {"url": URL}, PEM)["ok"]
    assert client.webhook["has_custom_certificate"] is True
    client.wait(1)
    assert client.upload("setWebhook", {"url": URL, "certificate": "attach://other"}, {"other": b"PEM"})["ok"]
    assert client.webhook["has_custom_certificate"] is True
    client.wait(1)
    client.set_webhook(certificate="PEM")
    assert client.webhook["has_custom_certificate"] is False, "plain text is ignored"


def test_a_certificate_has_at_most_3_mib() -> None:
    """`certificate size is too big (<n> bytes)` (0, 3.3)."""
    client = Client()
    answer = client.upload("setWebhook", {"url": URL}, {"certificate": b"x" * 3_145_729})
    assert answer["description"] == "Bad Request: certificate size is too big (3145729 bytes)"
    client.wait(1)
    assert client.upload("setWebhook", {"url": URL}, {"certificate": b"x" * 3_145_728})["ok"]


# Verification (3.3)


@pytest.mark.parametrize(
    ("url", "ip", "reason"),
    [
        ("https://example.org:8080/", "", "Webhook can be set up only on ports 80, 88, 443 or 8443"),
        ("http://example.org/", "", "An HTTPS URL must be provided for webhook"),
        ("https://example.org/", "null", "Invalid IP address specified"),
        ("https://[2001:db8::1]/", "", "IPv6-only addresses are not allowed"),
        ("https://example.org/", "10.0.0.1", "IP address 10.0.0.1 is reserved"),
    ],
)
def test_an_address_that_is_no_good_is_a_bad_webhook(url: str, ip: str, reason: str) -> None:
    """`Bad Request: bad webhook: <reason>`; the tables of test_address have them all (3.3)."""
    client = Client(local=False)
    params = {"url": url} | ({"ip_address": ip} if ip else {})
    assert client.ask("setWebhook", **params)["description"] == f"Bad Request: bad webhook: {reason}"


def test_setting_opens_a_connection_and_waits_for_nothing() -> None:
    """It is all that is verified: neither connect nor TLS need succeed, and no request is sent (3.3)."""
    client = Client()
    client.set_webhook()
    (slot,) = client.slots
    assert client.deliveries == []
    assert "last_error_message" not in client.webhook
    client.lose_slot(slot, "Connection refused")
    assert client.webhook["last_error_message"] == "Connection refused"


def test_a_connection_goes_where_the_url_says() -> None:
    """Its host, port and scheme (3.4)."""
    client = Client()
    body = b'{"url": "https://Example.org:8443/hook"}'
    request = Request("POST", f"/bot{TOKEN}/setWebhook", (("content-type", "application/json"),), (body,))
    effects = client.telegram.requested(1, request, 0.0)
    opened = [effect for effect in effects if isinstance(effect, OpenSlot)]
    assert [(slot.host, slot.port, slot.tls) for slot in opened] == [("example.org", 8_443, True)]


def test_a_connection_goes_to_the_address_that_was_given() -> None:
    """The Host header is the url's (3.3)."""
    client = Client()
    effects = client.telegram.requested(
        1, Request("GET", f"/bot{TOKEN}/setWebhook?url={URL}&ip_address=10.0.0.1"), client.now
    )
    client.perform(effects)
    assert [effect.host for effect in effects if isinstance(effect, OpenSlot)] == ["10.0.0.1"]
    client.message()
    assert ("host", "endpoint:8080") in client.waiting[0].post.request.headers


def test_deleting_closes_all_connections() -> None:
    """Those under way too (3.2)."""
    client = settled()
    client.message()
    effects = client.telegram.requested(99, Request("GET", f"/bot{TOKEN}/deleteWebhook"), client.now)
    assert {effect.slot for effect in effects if isinstance(effect, CloseSlot)} == client.slots


# getWebhookInfo (3.6)


def test_the_info_of_no_webhook_has_three_fields() -> None:
    """And an empty url (3.6)."""
    assert Client().ask("getWebhookInfo") == {"ok": True, "result": NO_WEBHOOK}


def test_the_info_of_a_webhook() -> None:
    """The secret is not in it (3.6)."""
    client = Client()
    client.set_webhook(secret_token="secret", max_connections=3)
    client.message()
    assert client.ask("getWebhookInfo")["result"] == {
        "url": URL,
        "has_custom_certificate": False,
        "pending_update_count": 1,
        "max_connections": 3,
        "ip_address": "<unknown>",
    }


@pytest.mark.parametrize(
    ("url", "given", "shown"),
    [
        ("http://127.0.0.1:8080/", "", "127.0.0.1"),
        ("http://[::1]:8080/", "", "::1"),
        (URL, "10.0.0.1", "10.0.0.1"),
        (URL, "", "<unknown>"),
    ],
)
def test_the_info_has_the_address_in_use(url: str, given: str, shown: str) -> None:
    """As far as it is known without resolving names (3.6)."""
    client = Client()
    client.set_webhook(url, ip_address=given)
    assert client.webhook["ip_address"] == shown


def test_the_url_is_shown_as_it_was_given() -> None:
    """Not as it was read (3.6)."""
    client = Client()
    client.set_webhook("Example.ORG:8443?x=a b")
    assert client.webhook["url"] == "Example.ORG:8443?x=a b"


def test_pending_counts_all_that_is_stored() -> None:
    """Unconfirmed, in flight, waiting for another try, expired but not collected (3.6)."""
    client = settled(epoch=1_750_000_000)
    client.inject("inline_query", {"from": {"id": 1}})
    client.message(user=1)
    client.message(user=2)
    assert client.webhook["pending_update_count"] == 3
    client.wait(31)
    assert client.webhook["pending_update_count"] == 3


def test_an_error_is_shown_until_the_webhook_is_set_or_deleted() -> None:
    """Success does not clear it (3.6)."""
    client = settled(epoch=1_750_000_000)
    client.message()
    client.reply(client.waiting[0], 500, reason="Oh no")
    error = {
        "last_error_date": 1_750_000_001,
        "last_error_message": "Wrong response from the webhook: 500 Oh no",
    }
    assert client.webhook.items() >= error.items()
    client.reply_all()
    assert client.pending == 0
    assert client.webhook.items() >= error.items()
    client.set_webhook(f"{URL}2")
    assert not client.webhook.keys() & error.keys()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["message", "poll"], ["message", "poll"]),
        (["poll", "message", "custom_event"], ["message", "poll"]),
        (["custom_query"], []),
        ([], None),
    ],
    ids=repr,
)
def test_allowed_updates_are_shown_where_they_are_not_the_default(given: Any, shown: Any) -> None:
    """Also without a webhook; internal ones are left out (3.6)."""
    client = Client()
    client.set_webhook(allowed_updates=given)
    assert client.webhook.get("allowed_updates") == shown
    client.ask("deleteWebhook")
    assert client.webhook.get("allowed_updates") == shown


def test_the_mask_is_shared_by_setwebhook_and_getupdates() -> None:
    """One for the bot (1.5)."""
    client = Client()
    client.set_webhook(allowed_updates=["poll"])
    client.ask("deleteWebhook")
    assert client.offer("message", client.telegram.user_message(BOT_ID, "hi", 0.0)) is None
