"""The Bot API's HTTP face: tokens, addresses, calls as requests, answers as outcomes, calls in a webhook's response."""

from __future__ import annotations

import json
import pickle
from email import message_from_bytes
from io import BytesIO
from pathlib import PurePath
from random import Random
from types import MappingProxyType
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from hookline.botapi import (
    MAX_REPLY_FILES,
    MAX_REPLY_VALUES,
    Endpoint,
    InputFile,
    Token,
    decode_answer,
    encode_call,
    encode_reply,
    header_pairs,
    may_reply,
    sends_once,
    with_stream_ids,
)
from hookline.errors import LocalProtocolError, OptionError
from hookline.http import Request, Response, StreamId, body_bytes, values_of
from hookline.outcomes import Refused, Result, Unreachable

SECRET = "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
TOKEN = Token(f"123456789:{SECRET}")
ENDPOINT = Endpoint(TOKEN)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def call(method: str, **params: Any) -> Request:
    return encode_call(ENDPOINT, method, params, Random(1))


def header(message: Request | Response, name: str) -> str:
    (value,) = values_of(message.headers, name)
    return value


# Tokens


@pytest.mark.parametrize("value", [f"123456789:{SECRET}", "1:" + "a" * 24, "9007199254740992:" + "_-" * 12])
def test_a_token_of_the_right_form_is_taken(value: str) -> None:
    assert Token(value).value == value
    assert Token(value).bot_id == int(value.partition(":")[0])


@pytest.mark.parametrize(
    "value",
    [
        "",
        SECRET,
        f":{SECRET}",
        f"0123:{SECRET}",
        f"-123:{SECRET}",
        f"12a:{SECRET}",
        f"\u0661\u0662:{SECRET}",
        "123:" + "a" * 23,
        f"123:{SECRET}/test",
        f"123:{SECRET}\n",
        f" 123:{SECRET}",
        f"123:{SECRET}:x",
        f"123:{SECRET}é",
        "123:" + "a" * 77,
        None,
        123,
        f"123:{SECRET}".encode(),
    ],
)
def test_a_token_of_another_form_is_refused_and_not_shown(value: Any) -> None:
    with pytest.raises(OptionError, match="BotFather") as caught:
        Token(value)
    assert SECRET not in str(caught.value)


def test_no_representation_shows_the_token() -> None:
    request = call("sendPhoto", photo=InputFile(b"1", "a"))
    for shown in (repr(TOKEN), str(TOKEN), f"{TOKEN}", repr(ENDPOINT), str(ENDPOINT), repr(request), repr([request])):
        assert SECRET not in shown
        assert "123456789:***" in shown
    assert repr(TOKEN) == "Token(123456789:***)"


def test_no_representation_shows_a_secret_token_that_is_sent() -> None:
    headers = (("x-telegram-bot-api-secret-token", "s3cret"),)
    assert "s3cret" not in repr(Request("POST", "/", headers))


def test_a_token_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(ENDPOINT)) == ENDPOINT


# Addresses


@pytest.mark.parametrize(
    ("root", "tls", "host", "port", "host_header", "prefix"),
    [
        ("https://api.telegram.org", True, "api.telegram.org", 443, "api.telegram.org", ""),
        ("https://api.telegram.org/", True, "api.telegram.org", 443, "api.telegram.org", ""),
        ("https://api.telegram.org:443", True, "api.telegram.org", 443, "api.telegram.org", ""),
        ("http://localhost", False, "localhost", 80, "localhost", ""),
        ("http://localhost:8081", False, "localhost", 8081, "localhost:8081", ""),
        ("http://127.0.0.1:443/tg/api/", False, "127.0.0.1", 443, "127.0.0.1:443", "/tg/api"),
        ("https://[::1]:8443", True, "::1", 8443, "[::1]:8443", ""),
        ("HTTPS://API.Telegram.org", True, "api.telegram.org", 443, "api.telegram.org", ""),
    ],
)
def test_an_address_is_read(root: str, tls: bool, host: str, port: int, host_header: str, prefix: str) -> None:
    endpoint = Endpoint(TOKEN, root)
    assert (endpoint.tls, endpoint.host, endpoint.port, endpoint.host_header) == (tls, host, port, host_header)
    assert endpoint.method_target("getMe") == f"{prefix}/bot{TOKEN.value}/getMe"


@pytest.mark.parametrize(
    "root",
    [
        "",
        "api.telegram.org",
        "ftp://api.telegram.org",
        "https://",
        "https://host:port",
        "https://host:99999",
        "https://[::1",
        "https://host/?query=1",
        "https://host/#fragment",
        "https://user:password@host",
        "https://ho st",
        "https://host/a b",
        "https://host\r\nx: y",
        "https://bücher.example",
    ],
)
def test_an_address_that_is_none_is_refused(root: str) -> None:
    with pytest.raises(OptionError, match="address") as caught:
        Endpoint(TOKEN, root)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "method", ["", "get me", "sendMessage/../x", "send\r\nMessage", "1x", "sendMessage?a=b", "sendé", None]
)
def test_what_is_no_name_of_a_method_is_refused(method: Any) -> None:
    with pytest.raises(LocalProtocolError, match="no name of a Bot API method"):
        ENDPOINT.method_target(method)


def test_a_file_is_asked_for_by_its_path() -> None:
    assert ENDPOINT.file_target("photos/a b?.jpg") == f"/file/bot{TOKEN.value}/photos/a%20b%3F.jpg"


# Calls as JSON


def test_a_call_without_parameters_has_no_body() -> None:
    request = call("getMe")
    assert (request.method, request.target) == ("POST", f"/bot{TOKEN.value}/getMe")
    assert request.body == ()
    assert header(request, "content-length") == "0"
    assert header(request, "host") == "api.telegram.org"
    assert values_of(request.headers, "content-type") == []


def test_parameters_are_one_json_object() -> None:
    markup = MappingProxyType({"inline_keyboard": (({"text": "ü", "callback_data": "1"},),)})
    request = call("sendMessage", chat_id=-100, text="hé", silent=True, reply_markup=markup)
    assert header(request, "content-type") == "application/json"
    body = body_bytes(request.body)
    assert header(request, "content-length") == str(len(body))
    assert json.loads(body) == {
        "chat_id": -100,
        "text": "hé",
        "silent": True,
        "reply_markup": {"inline_keyboard": [[{"text": "ü", "callback_data": "1"}]]},
    }


def test_none_is_left_out() -> None:
    assert json.loads(body_bytes(call("sendMessage", chat_id=1, text=None).body)) == {"chat_id": 1}
    assert call("getMe", limit=None).body == ()


def itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("file", [None, InputFile(b"1", "a")], ids=["json", "multipart"])
@pytest.mark.parametrize(
    "value",
    [
        pytest.param("\ud800", id="lone surrogate"),
        pytest.param(["\ud800"], id="nested lone surrogate"),
        pytest.param({"\ud800": 1}, id="lone surrogate in a key"),
        float("nan"),
        float("inf"),
        [float("-inf")],
        b"bytes",
        object(),
        {1, 2},
        pytest.param({(1, 2): 3}, id="tuple as a key"),
        pytest.param(itself(), id="contains itself"),
    ],
)
def test_what_cannot_be_sent_is_refused(value: Any, file: InputFile | None) -> None:
    with pytest.raises(LocalProtocolError, match="sendDocument"):
        call("sendDocument", document=file, value=value)


@given(st.dictionaries(st.text(max_size=10), JSON))
def test_whatever_is_sent_as_json_is_read_back(params: dict[str, Any]) -> None:
    body = body_bytes(encode_call(ENDPOINT, "sendMessage", params, Random(1)).body)
    assert json.loads(body or b"{}") == {name: value for name, value in params.items() if value is not None}


# Calls as multipart


@frozen
class Part:
    """One part of a multipart body, as the server sees it."""

    name: str
    filename: str | None
    content_type: str | None
    data: bytes


def parts_of(message: Request | Response, sources: dict[Any, bytes] | None = None) -> list[Part]:
    """The parts, split by the email package, and their names, read by the server's rule: a semicolon ends a value."""
    body = b"".join(piece if isinstance(piece, bytes) else (sources or {})[piece] for piece in message.body)
    parsed = message_from_bytes(f"content-type: {header(message, 'content-type')}\r\n\r\n".encode() + body)
    assert not parsed.defects
    assert not parsed.preamble
    assert not parsed.epilogue
    # The email package takes any line end before a boundary; the server takes one.
    boundary = parsed.get_boundary("").encode()
    assert (b"\r\n" + body).count(b"\r\n--" + boundary) == len(parsed.get_payload()) + 1
    assert body.endswith(b"\r\n--" + boundary + b"--\r\n")
    parts: list[Part] = []
    for part in parsed.get_payload():
        assert not isinstance(part, str)
        assert not part.defects
        headers = {name.lower(): value.encode("ascii", "surrogateescape").decode() for name, value in part.raw_items()}
        kind, *pieces = headers.pop("content-disposition").split(";")
        assert kind == "form-data"
        fields = dict(piece.strip().split("=", 1) for piece in pieces)
        for value in fields.values():
            assert len(value) >= 2
            assert value[0] == value[-1] == '"'
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        filename = fields["filename"][1:-1] if "filename" in fields else None
        parts.append(Part(fields["name"][1:-1], filename, headers.pop("content-type", None), data))
        assert not headers
    return parts


def test_a_file_travels_as_a_part_of_its_parameters_name() -> None:
    request = call(
        "sendPhoto", chat_id=1, caption="hé", photo=InputFile(b"\x89PNG\r\n", "a.png", "image/png"), none=None
    )
    assert parts_of(request) == [
        Part("chat_id", None, None, b"1"),
        Part("caption", None, None, "hé".encode()),
        Part("photo", "a.png", "image/png", b"\x89PNG\r\n"),
    ]
    assert header(request, "content-length") == str(len(body_bytes(request.body)))


def test_nested_files_are_referred_to_by_attach() -> None:
    media = [
        {"type": "photo", "media": InputFile(b"one", "1.png")},
        {"type": "photo", "media": InputFile(b"two", "2.png"), "thumbnail": InputFile(b"three", "3.png")},
    ]
    values, *files = parts_of(call("sendMediaGroup", media=media))
    assert json.loads(values.data) == [
        {"type": "photo", "media": "attach://file0"},
        {"type": "photo", "media": "attach://file1", "thumbnail": "attach://file2"},
    ]
    assert [(file.name, file.data) for file in files] == [("file0", b"one"), ("file1", b"two"), ("file2", b"three")]


def test_a_nested_file_does_not_take_the_name_of_a_parameter() -> None:
    request = call("sendMediaGroup", media=[InputFile(b"1", "1"), InputFile(b"2", "2")], file0=InputFile(b"own", "0"))
    parts = {part.name: part.data for part in parts_of(request)}
    assert parts["file0"] == b"own"
    assert [parts[name.removeprefix("attach://")] for name in json.loads(parts["media"])] == [b"1", b"2"]


def test_lists_and_mappings_are_json_and_text_is_itself_beside_a_file() -> None:
    parts = parts_of(call("x", a=[1, None], b={"c": "é"}, d=True, e=1.5, f='"', file=InputFile(b"", "f")))
    assert {part.name: part.data.decode() for part in parts} == {
        "a": "[1,null]",
        "b": '{"c":"é"}',
        "d": "true",
        "e": "1.5",
        "f": '"',
        "file": "",
    }


def test_a_path_or_a_stream_is_read_while_it_is_sent() -> None:
    request = call("sendMediaGroup", media=[InputFile("dir/a.png"), InputFile(StreamId(7), "b.png")])
    assert [piece for piece in request.body if not isinstance(piece, bytes)] == [PurePath("dir/a.png"), StreamId(7)]
    assert header(request, "transfer-encoding") == "chunked"
    assert values_of(request.headers, "content-length") == []
    _, first, second = parts_of(request, {PurePath("dir/a.png"): b"\r\nA\r\n", StreamId(7): b""})
    assert (first.filename, first.data) == ("a.png", b"\r\nA\r\n")
    assert (second.filename, second.data) == ("b.png", b"")


def test_an_open_stream_is_refused_by_the_machine() -> None:
    with pytest.raises(LocalProtocolError, match="open stream"):
        call("sendPhoto", photo=InputFile(BytesIO(b"1")))


@pytest.mark.parametrize(
    ("filename", "seen"),
    [
        ('a"b.png', "a%22b.png"),
        ("a\r\nx-header: b.png", "a%0D%0Ax-header: b.png"),
        ("a; name=chat_id", "a%3B name=chat_id"),
        ("фото é.png", "фото é.png"),
        ("a\\", "a\\"),
        ("\ud800.png", "?.png"),
        ("", ""),
    ],
)
def test_a_file_name_cannot_end_its_header(filename: str, seen: str) -> None:
    (part,) = parts_of(call("sendPhoto", photo=InputFile(b"1", filename)))
    assert (part.name, part.filename, part.data) == ("photo", seen, b"1")


def test_a_content_type_cannot_end_its_header() -> None:
    (part,) = parts_of(call("sendPhoto", photo=InputFile(b"1", "a", "image/png\r\nx: y\ud800")))
    assert part.content_type == "image/pngx: y"


SENDABLE = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.dictionaries(SENDABLE.filter(bool), SENDABLE, max_size=4),
    st.lists(
        st.tuples(SENDABLE, st.binary() | st.sampled_from([b"\r", b"\n", b"--", b"\r\n--"])), min_size=1, max_size=4
    ),
    st.integers(),
)
def test_whatever_is_sent_as_multipart_is_read_back(
    texts: dict[str, str], files: list[tuple[str, bytes]], seed: int
) -> None:
    escapes = {'"': "%22", ";": "%3B", "\r": "%0D", "\n": "%0A"}

    def escaped(text: str) -> str:
        return "".join(escapes.get(character, character) for character in text)

    media = [InputFile(data, filename) for filename, data in files]
    params: dict[str, Any] = {**texts, "media": media}
    parts = parts_of(encode_call(ENDPOINT, "sendMediaGroup", params, Random(seed)))
    texts.pop("media", None)
    seen = [(part.name, part.data) for part in parts if part.filename is None and part.name != "media"]
    assert seen == [(escaped(name), text.encode()) for name, text in texts.items()]
    (references,) = (json.loads(part.data) for part in parts if part.name == "media")
    by_name = {f"attach://{part.name}": part for part in parts if part.filename is not None}
    assert [(by_name[name].filename, by_name[name].data) for name in references] == [
        (escaped(filename), data) for filename, data in files
    ]


def test_headers_can_be_written_as_bytes() -> None:
    request = call("sendPhoto", photo=InputFile(b"1", "фото.png"))
    assert (b"host", b"api.telegram.org") in header_pairs(request.headers)


# Files


@pytest.mark.parametrize("wrong", [{"filename": 5}, {"content_type": None}])
def test_a_file_whose_name_or_type_is_no_text_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="must be <class 'str'>"):
        InputFile(b"1", **({"filename": "a"} | wrong))


def test_a_parameter_whose_name_is_no_text_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="the name of a parameter must be a str, not 5"):
        encode_call(ENDPOINT, "sendDocument", {"document": InputFile(b"1", "a"), 5: "x"}, Random(1))  # type: ignore[dict-item]


def test_a_file_is_named_after_its_path_or_its_stream() -> None:
    assert InputFile("dir/a.png").filename == "a.png"
    assert InputFile("dir/a.png", "b.png").filename == "b.png"
    assert InputFile(b"1").filename == "file"
    for name, filename in (("dir/c.png", "c.png"), ("", "file"), (3, "file")):
        stream: Any = BytesIO(b"1")
        stream.name = name
        assert InputFile(stream).filename == filename


def test_no_representation_shows_the_bytes_of_a_file() -> None:
    assert "private" not in repr(InputFile(b"private"))


def test_open_streams_are_replaced_by_ids_wherever_they_are() -> None:
    streams: list[Any] = []

    def register(stream: Any) -> StreamId:
        streams.append(stream)
        return StreamId(len(streams))

    one, two, kept = BytesIO(b"1"), BytesIO(b"2"), InputFile(b"3", "c")
    params = {"a": InputFile(one, "a"), "b": [{"c": InputFile(two, "b", "text/plain")}, kept], "d": 1, "e": (kept,)}
    assert with_stream_ids(params, register) == {
        "a": InputFile(StreamId(1), "a"),
        "b": [{"c": InputFile(StreamId(2), "b", "text/plain")}, kept],
        "d": 1,
        "e": [kept],
    }
    assert streams == [one, two]


@pytest.mark.parametrize(
    ("params", "once"),
    [
        ({}, False),
        ({"a": 1, "b": InputFile("path")}, False),
        ({"a": InputFile(b"1")}, False),
        ({"a": InputFile(StreamId(1), "a")}, True),
        ({"a": [{"b": ({"c": InputFile(StreamId(1), "a")},)}]}, True),
    ],
)
def test_a_call_with_a_stream_is_sent_once(params: dict[str, Any], once: bool) -> None:
    assert sends_once("sendMessage", params) is once


def test_a_parameter_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(LocalProtocolError, match="nested too deep"):
        sends_once("sendMessage", {"a": endless})
    with pytest.raises(LocalProtocolError, match="nested too deep"):
        with_stream_ids({"a": endless}, lambda stream: StreamId(1))


# Answers


def answer(status: int = 200, **fields: Any) -> Any:
    return decode_answer(status, json.dumps(fields).encode())


@pytest.mark.parametrize("result", [True, None, 0, [], {"message_id": 1}, "text"])
def test_ok_is_a_result_whatever_it_is(result: Any) -> None:
    assert answer(ok=True, result=result, description="Webhook was set") == Result(result)


def test_a_refusal_carries_its_code_description_and_parameters() -> None:
    assert answer(400, ok=False, error_code=400, description="Bad Request") == Refused(400, "Bad Request")
    flood = answer(429, ok=False, error_code=429, description="Too Many", parameters={"retry_after": 7})
    assert flood == Refused(429, "Too Many", retry_after=7)
    moved = answer(
        400, ok=False, error_code=400, description="moved", parameters={"migrate_to_chat_id": -1001234567890}
    )
    assert moved == Refused(400, "moved", migrate_to_chat_id=-1001234567890)


@pytest.mark.parametrize(
    "parameters",
    [None, [], [1], "x", 5, {"retry_after": "7"}, {"retry_after": 1.5}, {"retry_after": True}, {"retry_after": None}],
)
def test_parameters_of_the_wrong_form_are_passed_over(parameters: Any) -> None:
    assert answer(429, ok=False, error_code=429, description="x", parameters=parameters) == Refused(429, "x")


@pytest.mark.parametrize("seconds", [0, -5, 2**31, 10**400])
def test_a_retry_after_that_cannot_be_waited_for_is_passed_over(seconds: int) -> None:
    body = b'{"ok":false,"error_code":429,"description":"x","parameters":{"retry_after":%d}}' % seconds
    assert decode_answer(429, body) == Refused(429, "x")


@pytest.mark.parametrize("description", [None, 5, ["x"]])
def test_a_description_of_the_wrong_form_is_text_all_the_same(description: Any) -> None:
    assert answer(400, ok=False, error_code=400, description=description) == Refused(400, str(description or ""))
    assert answer(400, ok=False, error_code=400) == Refused(400, "")


@pytest.mark.parametrize("code", [500, 502, 504])
def test_an_error_of_the_server_is_no_refusal(code: int) -> None:
    outcome = answer(code, ok=False, error_code=code, description="Internal Server Error: restart")
    assert outcome == Unreachable(f"{code} Internal Server Error: restart", code)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b""),
        (502, b"<html><title>502 Bad Gateway</title></html>"),
        (200, b"\xff\xfe"),
        (200, b"NaN"),
        (200, b"[" * 100_000),
        (200, b'{"ok":true,"result":' + b"9" * 5_000 + b"}"),
        (200, b"[]"),
        (200, b"null"),
        (200, b"true"),
        (200, b'"ok"'),
        (200, b"{}"),
        (200, b'{"ok":true}'),
        (200, b'{"ok":1,"result":1}'),
        (200, b'{"ok":"true","result":1}'),
        (200, b'{"ok":false}'),
        (200, b'{"ok":false,"error_code":"400"}'),
        (200, b'{"ok":false,"error_code":true}'),
        (200, b'{"ok":null,"error_code":400}'),
        (200, b'{"error_code":400,"description":"x"}'),
    ],
)
def test_what_is_no_answer_of_the_bot_api_is_unreachable(status: int, body: bytes) -> None:
    outcome = decode_answer(status, body)
    assert isinstance(outcome, Unreachable)
    assert outcome.status == status
    assert f"HTTP status {status}" in outcome.reason
    assert ("empty" in outcome.reason) is (body == b"")


ODD_ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "ok": st.booleans() | JSON,
        "result": JSON,
        "error_code": st.integers(300, 600) | JSON,
        "description": st.text() | JSON,
        "parameters": JSON | st.fixed_dictionaries({}, optional={"retry_after": JSON, "migrate_to_chat_id": JSON}),
    },
)


@given(st.integers(100, 999), ODD_ANSWERS.map(lambda value: json.dumps(value).encode()) | st.binary())
def test_no_answer_whatever_raises(status: int, body: bytes) -> None:
    outcome = decode_answer(status, body)
    assert isinstance(outcome, (Result, Refused, Unreachable))
    if isinstance(outcome, Refused):
        assert outcome.code < 500
        assert outcome.retry_after is None or outcome.retry_after > 0


def test_another_decoder_can_take_the_place() -> None:
    assert decode_answer(200, b"anything", lambda _: {"ok": True, "result": 5}) == Result(5)


# Calls in a webhook's response


@pytest.mark.parametrize(
    "method",
    [
        "getMe",
        "GETupdates",
        "get",
        "setWebhook",
        "SETWEBHOOK",
        "deleteWebhook",
        "close",
        "logOut",
        "",
        " sendMessage",
        "a b",
    ],
)
def test_a_method_that_the_server_would_ignore_may_not_travel_in_a_response(method: str) -> None:
    assert not may_reply(method)


@pytest.mark.parametrize("method", ["sendMessage", "sendmessage", "closeForumTopic", "setMyCommands", "deleteMessage"])
def test_other_methods_may(method: str) -> None:
    assert may_reply(method)


def test_a_reply_is_json_with_the_method_in_it() -> None:
    response = encode_reply("sendMessage", {"chat_id": 1, "text": "hé", "none": None}, Random(1))
    assert response is not None
    assert response.status == 200
    assert header(response, "content-type") == "application/json"
    body = body_bytes(response.body)
    assert header(response, "content-length") == str(len(body))
    assert list(json.loads(body).items()) == [("method", "sendMessage"), ("chat_id", 1), ("text", "hé")]


def test_a_reply_that_carries_files_is_multipart() -> None:
    response = encode_reply("sendPhoto", {"chat_id": 1, "photo": InputFile(b"PNG", "a.png")}, Random(1))
    assert response is not None
    assert [(part.name, part.data) for part in parts_of(response)] == [
        ("method", b"sendPhoto"),
        ("chat_id", b"1"),
        ("photo", b"PNG"),
    ]


def test_a_parameter_named_method_does_not_replace_the_method() -> None:
    assert encode_reply("sendMessage", {"method": "setWebhook"}, Random(1)) is None


def test_a_json_reply_may_have_one_mebibyte() -> None:
    empty = encode_reply("sendMessage", {"text": ""}, Random(1))
    assert empty is not None
    room = MAX_REPLY_VALUES - len(body_bytes(empty.body))
    largest = encode_reply("sendMessage", {"text": "a" * room}, Random(1))
    assert largest is not None
    assert len(body_bytes(largest.body)) == MAX_REPLY_VALUES == 1_048_576
    assert encode_reply("sendMessage", {"text": "a" * (room + 1)}, Random(1)) is None
    assert encode_reply("sendMessage", {"text": "é" * (room // 2 + 1)}, Random(1)) is None


def test_the_values_of_a_multipart_reply_may_have_one_mebibyte_and_its_files_more() -> None:
    big = InputFile(b"a" * (MAX_REPLY_VALUES + 1), "a")
    assert encode_reply("sendDocument", {"document": big}, Random(1)) is not None
    assert encode_reply("sendDocument", {"document": big, "caption": "a" * MAX_REPLY_VALUES}, Random(1)) is None


def test_a_reply_may_carry_fifty_files() -> None:
    files = [InputFile(b"1", str(number)) for number in range(MAX_REPLY_FILES)]
    response = encode_reply("sendMediaGroup", {"media": files}, Random(1))
    assert response is not None
    assert len(parts_of(response)) == 52
    assert encode_reply("sendMediaGroup", {"media": [*files, files[0]]}, Random(1)) is None


def test_a_reply_that_cannot_be_encoded_is_refused() -> None:
    with pytest.raises(LocalProtocolError, match="sendMessage"):
        encode_reply("sendMessage", {"text": "\ud800"}, Random(1))
