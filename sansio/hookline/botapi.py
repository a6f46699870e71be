"""The Bot API's HTTP face, as pure functions: a call to a request or to a webhook's reply, a response to an outcome.

Parameters that are None are left out, lists and mappings are JSON, files travel as multipart parts whose bytes are read
while they are sent. `Polling` and `Calls` use none of this: they speak of methods and parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import PurePath
from random import Random
from typing import Any, Final
from urllib.parse import quote, urlsplit

from attrs import field, frozen
from attrs.validators import instance_of

from hookline import codec
from hookline.errors import LocalProtocolError, OptionError
from hookline.http import Body, Headers, Request, Response, StreamId
from hookline.objects import ResponseParameters, structure
from hookline.outcomes import FetchOutcome, Refused, Result, Unreachable

MAX_REPLY_VALUES: Final = 1_048_576
"""Bytes of parameters that Telegram reads of a webhook's reply (telegram-server.md, 4.7)."""
MAX_REPLY_FILES: Final = 50
"""Files that Telegram reads of a webhook's reply (telegram-server.md, 4.7)."""

_TOKEN = re.compile(r"[1-9][0-9]{0,19}:[A-Za-z0-9_-]{24,}")
_METHOD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_IGNORED_IN_REPLIES = ("setwebhook", "deletewebhook", "close", "logout")
_PLAIN: Final = frozenset((str, int, float, bool))
"""What most parameters are: nothing to look into for a file, and no ABC is asked about them."""


@frozen
class Token:
    """A bot's token. Its representation shows the bot's id alone."""

    value: str = field()

    @value.validator
    def _check(self, _: Any, value: str) -> None:
        # The rules are the server's: telegram-server.md, 2.6.
        if not isinstance(value, str) or len(value) > 80 or not _TOKEN.fullmatch(value):
            raise OptionError("the token has not the form 123456789:AbC..., as @BotFather gives it")

    @property
    def bot_id(self) -> int:
        """The bot's user id, the token's first half."""
        return int(self.value.partition(":")[0])

    def __repr__(self) -> str:
        return f"Token({self.bot_id}:***)"


@frozen
class Endpoint:
    """Where a bot's calls go: the server's address and the token. Errors: OptionError for an address that is none."""

    token: Token
    root: str = "https://api.telegram.org"
    tls: bool = field(init=False)
    host: str = field(init=False)
    port: int = field(init=False)
    host_header: str = field(init=False)
    _prefix: str = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        try:
            parts = urlsplit(self.root)
            port = parts.port
        except ValueError as error:
            raise OptionError(f"the Bot API's address {self.root!r} is none: {error}") from None
        sendable = self.root.isascii() and self.root.isprintable() and " " not in self.root
        known = parts.scheme in ("http", "https") and parts.hostname
        if not (sendable and known) or parts.query or parts.fragment:
            raise OptionError(f"the Bot API's address must look like https://api.telegram.org, not {self.root!r}")
        if parts.username is not None:
            raise OptionError("the Bot API's address may not contain a user name or a password")
        tls = parts.scheme == "https"
        object.__setattr__(self, "tls", tls)
        object.__setattr__(self, "host", parts.hostname)
        object.__setattr__(self, "port", port or (443 if tls else 80))
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = self.port == (443 if tls else 80)
        object.__setattr__(self, "host_header", host if usual else f"{host}:{self.port}")
        object.__setattr__(self, "_prefix", parts.path.rstrip("/"))

    def method_target(self, method: str) -> str:
        """The request target of a method. LocalProtocolError if that is no method's name."""
        if not isinstance(method, str) or not _METHOD.fullmatch(method):
            raise LocalProtocolError(f"{method!r} is no name of a Bot API method")
        return f"{self._prefix}/bot{self.token.value}/{method}"

    def file_target(self, file_path: str) -> str:
        """The request target of a file, from getFile's `file_path`."""
        return f"{self._prefix}/file/bot{self.token.value}/{quote(file_path)}"


def _as_source(value: Any) -> Any:
    return PurePath(value) if isinstance(value, str) else value


@frozen
class InputFile:
    """A file to be sent (the Bot API's InputFile), streamed and never read whole.

    source: the file's path, its bytes, or an open binary stream (drivers take one; it is sent once, so such a call is
        never tried again). filename: what Telegram is told; a path's own name if it is left out.
    Errors: TypeError for a filename or a content_type that is no str.
    """

    source: Any = field(converter=_as_source, repr=lambda value: f"<{type(value).__name__}>")
    filename: str = field(validator=instance_of(str))
    content_type: str = field(default="application/octet-stream", validator=instance_of(str))

    @filename.default
    def _own_name(self) -> str:
        if isinstance(self.source, PurePath):
            return self.source.name
        name = getattr(self.source, "name", None)
        return PurePath(name).name if isinstance(name, str) and name else "file"


def with_stream_ids(params: Mapping[str, Any], register: Callable[[Any], StreamId]) -> dict[str, Any]:
    """The parameters with every open stream in an InputFile replaced by the id that `register` gives it."""

    def replace(value: Any) -> Any:
        if type(value) in _PLAIN:
            return value
        if isinstance(value, InputFile):
            if isinstance(value.source, (bytes, PurePath, StreamId)):
                return value
            return InputFile(register(value.source), value.filename, value.content_type)
        if isinstance(value, Mapping):
            return {name: replace(inner) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [replace(inner) for inner in value]
        return value

    if _is_plain(params):
        return dict(params)
    try:
        return {name: replace(value) for name, value in params.items()}
    except RecursionError:
        raise LocalProtocolError("a parameter is nested too deep") from None


def sends_once(method: str, params: Mapping[str, Any]) -> bool:
    """Whether the call carries a stream, which cannot be read again for another try.

    Errors: LocalProtocolError for a parameter that can't be sent.
    """
    return _has_stream(_split(method, params)[1])


def encode_call(endpoint: Endpoint, method: str, params: Mapping[str, Any], random: Random) -> Request:
    """The request that makes a call. LocalProtocolError if a parameter can't be sent."""
    values, files = _split(method, params)
    headers: list[tuple[str, str]] = [("host", endpoint.host_header), ("user-agent", "hookline")]
    body: Body
    if files:
        content_type, body = _multipart([(name, _text(method, name, value)) for name, value in values], files, random)
        headers.append(("content-type", content_type))
    elif values:
        body = (_json(method, dict(values)),)
        headers.append(("content-type", "application/json"))
    else:
        body = ()
    headers.append(_framing(body))
    return Request("POST", endpoint.method_target(method), tuple(headers), body)


def decode_answer(status: int, body: bytes, decode: codec.Decode = codec.decode) -> FetchOutcome:
    """What an answer of the Bot API says. What is not the Bot API's (HTML of a proxy, an empty body) is Unreachable."""
    try:
        answer = decode(body)
    except ValueError:
        what = "an empty body" if not body else "no JSON"
        return Unreachable(f"HTTP status {status} with {what}, so not an answer of the Bot API", status)
    if not isinstance(answer, dict):
        return Unreachable(f"HTTP status {status} with JSON that is not an answer of the Bot API", status)
    if answer.get("ok") is True and "result" in answer:
        return Result(answer["result"])
    code, description = answer.get("error_code"), answer.get("description")
    if answer.get("ok") is not False or type(code) is not int:
        return Unreachable(f"HTTP status {status} with JSON that is not an answer of the Bot API", status)
    if code >= 500:
        return Unreachable(f"{code} {description}", status)
    try:
        parameters = structure(answer.get("parameters") or {}, ResponseParameters)
    except ValueError:
        parameters = ResponseParameters()
    retry_after = parameters.retry_after
    if retry_after is not None and not 0 < retry_after < 2**31:
        retry_after = None  # no time that can be waited
    return Refused(code, str(description or ""), retry_after, parameters.migrate_to_chat_id)


def may_reply(method: str) -> bool:
    """Whether Telegram carries such a call out when it travels in a webhook's response (telegram-server.md, 4.7)."""
    name = method.lower()
    return bool(_METHOD.fullmatch(name)) and not name.startswith("get") and name not in _IGNORED_IN_REPLIES


def encode_reply(method: str, params: Mapping[str, Any], random: Random) -> Response | None:
    """The webhook's response that carries a call; None if it can't travel so.

    It can't if it is too big, has a parameter named method, or carries an open stream: such a call is over at once, so
    the program may close the stream before it was read.
    """
    if "method" in params:
        return None
    values, files = _split(method, params)
    if _has_stream(files):
        return None
    values.insert(0, ("method", method))
    if not files:
        data = _json(method, dict(values))
        if len(data) > MAX_REPLY_VALUES:
            return None
        return Response(200, (("content-type", "application/json"), ("content-length", str(len(data)))), (data,))
    fields = [(name, _text(method, name, value)) for name, value in values]
    if len(files) > MAX_REPLY_FILES or sum(len(name) + len(text) for name, text in fields) > MAX_REPLY_VALUES:
        return None
    content_type, body = _multipart(fields, files, random)
    return Response(200, (("content-type", content_type), _framing(body)), body)


def _split(method: str, params: Mapping[str, Any]) -> tuple[list[tuple[str, Any]], list[tuple[str, InputFile]]]:
    """The parameters without None, and the files that they refer to by `attach://`, or by a part of their own name."""
    files: list[tuple[str, InputFile]] = []
    if _is_plain(params):
        return [*params.items()], files
    free_names = (name for name in map("file{}".format, count()) if name not in params)

    def attach(value: Any) -> Any:
        if type(value) in _PLAIN:
            return value
        if isinstance(value, InputFile):
            files.append((next(free_names), value))
            return f"attach://{files[-1][0]}"
        if isinstance(value, Mapping):
            return {name: attach(inner) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [attach(inner) for inner in value]
        return value

    values: list[tuple[str, Any]] = []
    for name, value in params.items():
        if not isinstance(name, str):
            raise LocalProtocolError(f"{method}: the name of a parameter must be a str, not {name!r}")
        if isinstance(value, InputFile):
            files.append((name, value))
        elif value is not None:
            try:
                values.append((name, attach(value)))
            except RecursionError:
                raise LocalProtocolError(f"{method}: parameter {name!r} is nested too deep") from None
    for name, file in files:
        if not isinstance(file.source, (bytes, PurePath, StreamId)):
            raise LocalProtocolError(
                f"{method}: the file {name!r} must be a path or bytes here; only a driver's Api takes an open stream"
            )
    return values, files


def _is_plain(params: Mapping[str, Any]) -> bool:
    return _PLAIN.issuperset(map(type, params.values()))


def _has_stream(files: list[tuple[str, InputFile]]) -> bool:
    return any(isinstance(file.source, StreamId) for _, file in files)


def _json(method: str, value: Any) -> bytes:
    try:
        return codec.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"{method}: a parameter cannot be sent as JSON: {error}") from None


def _text(method: str, name: str, value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise LocalProtocolError(f"{method}: parameter {name!r} is not valid text: {error}") from None
    return _json(method, value)


def _framing(body: Body) -> tuple[str, str]:
    size = 0
    for piece in body:
        if not isinstance(piece, bytes):
            return ("transfer-encoding", "chunked")  # how long a file is, only reading it tells
        size += len(piece)
    return ("content-length", str(size))


def _multipart(fields: list[tuple[str, bytes]], files: list[tuple[str, InputFile]], random: Random) -> tuple[str, Body]:
    boundary = f"hookline-{random.getrandbits(128):032x}"
    body: list[Any] = []
    text = bytearray()
    for name, data in fields:
        text += f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n'.encode()
        text += data + b"\r\n"
    for name, file in files:
        disposition = f'form-data; name="{_quoted(name)}"; filename="{_quoted(file.filename)}"'
        content_type = "".join(character for character in file.content_type if character.isprintable())
        text += f"--{boundary}\r\nContent-Disposition: {disposition}\r\nContent-Type: {content_type}\r\n\r\n".encode()
        if isinstance(file.source, bytes):
            text += file.source + b"\r\n"
        else:
            body += [bytes(text), file.source]
            text = bytearray(b"\r\n")
    text += f"--{boundary}--\r\n".encode()
    body.append(bytes(text))
    return f"multipart/form-data; boundary={boundary}", tuple(body)


def _quoted(text: str) -> str:
    """As browsers do it: a name that holds a quote or a line break must not end its header.

    Nor may a semicolon, at which the server's parser ends a value even between quotes.
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace('"', "%22").replace(";", "%3B").replace("\r", "%0D").replace("\n", "%0A")


def header_pairs(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Headers as bytes, as h11 takes them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
