"""The commands that call the Bot API or a running bot: `hookline call`, `webhook` and `health`."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import click

from hookline.botapi import Token
from hookline.errors import LocalProtocolError, OptionError
from hookline.options import ApiOptions, SetWebhookOptions
from hookline_io.cli.arguments import (
    as_ip_address,
    bot_options,
    keep_secret,
    read_bot,
    secret_path,
    update_kinds,
    update_options,
    webhook_options,
)
from hookline_io.cli.group import Failure, main

_USER_NAME = re.compile(r"@\w+(\s|$)")


def call_api(token: Token, options: ApiOptions, method: str, **params: Any) -> Any:
    """One call of the Bot API."""
    from hookline_io.blocking import Api

    logging.getLogger("hookline").setLevel(logging.ERROR)  # the exception says it
    try:
        with Api(token, options) as api:
            return api.call(method, **params)
    except LocalProtocolError as error:
        raise OptionError(str(error)) from None


@main.command()
@bot_options
@click.argument("method")
@click.argument("params", nargs=-1, metavar="[KEY=VALUE]...")
def call(token_file: Path | None, api_root: str, method: str, params: tuple[str, ...]) -> None:
    """Call any method of the Bot API, and print its result as JSON.

    A VALUE that is a number, true, false, a list or an object in JSON is sent as that, @PATH sends a file, and anything
    else is text. @NAME, alone or before a space, is a user's or a channel's name and so text: write @./NAME for a file.
    """
    values = {}
    for param in params:
        key, equals, value = param.partition("=")
        if not equals or not key:
            raise OptionError(f"{param!r} is no parameter: write KEY=VALUE")
        values[key] = read_value(value)
    result = call_api(*read_bot(token_file, api_root), method, **values)
    click.echo(json.dumps(result, ensure_ascii=False, indent=2))


def read_value(text: str) -> Any:
    """A parameter's value, from what was typed. OptionError if it names what is no file."""
    from hookline import codec
    from hookline.botapi import InputFile
    from hookline_io import common

    if text.startswith("@") and len(text) > 1 and not _USER_NAME.match(text):
        if not Path(text[1:]).is_file():
            raise OptionError(f"the file {text[1:]!r} {common.what_is_no_file(text[1:])}")
        return InputFile(text[1:])
    try:
        value = codec.decode(text.encode())
    except (ValueError, RecursionError):
        return text
    if isinstance(value, (dict, list, bool)):
        return value
    # A version such as 1.10 would not survive as a number, and Telegram reads numbers from text just as well.
    return value if isinstance(value, (int, float)) and json.dumps(value) == text else text


@main.group()
def webhook() -> None:
    """Look at, set or delete the bot's webhook."""


@webhook.command("info")
@bot_options
def webhook_info(token_file: Path | None, api_root: str) -> None:
    """Show what Telegram knows of the webhook."""
    from datetime import datetime, timezone

    from hookline.objects import WebhookInfo, structure

    result = call_api(*read_bot(token_file, api_root), "getWebhookInfo")
    try:
        info = structure(result, WebhookInfo)
    except ValueError as error:
        raise Failure(f"getWebhookInfo: the answer makes no sense: {error}") from None

    def moment(date: int | None) -> str | None:
        return None if date is None else f"{datetime.fromtimestamp(date, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"

    values = {
        "url": info.url or "(none)",
        "pending updates": info.pending_update_count,
        "own certificate": "yes" if info.has_custom_certificate else None,
        "max connections": info.max_connections,
        "ip address": info.ip_address,
        "allowed updates": None if info.allowed_updates is None else ", ".join(info.allowed_updates),
        "last error": info.last_error_message,
        "last error at": moment(info.last_error_date),
        "last synchronization error at": moment(info.last_synchronization_error_date),
    }
    known = {name: value for name, value in values.items() if value is not None}
    width = max(map(len, known))
    for name, value in known.items():
        click.echo(f"{name:{width}}  {value}")


@webhook.command("set")
@bot_options
@click.option("--url", metavar="URL", required=True, help="Where Telegram shall send updates.")
@webhook_options
@update_options
def webhook_set(
    token_file: Path | None,
    api_root: str,
    url: str,
    secret_file: Path | None,
    max_connections: int | None,
    ip_address: str | None,
    allowed_updates: str | None,
    drop_pending: bool,
) -> None:
    """Set the webhook, as `hookline serve --url` does, with the same secret token."""
    token, api = read_bot(token_file, api_root)
    kinds = update_kinds(allowed_updates)
    call_api(
        token,
        api,
        "setWebhook",
        url=SetWebhookOptions(url=url).url,
        ip_address=as_ip_address(ip_address),
        max_connections=max_connections,
        allowed_updates=None if kinds is None else list(kinds),
        drop_pending_updates=drop_pending or None,
        secret_token=keep_secret(secret_file, token),
    )
    click.echo(f"the webhook is set to {url}; its secret token is in {secret_path(secret_file, token)}")


@webhook.command("delete")
@bot_options
@click.option("--drop-pending", is_flag=True, help="Forget what waits at Telegram.")
def webhook_delete(token_file: Path | None, api_root: str, drop_pending: bool) -> None:
    """Delete the webhook."""
    call_api(*read_bot(token_file, api_root), "deleteWebhook", drop_pending_updates=drop_pending or None)
    click.echo("the webhook is deleted")


@main.command(short_help="Ask a running bot whether it is well.")
@click.argument("url")
def health(url: str) -> None:
    """Ask a running bot whether it is well: URL is that of its /healthz.

    Its answer is printed. The exit status is 0 if it is well, and 1 if not, or if it does not answer within 10 s.
    """
    from http.client import HTTPConnection, HTTPException
    from urllib.parse import urlsplit

    from hookline_io import common

    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        parts, host, port = urlsplit(""), None, 0
    if parts.scheme != "http" or not host:
        raise OptionError(f"{url!r} is no address of a health check: write http://127.0.0.1:8080/healthz")
    connection = HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", parts.path or "/healthz")
        response = connection.getresponse()
        click.echo(response.read(10_000).decode("utf-8", "replace"))
    except BrokenPipeError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise Failure(f"no answer from {url}: {common.why(error)}") from None
    finally:
        connection.close()
    if response.status != 200:
        raise Failure(f"{url} answered {response.status} {response.reason}")
