"""What the server answers a method: its responses, byte for byte (telegram-server.md, 5.3 and 5.4)."""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen

from hookline import codec
from hookline.http import Response


@frozen
class Refusal:
    """A method's error, as the server words it."""

    code: int
    description: str
    retry_after: int | None = None
    migrate_to_chat_id: int | None = None


NO_METHOD: Final = Refusal(404, "Not Found: method not found")


def flood(seconds: int) -> Refusal:
    """A 429 (2.7)."""
    return Refusal(429, f"Too Many Requests: retry after {seconds}", seconds)


def json(status: int, data: bytes, retry_after: int | None = None) -> Response:
    """A response that carries JSON."""
    headers = [("connection", "keep-alive"), ("content-type", "application/json")]
    if retry_after:
        headers.append(("retry-after", str(retry_after)))
    return Response(status, (*headers, ("content-length", str(len(data)))), (data,))


def success(result: Any, description: str | None = None) -> Response:
    """A method's result; only webhook methods have a description."""
    answer: dict[str, Any] = {"ok": True, "result": result}
    if description is not None:
        answer["description"] = description
    return json(200, codec.encode(answer))


def refuse(refusal: Refusal) -> Response:
    """A method's error."""
    answer: dict[str, Any] = {"ok": False, "error_code": refusal.code, "description": refusal.description}
    parameters = {
        name: value
        for name, value in (
            ("retry_after", refusal.retry_after),
            ("migrate_to_chat_id", refusal.migrate_to_chat_id),
        )
        if value is not None
    }
    if parameters:
        answer["parameters"] = parameters
    return json(refusal.code, codec.encode(answer), refusal.retry_after)


def empty(status: int) -> Response:
    """An error at the HTTP layer: no body, and the connection is closed (5.3)."""
    return Response(status, (("content-length", "0"), ("connection", "close")))
