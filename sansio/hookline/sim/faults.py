"""What can be made to go wrong with a bot's calls and webhook requests, on demand (telegram-server.md, 7)."""

from __future__ import annotations

from typing import Final

from attrs import field, frozen
from attrs.validators import and_, ge, instance_of, le, optional

from hookline.http import Response
from hookline.options import one_of
from hookline.sim import answers
from hookline.sim.answers import Refusal
from hookline.sim.effects import HangUp

KINDS: Final = ("error", "html", "empty", "body", "close", "half", "silent")
MAX_AFTER: Final = 3_600.0
DELIVERY: Final = "delivery"
"""In the place of a method's name: the requests that the bot's webhook is sent."""


@frozen
class Fault:
    """What is to go wrong, for the next `times` calls of `method` ("" is every method).

    kind: In place of being carried out, a call gets "error" (code, description, retry_after, migrate_to_chat_id),
        "html" (a proxy's page with status code), "empty" (status code, no body) or "body" (a 200 with `body`). Or it is
        carried out and its answer is lost: "close" (the connection is closed instead), "half" (closed within the
        answer) or "silent" (no answer for ever).
    after: Seconds until the call gets that. The connection of a long poll is so closed in the middle of its wait.
    method: "delivery" stands for the requests that the webhook is sent. The endpoint gets them; what it answers is
        replaced or lost on its way back.

    ValueError or TypeError for anything else.
    """

    kind: str = field(validator=one_of(*KINDS))
    method: str = field(default="", validator=instance_of(str))
    times: int = field(default=1, validator=and_(instance_of(int), ge(1)))
    code: int = field(default=500, validator=and_(instance_of(int), ge(200), le(599)))
    description: str = field(default="Internal Server Error", validator=instance_of(str))
    retry_after: int | None = field(default=None, validator=optional(and_(instance_of(int), ge(0))))
    migrate_to_chat_id: int | None = field(default=None, validator=optional(instance_of(int)))
    body: str = field(default="", validator=instance_of(str))
    after: float = field(default=0.0, converter=float, validator=[ge(0), le(MAX_AFTER)])

    def __attrs_post_init__(self) -> None:
        if self.after and self.method.lower() == DELIVERY:
            raise ValueError("what a delivery is answered can't wait: leave `after` out")

    def befalls(self, method: str) -> bool:
        """Whether it is one for this method, whose name is in lower case."""
        return self.method.lower() == method or (not self.method and method != DELIVERY)

    @property
    def answer(self) -> Response | None:
        """What comes in place of the answer; None if the answer is lost."""
        if self.kind == "error":
            refusal = Refusal(self.code, self.description, self.retry_after, self.migrate_to_chat_id)
            return answers.refuse(refusal)
        if self.kind == "html":
            page = f"<html><body><h1>{self.code} from a proxy</h1></body></html>".encode()
            return Response(self.code, (("content-type", "text/html"), ("content-length", str(len(page)))), (page,))
        if self.kind == "empty":
            return answers.empty(self.code)
        return answers.json(200, self.body.encode()) if self.kind == "body" else None

    def hang_up(self, request: int) -> HangUp | None:
        """How the connection of a call ends whose answer is lost; None if it stays open."""
        if self.kind == "half":
            return HangUp(request, b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"ok":true,"resu')
        return HangUp(request) if self.kind == "close" else None
