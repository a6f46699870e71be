"""AWS Lambda, behind API Gateway (REST or HTTP), an Application Load Balancer, or at a function URL.

lambda_handler = webhook_callback(handler, TOKEN)

The process is frozen when it has answered (see `WebhookOptions.freezes`). A handler that goes on after its time was up
is frozen with it, and goes on with the next invocation of the same process, or is lost; Telegram sends its update again
in any case. One process is given one request at a time, and AWS starts as many as it needs: they know nothing of each
other's runs. Reserved concurrency of 1 makes them one, and setWebhook's max_connections of 1 lets Telegram wait.

The function's own timeout, 3 s at first, must be longer than `WebhookOptions.timeout`, and that shorter than the 29 or
30 s of API Gateway: a function that is killed answers nothing, and its handler begins anew with the next delivery. A
REST API must have */* among its binary media types for an answer that carries a file.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, TypeAlias

from attrs import evolve

from hookline.botapi import Token
from hookline.http import Response, body_bytes
from hookline.options import WebhookOptions
from hookline_io.hosts.synchronous import Handler, SyncWebhook

Event: TypeAlias = "dict[str, Any]"


def webhook_callback(
    handler: Handler, token: str | Token, options: WebhookOptions | None = None, **settings: Any
) -> Callable[[Event, object], Event]:
    """A function that hands updates to `handler(update, api)`, `def` or `async def`.

    Where API Gateway or a load balancer has routes, theirs count, and not `WebhookOptions.path`; at a function URL, and
    by the route $default, the path is compared.
    settings: those of `Exchange` (api, lane, on_timeout, reply_with, tls, trace).
    """
    webhook = SyncWebhook(handler, token, evolve(options or WebhookOptions(), freezes=True), **settings)

    def lambda_handler(event: Event, context: object) -> Event:
        if "requestContext" not in event:
            raise ValueError(f"the event is no HTTP request: it has {', '.join(sorted(event)) or 'nothing'}")
        method = event.get("httpMethod") or event["requestContext"]["http"]["method"]
        path = event["rawPath"] if event.get("routeKey") == "$default" else webhook.options.path
        response = webhook.answer(method, path, headers_of(event), lambda limit: body_of(event))
        return result_of(response, many="headers" not in event)

    return lambda_handler


def headers_of(event: Event) -> list[tuple[str, str]]:
    """The headers of a request."""
    if event.get("multiValueHeaders"):
        return [(name, value) for name, values in event["multiValueHeaders"].items() for value in values]
    return list((event.get("headers") or {}).items())


def body_of(event: Event) -> bytes:
    """The body of a request."""
    body: str = event.get("body") or ""
    return b64decode(body) if event.get("isBase64Encoded") else body.encode("utf-8", "surrogatepass")


def result_of(response: Response, *, many: bool) -> Event:
    """What a function returns for a response. many: its headers have lists of values, as a load balancer wants."""
    body = body_bytes(response.body)
    result: Event = {"statusCode": response.status, "isBase64Encoded": False}
    if many:
        result["multiValueHeaders"] = {name: [value] for name, value in response.headers}
    else:
        result["headers"] = dict(response.headers)
    try:
        result["body"] = body.decode()
    except UnicodeDecodeError:
        result |= {"body": b64encode(body).decode(), "isBase64Encoded": True}
    return result
