"""Bring your own HTTP: the `Webhook` machine in a WSGI function, without any framework and any driver of hookline.

The duties of whoever embeds the machine, in order:

1. Make the machine. One lock guards it, since a WSGI server calls from many threads.
2. Tell each request by `requested`, with a number of its own, and wait until that number is answered.
3. Carry out each list of effects in order: `Handle` runs the handler (here in a thread of its own, so that it can
   outlive the request), `Respond` and `Throw` answer a request.
4. Tell `finished` when a handler has ended, and `disconnected` when a client goes before its answer.
5. Wake at `deadline` and call `tick`: here every waiting request does it.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from hookline import Raised, Request, Response, Returned, Update, Webhook, WebhookOptions
from hookline.effects import Cancel, Effect, Ended, Handle, Log, Report, Respond, Throw
from hookline.http import body_bytes


class Application:
    """A WSGI application that hands updates to `handler(update)`."""

    def __init__(self, handler: Callable[[Update], object], options: WebhookOptions) -> None:
        self.handler = handler
        self.max_body = options.max_body
        self.webhook = Webhook(options)
        self.changed = threading.Condition()
        self.answers: dict[int, Response] = {}
        self.numbers = count(1)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        """Answer one request."""
        number = next(self.numbers)
        request = self.read(environ)
        with self.changed:
            self.carry_out(self.webhook.requested(number, request, time.monotonic()))
            while number not in self.answers:
                deadline = self.webhook.deadline
                self.changed.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
                self.carry_out(self.webhook.tick(time.monotonic()))
            answer = self.answers.pop(number)
        start_response(f"{answer.status} Answer", [(name.title(), value) for name, value in answer.headers])
        return [body_bytes(answer.body)]

    def read(self, environ: dict[str, Any]) -> Request:
        """The request as the machine wants it; no more of its body than may be accepted is read."""
        names = [name for name in environ if name.startswith("HTTP_")]
        headers = [(name[5:].replace("_", "-").lower(), environ[name]) for name in names]
        headers.append(("content-type", environ.get("CONTENT_TYPE", "")))
        length = environ.get("CONTENT_LENGTH") or "0"
        headers.append(("content-length", length))
        size = min(int(length), self.max_body + 1) if length.isdigit() else 0
        body = environ["wsgi.input"].read(size)
        return Request(environ["REQUEST_METHOD"], environ.get("PATH_INFO") or "/", tuple(headers), (body,))

    def carry_out(self, effects: list[Effect]) -> None:
        """Carry out what the machine wants, in order. The lock is held."""
        for effect in effects:
            if isinstance(effect, Handle):
                threading.Thread(target=self.handle, args=(effect,), daemon=True).start()
            elif isinstance(effect, Respond):
                self.answers[effect.request] = effect.response
            elif isinstance(effect, Throw):  # a framework would raise WebhookTimeout here
                self.answers[effect.request] = Response(500, (("content-length", "0"),))
            elif isinstance(effect, (Report, Log)):
                print(effect.text)
            else:
                assert isinstance(effect, (Cancel, Ended)), effect  # a thread cannot be cancelled
        self.changed.notify_all()

    def handle(self, effect: Handle) -> None:
        """Run the handler, in a thread of its own."""
        outcome: Raised | Returned = Returned()
        try:
            self.handler(effect.update)
        except Exception as error:
            outcome = Raised(repr(error), traceback.format_exc())
        with self.changed:
            self.carry_out(self.webhook.finished(effect.job, outcome, time.monotonic()))
