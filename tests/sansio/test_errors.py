"""The exceptions: what catches them, what they say, and that they cross processes."""

from __future__ import annotations

import copy
import pickle

import pytest

from hookline import errors
from hookline.errors import (
    ApiError,
    HooklineError,
    LocalProtocolError,
    NetworkError,
    OptionError,
    RunFailed,
    StoreError,
    WebhookTimeout,
)

EXAMPLES = [
    HooklineError("a"),
    LocalProtocolError("a"),
    OptionError("a"),
    RunFailed("a"),
    StoreError("a"),
    WebhookTimeout(7, 10.0),
    ApiError("sendMessage", 429, "Too Many Requests", 5.0, -100),
    NetworkError("sendMessage", "no answer"),
]


def test_every_exception_has_an_example_here() -> None:
    assert {type(error) for error in EXAMPLES} == {
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
    }


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_one_base_catches_all(error: Exception) -> None:
    assert isinstance(error, HooklineError)


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (LocalProtocolError("a"), RuntimeError),
        (OptionError("a"), ValueError),
        (WebhookTimeout(7, 10.0), TimeoutError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_standard_librarys_base_catches_it_too(error: Exception, base: type[Exception]) -> None:
    assert isinstance(error, base)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("again", [copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_exception_is_copied_with_all_it_carries(error: Exception, again: object) -> None:
    assert callable(again)
    copied = again(error)

    assert (type(error), str(error), vars(error)) == (type(copied), str(copied), vars(copied))


def test_a_webhook_timeout_names_the_update_and_the_cures() -> None:
    assert str(WebhookTimeout(7, 2.5)) == (
        "the handler of update 7 did not end within 2.5 s; Telegram will send the update again "
        "(make the handler faster, raise timeout, or use on_timeout='return')"
    )


def test_an_api_error_says_what_telegram_said() -> None:
    error = ApiError("sendMessage", 400, "Bad Request: chat not found")

    assert str(error) == "sendMessage: 400 Bad Request: chat not found"
    assert (error.method, error.code, error.description) == ("sendMessage", 400, "Bad Request: chat not found")
    assert (error.retry_after, error.migrate_to_chat_id) == (None, None)


def test_a_network_error_says_which_call_failed() -> None:
    assert str(NetworkError("getMe", "connection refused")) == "getMe: connection refused"
