"""The envelope of the Bot API: results and errors as HTTP responses (telegram-server.md, 5.3 and 5.4)."""

from __future__ import annotations

import json
from typing import Any

from hookline.http import Response


def compact_json(value: Any) -> str:
    """JSON as Telegram writes it: no spaces, nothing outside ASCII."""
    return json.dumps(value, separators=(",", ":"))


def success(result: Any, description: str | None = None) -> Response:
    """`ok: true`. Only the webhook methods have a description."""
    return success_of_text(compact_json(result), description)


def success_of_text(result: str, description: str | None = None) -> Response:
    """`ok: true` around a result that is JSON text already."""
    extra = "" if description is None else f',"description":{compact_json(description)}'
    return json_response(200, f'{{"ok":true,"result":{result}{extra}}}')


def failure(
    code: int, description: str, retry_after: int | None = None, migrate_to_chat_id: int | None = None
) -> Response:
    """`ok: false`; the HTTP status is the error code. A wait is told in the body and by a Retry-After header."""
    envelope: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
    if retry_after is not None:
        envelope["parameters"] = {"retry_after": retry_after}
    elif migrate_to_chat_id is not None:
        envelope["parameters"] = {"migrate_to_chat_id": migrate_to_chat_id}
    return json_response(code, compact_json(envelope), retry_after)


def too_many_requests(retry_after: int) -> Response:
    """The one form that every 429 has (telegram-server.md, 2.7)."""
    return failure(429, f"Too Many Requests: retry after {retry_after}", retry_after)


def json_response(status: int, text: str, retry_after: int | None = None) -> Response:
    """A response with the headers that the Bot API server sends, in its order."""
    body = text.encode()
    headers = [("connection", "keep-alive"), ("content-type", "application/json")]
    if retry_after:
        headers.append(("retry-after", str(retry_after)))
    headers.append(("content-length", str(len(body))))
    return Response(status, tuple(headers), (body,))


def empty(status: int) -> Response:
    """An error of the HTTP layer: no body; the connection is closed after it."""
    return Response(status, (("content-length", "0"),))
