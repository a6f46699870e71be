"""The asyncio driver's `Exchange` with an HTTP client of the program's own: here the standard library's."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from hookline import ApiError, ApiOptions, InputFile, NetworkError, Request, Response, Update
from hookline.http import body_bytes
from hookline_io import Api, Exchange
from hookline_io.testing import LoopbackTelegram
from tests.drivers.bench import TOKEN

REQUEST = Request(
    "POST",
    "/",
    (("content-type", "application/json"),),
    (json.dumps({"update_id": 1, "message": {"chat": {"id": 7}, "text": "hi"}}).encode(),),
)


def client(root: str) -> Any:
    """A client for `fetch=`."""

    def send(request: Request) -> Response:
        connection = http.client.HTTPConnection(urlsplit(root).netloc, timeout=10.0)
        try:
            connection.request(request.method, request.target, body_bytes(request.body), dict(request.headers))
            response = connection.getresponse()
            return Response(response.status, tuple(response.getheaders()), (response.read(),))
        finally:
            connection.close()

    async def fetch(request: Request) -> Response:
        return await asyncio.to_thread(send, request)

    return fetch


def exchange(telegram: LoopbackTelegram, handler: Any, fetch: Any = None) -> Response:
    """The answer to one request by an exchange with that client."""

    async def main() -> Response:
        api = ApiOptions(root=telegram.root, timeout=5.0)
        async with Exchange(handler, TOKEN, api=api, fetch=fetch or client(telegram.root)) as made:
            return await made(REQUEST)

    return asyncio.run(main())


def test_calls_go_out_by_it(telegram: LoopbackTelegram) -> None:
    async def handler(update: Update, api: Api) -> None:
        message = await api.call("sendMessage", chat_id=update.lane, text=update.payload["text"])
        assert message["text"] == "hi"
        with pytest.raises(ApiError, match="404"):
            await api.call("noSuchMethod")

    assert exchange(telegram, handler).status == 200
    assert telegram.texts() == ["hi"]


def test_files_are_read_for_it(telegram: LoopbackTelegram, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 600_000)

    async def handler(update: Update, api: Api) -> None:
        for file in (InputFile(path), InputFile(io.BytesIO(b"stream"), "b.bin"), InputFile(b"bytes", "c.bin")):
            sent = await api.call("sendDocument", chat_id=7, document=file)
            assert sent["document"]["file_size"] in (600_000, 6, 5)
        with pytest.raises(NetworkError, match="No such file"):
            await api.call("sendDocument", chat_id=7, document=InputFile(tmp_path / "missing"))
        with pytest.raises(NetworkError, match="connections"):
            await api.download("a", io.BytesIO())

    assert exchange(telegram, handler).status == 200


def test_whatever_it_raises_is_a_network_error_without_the_token(telegram: LoopbackTelegram) -> None:
    async def broken(request: Request) -> Response:
        raise RuntimeError("no way out")

    async def handler(update: Update, api: Api) -> None:
        with pytest.raises(NetworkError, match="no way out"):
            await api.call("getMe")

    assert exchange(telegram, handler, broken).status == 200


def test_a_call_that_is_given_up_cancels_it(telegram: LoopbackTelegram) -> None:
    ended: list[str] = []

    async def slow(request: Request) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")
        raise AssertionError

    async def handler(update: Update, api: Api) -> None:
        with pytest.raises(NetworkError):
            await api.call("getMe", within=0.05)
        assert ended == ["cancelled"]

    assert exchange(telegram, handler, slow).status == 200
