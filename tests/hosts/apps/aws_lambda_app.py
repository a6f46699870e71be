"""AWS Lambda, with a handler that is a plain function."""

from __future__ import annotations

from attrs import evolve

from hookline_io.hosts.aws_lambda import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, blocking_handler

lambda_handler = webhook_callback(blocking_handler, TOKEN, evolve(OPTIONS, path="/telegram"), **SETTINGS)
