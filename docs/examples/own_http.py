"""Bring your own HTTP: the `Webhook` machine in a WSGI function, without any framework and any driver of hookline.

The duties of whoever embeds the machine, in order:

1. Make the machine. One lock guards it, since a WSGI server calls from many threads.
2. Ask `screen` about a request's head, and read no body that it rejects. Tell the request by `requested`, with a number
   of its own, and wait until that number is answered.
3. Carry out each list of effects in order: `Handle` runs the handler (here in a thread of its own, so that it can
   outlive the request), `Respond` and `Throw` answer a request.
4. Tell `finished` when a handler has ended, and `disconnected` when a client goes before its answer (WSGI never says
   that; the answer then goes nowhere).
5. Wake at `deadline` and call `tick`: here every request that waits does it.
6. To stop, give the command `stop`, let the server answer until `Ended`, then close it.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from attrs import evolve

from hookline import Raised, Request, Response, Returned, Update, Webhook, WebhookOptions
from hookline.effects import Cancel, Effect, Ended, Handle, Log, Report, Respond, Throw
from hookline.http import body_bytes


class Application:
    """A WSGI application that hands updates to `handler(update)`."""

    def __init__(self, handler: Callable[[Update], object], options: WebhookOptions) -> None:
        self.handler = handler
        self.webhook = Webhook(options)
        self.changed = threading.Condition()
        self.answers: dict[int, Response] = {}
        self.numbers = count(1)
        self.over = False

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        """Answer one request."""
        number = next(self.numbers)
        request = self.read(environ)
        with self.changed:
            self.carry_out(self.webhook.requested(number, request, time.monotonic()))
            self.wait_until(lambda: number in self.answers)
            answer = self.answers.pop(number)
        start_response(f"{answer.status} Answer", [(name.title(), value) for name, value in answer.headers])
        return [body_bytes(answer.body)]

    def stop(self) -> None:
        """Let the handlers that run end, within their grace time; new requests get 503."""
        with self.changed:
            self.carry_out(self.webhook.stop(time.monotonic()))
            self.wait_until(lambda: self.over)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait, and let the machine's time go on meanwhile. The lock is held, but for the waiting itself."""
        while not condition():
            deadline = self.webhook.deadline
            self.changed.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
            self.carry_out(self.webhook.tick(time.monotonic()))

    def read(self, environ: dict[str, Any]) -> Request:
        """The request as the machine wants it."""
        names = [name for name in environ if name.startswith("HTTP_")]
        headers = [(name[5:].replace("_", "-").lower(), environ[name]) for name in names]
        length = environ.get("CONTENT_LENGTH") or "0"
        headers += [("content-type", environ.get("CONTENT_TYPE", "")), ("content-length", length)]
        head = Request(environ["REQUEST_METHOD"], environ.get("PATH_INFO") or "/", tuple(headers))
        with self.changed:
            if self.webhook.screen(head) is not None:  # it will be rejected: nobody needs its body
                return head
        return evolve(head, body=(environ["wsgi.input"].read(int(length)),))

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
                print(effect.text, file=sys.stderr)
            elif isinstance(effect, Ended):
                self.over = True
            elif not isinstance(effect, Cancel):  # a thread cannot be cancelled: its run goes on to its end
                raise NotImplementedError(effect)
        if effects:  # or two that wait would wake each other for ever
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
