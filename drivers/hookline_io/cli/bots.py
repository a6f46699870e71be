"""The commands that run a bot: `hookline run`, `serve` and `work`."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import click
from attrs import evolve

from hookline.errors import OptionError
from hookline.options import PollingOptions, SetWebhookOptions, WebhookOptions, WorkOptions
from hookline_io.cli.arguments import (
    FILE,
    Whole,
    address,
    as_ip_address,
    bot_options,
    check_inbox,
    driver_option,
    find_any_handler,
    find_handler,
    grace_option,
    health_option,
    keep_secret,
    log_options,
    names,
    read_bot,
    run_options,
    update_kinds,
    webhook_options,
)
from hookline_io.cli.group import main, under_way
from hookline_io.cli.logs import start_logging

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


@main.command()
@click.argument("handler", metavar="[MODULE:HANDLER]", required=False)
@click.option("--concurrency", metavar="N", type=int, default=1, show_default=True, help="Chats handled at once.")
@click.option(
    "--confirm",
    type=click.Choice(["handled", "received", "stored"]),
    default="handled",
    show_default=True,
    help="When Telegram may forget an update; with 'received', a crash loses what was not handled; 'stored' comes with "
    "--inbox.",
)
@click.option(
    "--on-error",
    type=click.Choice(["pass", "stop"]),
    default="pass",
    show_default=True,
    help="After a handler raised, go on, or stop with its update unconfirmed.",
)
@click.option(
    "--poll-timeout",
    metavar="SECONDS",
    type=Whole(1, 50),
    default=30,
    show_default=True,
    help="How long Telegram holds a call of getUpdates that finds nothing.",
)
@health_option
@run_options
def run(
    handler: str | None,
    token_file: Path | None,
    api_root: str,
    driver: str,
    allowed_updates: str | None,
    drop_pending: bool,
    grace: float,
    inbox: str | None,
    trace: Path | None,
    verbose: bool,
    quiet: bool,
    concurrency: int,
    confirm: Any,
    on_error: Any,
    poll_timeout: int,
    health: str | None,
) -> None:
    """Run a bot by long polling.

    The handler is `async def HANDLER(update, api)`, in a module of this folder or an installed one. The token is in the
    environment variable BOT_TOKEN. A webhook that is set is deleted first. With an --inbox on PostgreSQL the handler
    may be left out: updates are stored then, and hookline work handles them.

    SIGTERM and SIGINT end the run gracefully, with status 0; a run that ends by itself has status 1.
    """
    token, api = read_bot(token_file, api_root)
    polling = PollingOptions(
        timeout=poll_timeout,
        allowed_updates=update_kinds(allowed_updates),
        drop_pending_updates=drop_pending,
        concurrency=concurrency,
        confirm=confirm,
        on_error=on_error,
        grace=grace,
    )
    where = address(health, "--health") if health is not None else None
    if inbox is not None and confirm == "received":
        raise OptionError("--confirm received does not go with --inbox: what is received is stored first")
    if (inbox is not None or confirm == "stored") and on_error == "stop":
        raise OptionError("--on-error stop does not go with an inbox, which tries again what has failed")
    check_inbox(inbox, token)
    start_logging(token.value, verbose=verbose, quiet=quiet)
    function = find_any_handler(handler, driver, inbox)
    carry(driver, "run_polling", function, token, polling, inbox=inbox, api=api, health=where, trace=trace)


@main.command()
@click.argument("handler", metavar="MODULE:HANDLER")
@click.option("--inbox", metavar="ADDRESS", required=True, help="Where updates are, as in postgresql://host/database.")
@click.option("--concurrency", metavar="N", type=int, default=100, show_default=True, help="Chats handled at once.")
@health_option
@bot_options
@driver_option
@grace_option
@log_options
def work(
    handler: str,
    inbox: str,
    concurrency: int,
    health: str | None,
    token_file: Path | None,
    api_root: str,
    driver: str,
    grace: float,
    trace: Path | None,
    verbose: bool,
    quiet: bool,
) -> None:
    """Handle what an inbox has; others receive it.

    Any number of workers, on any number of machines, can share an inbox on PostgreSQL. A chat is handled by one at a
    time; what a worker leaves behind that dies, others have after about ten seconds. The handler is as for hookline
    run, which receives updates, as hookline serve does.

    SIGTERM and SIGINT end the run gracefully, with status 0; a run that ends by itself has status 1.
    """
    token, api = read_bot(token_file, api_root)
    working = WorkOptions(concurrency=concurrency, grace=grace)
    where = address(health, "--health") if health is not None else None
    check_inbox(inbox, token)
    start_logging(token.value, verbose=verbose, quiet=quiet)
    function = find_handler(handler, driver)
    carry(driver, "run_worker", function, token, working, inbox=inbox, api=api, health=where, trace=trace)


@main.command()
@click.argument("handler", metavar="[MODULE:HANDLER]", required=False)
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.")
@click.option("--url", metavar="URL", help="The address that Telegram is to use: call setWebhook with it first.")
@click.option("--path", metavar="PATH", help="The path of the requests.  [default: that of --url, or /]")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=float,
    default=10.0,
    show_default=True,
    help="The time in which a request is answered; at most 59, since Telegram waits for 60.",
)
@click.option(
    "--on-timeout",
    type=click.Choice(["throw", "return", "cancel"]),
    default="throw",
    show_default=True,
    help="Then answer 500, or 200, and let the handler go on; or answer 500 and cancel it.",
)
@click.option("--concurrency", metavar="N", type=int, default=100, show_default=True, help="Chats handled at once.")
@click.option(
    "--reply-with",
    metavar="METHODS",
    help="Methods whose calls may travel in the response, as in sendMessage,sendPhoto.",
)
@click.option("--cert", type=FILE, help="Serve TLS with this certificate.")
@click.option("--key", type=FILE, help="The certificate's key.")
@click.option("--self-signed", is_flag=True, help="No authority signed --cert: give it to Telegram, to be trusted.")
@webhook_options
@click.option("--delete-webhook", is_flag=True, help="Call deleteWebhook at the stop.")
@run_options
def serve(
    handler: str | None,
    token_file: Path | None,
    api_root: str,
    driver: str,
    allowed_updates: str | None,
    drop_pending: bool,
    grace: float,
    inbox: str | None,
    trace: Path | None,
    verbose: bool,
    quiet: bool,
    listen: str,
    path: str | None,
    url: str | None,
    secret_file: Path | None,
    max_connections: int | None,
    ip_address: str | None,
    delete_webhook: bool,
    timeout: float,
    on_timeout: Any,
    concurrency: int,
    reply_with: str | None,
    cert: Path | None,
    key: Path | None,
    self_signed: bool,
) -> None:
    """Run a bot by webhook, on a server of its own.

    The handler is `async def HANDLER(update, api)`, in a module of this folder or an installed one. The token is in the
    environment variable BOT_TOKEN. The same server answers GET /healthz. With an --inbox on PostgreSQL the handler may
    be left out: updates are stored then, and hookline work handles them.

    SIGTERM and SIGINT end the run gracefully, with status 0; a run that ends by itself has status 1.
    """
    from urllib.parse import urlsplit

    from hookline.botapi import may_reply

    token, api = read_bot(token_file, api_root)
    where = address(listen, "--listen")
    if (cert is None) != (key is None):
        raise OptionError("--cert and --key go together")
    if self_signed and cert is None:
        raise OptionError("--self-signed is about --cert, which is missing")
    for option, value in {
        "--max-connections": max_connections,
        "--ip-address": ip_address,
        "--allowed-updates": allowed_updates,
        "--drop-pending": drop_pending or None,
        "--delete-webhook": delete_webhook or None,
        "--self-signed": self_signed or None,
    }.items():
        if url is None and value is not None:
            raise OptionError(f"{option} is told to Telegram with the webhook's address: it needs --url")
    set_webhook = None
    if url is not None:
        set_webhook = SetWebhookOptions(
            url=url,
            certificate=public_part(cert) if cert is not None and self_signed else None,
            ip_address=as_ip_address(ip_address),
            max_connections=max_connections,
            allowed_updates=update_kinds(allowed_updates),
            drop_pending_updates=drop_pending,
            delete_at_stop=delete_webhook,
        )
    for method in names(reply_with) or ():
        if not may_reply(method):
            raise OptionError(f"--reply-with: Telegram does not carry out {method} in a response")
    methods = {name.lower() for name in names(reply_with) or ()}
    answering = WebhookOptions(
        path=path if path is not None else urlsplit(url or "").path or "/",
        timeout=timeout,
        on_timeout=on_timeout,
        concurrency=concurrency,
        grace=grace,
    )
    check_inbox(inbox, token)
    if inbox is not None and reply_with is not None:
        raise OptionError("--reply-with does not go with --inbox: a request is answered before its handler begins")
    if inbox is not None and on_timeout != "throw":
        raise OptionError("--on-timeout does not go with --inbox: a request does not wait for its handler")
    secret = keep_secret(secret_file, token)  # made only for options that are good
    start_logging(token.value, secret, verbose=verbose, quiet=quiet)
    logger = logging.getLogger("hookline")
    carry(
        driver,
        "serve_webhook",
        find_any_handler(handler, driver, inbox),
        token,
        evolve(answering, secret_token=secret),
        inbox=inbox,
        listen=where,
        url=set_webhook,
        api=api,
        reply_with=(lambda method: method.lower() in methods) if methods else None,
        certificate=(str(cert), str(key)) if cert is not None else None,
        started=lambda address: logger.info("listening on %s:%d", *address),
        trace=trace,
    )


def public_part(path: Path) -> bytes:
    """The certificates of a PEM file, without the key that may stand beside them. OptionError if there are none."""
    found = _CERTIFICATE.findall(path.read_bytes())
    if not found:
        raise OptionError(f"the certificate file {str(path)!r} holds no certificate in PEM form")
    return b"".join(found)


def carry(driver: str, entry: str, *args: Any, **kwargs: Any) -> None:
    """Run one of a driver's entries to its end."""
    with under_way():
        if driver == "blocking":
            from hookline_io import blocking

            getattr(blocking, entry)(*args, **kwargs)
        elif driver == "asyncio":
            from hookline_io import asyncio as on_asyncio
            from hookline_io import speed

            speed.run(getattr(on_asyncio, entry)(*args, **kwargs))
        else:
            from functools import partial

            import trio

            from hookline_io import trio as on_trio

            trio.run(partial(getattr(on_trio, entry), *args, **kwargs))
