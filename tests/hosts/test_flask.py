"""What is special of Flask: a body's limit is the request's own."""

from __future__ import annotations

import io
import json

import pytest

from hookline import WebhookOptions
from tests.hosts.client import update
from tests.peers.processes import TOKEN

flask = pytest.importorskip("flask", reason="flask cannot be found; `tox -e hosts` installs it")


@pytest.mark.parametrize(("padding", "status"), [(0, 200), (1_000, 413)])
def test_a_body_without_a_length_is_read_up_to_the_limit_of_the_webhook(padding: int, status: int) -> None:
    """Whatever the program's own limit is."""
    from hookline_io.hosts.flask import webhook_callback

    app = flask.Flask("test")
    app.config["MAX_CONTENT_LENGTH"] = 10
    app.post("/telegram")(webhook_callback(lambda update, api: None, TOKEN, WebhookOptions(max_body=500)))
    body = json.dumps(update("hi") | {"x": "x" * padding}).encode()
    answer = app.test_client().post(
        "/telegram",
        input_stream=io.BytesIO(body),
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True},
    )
    assert answer.status_code == status
