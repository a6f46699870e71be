"""The options: their defaults, what each accepts, and what it says about the rest."""

from __future__ import annotations

from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError

from hookline.errors import OptionError
from hookline.options import (
    ApiOptions,
    HttpLimits,
    PollingOptions,
    SetWebhookOptions,
    WebhookOptions,
    check_secret_token,
)

URL = "https://bot.example/hook"


def make(cls: type[Any], **options: Any) -> Any:
    """Options with what they need besides."""
    if cls is SetWebhookOptions:
        options.setdefault("url", URL)
    return cls(**options)


def test_the_defaults_are_those_of_the_design() -> None:
    assert PollingOptions() == PollingOptions(
        timeout=30, limit=100, concurrency=1, confirm="handled", on_error="pass", conflict_grace=60
    )
    assert WebhookOptions() == WebhookOptions(
        timeout=10, on_timeout="throw", max_attempts=5, remember=10_000, max_body=1024 * 1024
    )
    assert HttpLimits().keep_alive == 75


@pytest.mark.parametrize(
    ("cls", "name", "low", "high"),
    [
        (PollingOptions, "timeout", 1, 50),
        (PollingOptions, "limit", 1, 100),
        (PollingOptions, "concurrency", 1, 10_000),
        (PollingOptions, "grace", 0, 86_400),
        (PollingOptions, "conflict_grace", 0, 86_400),
        (WebhookOptions, "timeout", 0.001, 59),
        (WebhookOptions, "concurrency", 1, 10_000),
        (WebhookOptions, "max_waiting", 0, 1_000_000),
        (WebhookOptions, "max_attempts", 1, 1_000),
        (WebhookOptions, "remember", 1, 10_000_000),
        (WebhookOptions, "max_body", 1, 1_073_741_824),
        (WebhookOptions, "retry_after", 1, 3_600),
        (WebhookOptions, "grace", 0, 86_400),
        (ApiOptions, "connections", 1, 10_000),
        (ApiOptions, "timeout", 0.001, 86_400),
        (ApiOptions, "flood_waits", 0, 1_000),
        (ApiOptions, "max_response", 1_024, 1_073_741_824),
        (HttpLimits, "max_head", 1_024, 262_144),
        (HttpLimits, "head_timeout", 0.001, 3_600),
        (HttpLimits, "body_timeout", 0.001, 3_600),
        (HttpLimits, "keep_alive", 60.001, 86_400),
        (HttpLimits, "connections", 1, 1_000_000),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_number_is_checked_for_its_range_and_type(cls: type[Any], name: str, low: float, high: float) -> None:
    """The end of the range is taken, and what is past it is told with the name and the range."""
    for good in (low, high):
        assert getattr(make(cls, **{name: good}), name) == good
    past = low - 1 if isinstance(low, int) else round(low - 0.001)
    for bad in (past, high + 1, float("nan"), float("inf"), True, None, str(high)):
        with pytest.raises(OptionError, match=rf"^{name} must be a (whole )?number (from|above) .* to .*, not "):
            make(cls, **{name: bad})


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (PollingOptions, "timeout"),
        (PollingOptions, "limit"),
        (PollingOptions, "concurrency"),
        (WebhookOptions, "max_waiting"),
        (WebhookOptions, "retry_after"),
        (ApiOptions, "flood_waits"),
        (HttpLimits, "connections"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_count_is_a_whole_number(cls: type[Any], name: str) -> None:
    with pytest.raises(OptionError, match=rf"^{name} must be a whole number"):
        make(cls, **{name: 1.0})


def test_an_error_says_what_is_accepted() -> None:
    with pytest.raises(OptionError) as raised:
        WebhookOptions(timeout=60)

    assert str(raised.value) == "timeout must be a number above 0 to 59, not 60"


@pytest.mark.parametrize(
    ("cls", "name", "names"),
    [
        (PollingOptions, "confirm", ("handled", "received", "stored")),
        (WebhookOptions, "confirm", ("handled", "stored")),
        (PollingOptions, "on_error", ("pass", "stop")),
        (WebhookOptions, "on_timeout", ("throw", "return", "cancel")),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_choice_is_one_of_its_names(cls: type[Any], name: str, names: tuple[str, ...]) -> None:
    for good in names:
        assert getattr(make(cls, **{name: good}), name) == good
    for bad in ("", names[0].upper(), None, True, [names[0]]):
        with pytest.raises(OptionError, match=rf"^{name} must be one of {', '.join(names)}, not "):
            make(cls, **{name: bad})


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (PollingOptions, "drop_pending_updates"),
        (WebhookOptions, "hold_answer"),
        (WebhookOptions, "freezes"),
        (SetWebhookOptions, "drop_pending_updates"),
        (SetWebhookOptions, "delete_at_stop"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_flag_is_true_or_false(cls: type[Any], name: str) -> None:
    assert getattr(make(cls, **{name: True}), name) is True
    for bad in (1, 0, None, "yes"):
        with pytest.raises(OptionError, match=rf"^{name} must be True or False, not "):
            make(cls, **{name: bad})


def test_on_a_host_that_freezes_return_is_refused_with_the_reason() -> None:
    for good in ("throw", "cancel"):
        assert WebhookOptions(freezes=True, on_timeout=good).freezes
    with pytest.raises(OptionError, match=r"^on_timeout must be .* not 'return': this host freezes .* is lost with it"):
        WebhookOptions(freezes=True, on_timeout="return")


@pytest.mark.parametrize("cls", [PollingOptions, SetWebhookOptions])
def test_allowed_updates_are_any_collection_of_names(cls: type[Any]) -> None:
    assert make(cls).allowed_updates is None
    assert make(cls, allowed_updates=[]).allowed_updates == ()
    assert make(cls, allowed_updates=["message", "poll"]).allowed_updates == ("message", "poll")
    assert make(cls, allowed_updates={"message"}).allowed_updates == ("message",)
    for bad in ("message", [""], [1], ("message", None), 7, b"message"):
        with pytest.raises(OptionError, match=r"^allowed_updates must be a list of names of updates, not "):
            make(cls, allowed_updates=bad)


@pytest.mark.parametrize("path", ["/", "/hook", "/a/b-c_d.e~f", "/%20", "/" + "x" * 300])
def test_a_path_is_taken(path: str) -> None:
    assert WebhookOptions(path=path).path == path


@pytest.mark.parametrize(
    "path", ["", "hook", "/a b", "/a?b", "/a#b", "/ä", "/a\n", "/a\r\nx: y", "https://a/b", None, b"/"]
)
def test_a_path_that_no_request_could_have_is_refused(path: Any) -> None:
    with pytest.raises(OptionError, match=r"^path must be a path that begins with /"):
        WebhookOptions(path=path)


@pytest.mark.parametrize("token", ["a", "A-Z_09", "x" * 256])
def test_a_secret_token_is_taken(token: str) -> None:
    assert WebhookOptions(secret_token=token).secret_token == token
    check_secret_token(token)


@pytest.mark.parametrize("token", ["", "x" * 257, "to ken!", "töken", "token\n", "a/b", 7, b"token"])
def test_a_secret_token_that_telegram_would_refuse_is_refused_and_not_shown(token: Any) -> None:
    with pytest.raises(OptionError, match=r"^secret_token must be ") as raised:
        WebhookOptions(secret_token=token)

    assert not token or str(token) not in str(raised.value)


def test_secrets_are_not_in_the_representation() -> None:
    assert "very-secret" not in repr(WebhookOptions(secret_token="very-secret"))
    assert "PRIVATE" not in repr(SetWebhookOptions(url=URL, certificate=b"PRIVATE"))


@pytest.mark.parametrize("url", [URL, "http://localhost:8080/"])
def test_a_webhook_url_is_taken(url: str) -> None:
    assert SetWebhookOptions(url=url).url == url


@pytest.mark.parametrize("url", ["", "bot.example", "ftp://bot.example/", None, b"https://bot.example/"])
def test_a_webhook_url_of_another_kind_is_refused(url: Any) -> None:
    with pytest.raises(OptionError, match=r"^url must be text that can be sent"):
        SetWebhookOptions(url="https://\ud800")
    with pytest.raises(OptionError, match=r"^url must begin with https:// "):
        SetWebhookOptions(url=url)


@pytest.mark.parametrize("options", [PollingOptions(), WebhookOptions(), ApiOptions(), HttpLimits()])
def test_options_do_not_change(options: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        options.timeout = 5


@pytest.mark.parametrize("cls", [PollingOptions, WebhookOptions, SetWebhookOptions, ApiOptions, HttpLimits])
def test_options_are_told_by_their_names(cls: type[Any]) -> None:
    with pytest.raises(TypeError):
        cls(5)
