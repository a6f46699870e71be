"""What `http.server` leaves to its request handlers: what becomes of a connection after its request."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from http.server import ThreadingHTTPServer
from typing import Any

import pytest

from hookline_io.hosts.http_server import webhook_callback
from tests.hosts.client import update
from tests.peers.processes import TOKEN

JSON = {"Content-Type": "application/json"}


def handler(update: Any, api: Any) -> None:
    """Do nothing."""


@pytest.fixture
def connection() -> Iterator[HTTPConnection]:
    """A connection to a served webhook."""
    with ThreadingHTTPServer(("127.0.0.1", 0), webhook_callback(handler, TOKEN)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        client = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        yield client
        client.close()
        server.shutdown()


def test_it_is_kept_for_the_next_request(connection: HTTPConnection) -> None:
    for _ in range(2):
        connection.request("POST", "/", json.dumps(update("hi")), JSON)
        response = connection.getresponse()
        assert (response.status, response.read(), response.will_close) == (200, b"", False)


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 415), (JSON | {"Transfer-Encoding": "chunked", "Content-Length": "9"}, 400)]
)
def test_it_is_closed_where_the_body_was_not_read(
    connection: HTTPConnection, headers: dict[str, str], status: int
) -> None:
    """What follows the head would be taken for the next request."""
    connection.request("POST", "/", b"GET / HTTP/1.1\r\n\r\n", headers)
    response = connection.getresponse()
    assert (response.status, response.will_close) == (status, True)
