"""HTTP messages as values, and what they do not show."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from hookline.http import Request, Response, StreamId, body_bytes, lower_names, values_of, without_token

SECRET = "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"/bot42:{SECRET}/getMe", "/bot42:***/getMe"),
        (f"/file/bot42:{SECRET}/photos/a.jpg", "/file/bot42:***/photos/a.jpg"),
        (f"/bot42:{SECRET}/test/getMe", "/bot42:***/test/getMe"),
        (f"/bot42:{SECRET}", "/bot42:***"),
        (f"/bot1:{SECRET}/x and /bot2:{SECRET}/y", "/bot1:***/x and /bot2:***/y"),
        (f"https://api.telegram.org/bot42:{SECRET}/getMe", "https://api.telegram.org/bot42:***/getMe"),
        (f"https://bot.example/42:{SECRET}/hook", "https://bot.example/42:***/hook"),
        ("http://bot.example:8080/hook", "http://bot.example:8080/hook"),
        ("/hook/bottle:neck", "/hook/bottle:neck"),
        ("", ""),
    ],
)
def test_the_secret_half_of_a_token_is_blotted_out(text: str, shown: str) -> None:
    assert shown == without_token(text)


def test_the_representation_of_a_request_shows_neither_token_nor_secret_nor_body() -> None:
    headers = (("x-telegram-bot-api-secret-token", SECRET), ("host", "bot.example"))
    request = Request("POST", f"/bot42:{SECRET}/getMe", headers, (SECRET.encode(), PurePosixPath(f"/{SECRET}")))

    assert SECRET not in repr(request)
    assert "/bot42:***/getMe" in repr(request)
    assert "bot.example" in repr(request)
    assert "body=34+file bytes)" in repr(request)


def test_the_representation_of_a_response_shows_no_body() -> None:
    response = Response(200, (("content-type", "application/json"),), (SECRET.encode(), b"x"))

    assert repr(response) == "Response(status=200, headers=(('content-type', 'application/json'),), body=34+1 bytes)"


def test_a_body_of_files_says_how_many_pieces_it_has() -> None:
    assert "body=2+file+file bytes)" in repr(Response(200, (), (b"ab", StreamId(1), PurePosixPath("/a"))))


def test_all_values_of_a_header_are_found_in_their_order() -> None:
    headers = (("a", "1"), ("b", "2"), ("a", "3"))

    assert (values_of(headers, "a"), values_of(headers, "b"), values_of(headers, "c")) == (["1", "3"], ["2"], [])


def test_the_pieces_of_a_body_are_joined() -> None:
    assert (body_bytes(()), body_bytes((b"a", b"bc"))) == (b"", b"abc")


def test_header_names_become_lower_case_and_values_stay() -> None:
    assert lower_names(iter([("Content-Type", "Text/HTML"), ("x-a", "B")])) == (
        ("content-type", "Text/HTML"),
        ("x-a", "B"),
    )


def test_messages_are_compared_by_value() -> None:
    assert Request("GET", "/") == Request("GET", "/", (), ())
    assert Response(200) != Response(404)
