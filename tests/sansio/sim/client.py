"""A client and an endpoint of the simulated Telegram, at the level of requests and responses, in virtual time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from hookline.effects import Respond
from hookline.http import Headers, Request, Response, body_bytes
from hookline.sim import Fault, SimulatedTelegram
from hookline.sim.effects import CloseIdle, CloseSlot, HangUp, OpenSlot, Post, SimEffect

BOT_ID = 42
TOKEN = f"{BOT_ID}:{'t' * 30}"
JSON_TYPE = ("content-type", "application/json")
FORM_TYPE = ("content-type", "application/x-www-form-urlencoded")
MULTIPART_TYPE = ("content-type", "multipart/form-data; boundary=b")
URL = "http://endpoint:8080/hook"
DAY = 86_400


def multipart(values: Mapping[str, str], files: Mapping[str, bytes]) -> bytes:
    """A body of MULTIPART_TYPE."""
    parts = [
        *(f'form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in values.items()),
        *(f'form-data; name="{name}"; filename="{name}"\r\n\r\n'.encode() + data for name, data in files.items()),
    ]
    return b"".join(b"--b\r\nContent-Disposition: " + part + b"\r\n" for part in parts) + b"--b--\r\n"


@frozen
class Delivery:
    """An update that was posted to the endpoint, and when."""

    at: float
    post: Post

    @property
    def update(self) -> Any:
        """The update, decoded."""
        return json.loads(body_bytes(self.post.request.body))

    @property
    def id(self) -> int:
        """The update's id."""
        number: int = self.update["update_id"]
        return number


class Client:
    """Tells the simulation what happens, and keeps what it wants done.

    responses: what requests were answered, and when. deliveries: all posts, the oldest first. slots: the webhook's open
    connections. opened: when each of them was opened, those that are closed by now too.
    """

    def __init__(self, **options: Any) -> None:
        self.telegram = SimulatedTelegram(**{"seed": 1} | options)
        self.now = 0.0
        self.responses: dict[int, tuple[float, Response]] = {}
        self.hang_ups: dict[int, tuple[float, HangUp]] = {}
        self.deliveries: list[Delivery] = []
        self.slots: set[int] = set()
        self.opened: list[float] = []
        self.idle_closed = 0
        self._requests = 0

    # Requests

    def send(self, request: Request) -> int:
        """Send a request; its number."""
        self._requests += 1
        self.perform(self.telegram.requested(self._requests, request, self.now))
        return self._requests

    def call(self, method: str, *, token: str = TOKEN, **params: Any) -> int:
        """Call a method, its parameters as JSON; the request's number."""
        body = (json.dumps(params).encode(),) if params else ()
        return self.send(Request("POST", f"/bot{token}/{method}", (JSON_TYPE,), body))

    def upload(self, method: str, values: Mapping[str, str], files: Mapping[str, bytes]) -> Any:
        """Call a method by multipart; the answer."""
        body = multipart(values, files)
        return self.answer(self.send(Request("POST", f"/bot{TOKEN}/{method}", (MULTIPART_TYPE,), (body,))))

    def ask(self, method: str, *, token: str = TOKEN, **params: Any) -> Any:
        """Call a method that is answered at once; the answer."""
        return self.answer(self.call(method, token=token, **params))

    def answer(self, request: int) -> Any:
        """What a request was answered."""
        status, answer = self.status(request), json.loads(body_bytes(self.responses[request][1].body))
        assert status == (200 if answer["ok"] else answer["error_code"]), "the status is the error's code (5.4)"
        return answer

    def status(self, request: int) -> int:
        """The status of a request's answer."""
        return self.responses[request][1].status

    def answered_at(self, request: int) -> float:
        """When a request was answered."""
        return self.responses[request][0]

    def fetch(self, **params: Any) -> list[Any]:
        """The updates that getUpdates returns at once."""
        answer = self.ask("getUpdates", **params)
        assert answer["ok"], answer
        result: list[Any] = answer["result"]
        return result

    def ids(self, **params: Any) -> list[int]:
        """Their ids."""
        return [update["update_id"] for update in self.fetch(**params)]

    # Updates

    def message(self, text: str = "hi", *, user: int = 1, chat: int | None = None) -> int:
        """A message of a user; the update's id."""
        return self.inject("message", self.telegram.user_message(BOT_ID, text, self.now, user=user, chat=chat))

    def inject(self, kind: str, payload: Any) -> int:
        """Any update; its id."""
        update_id = self.offer(kind, payload)
        assert update_id is not None
        return update_id

    def offer(self, kind: str, payload: Any) -> int | None:
        """An update that may not come about."""
        update_id, effects = self.telegram.inject(BOT_ID, kind, payload, self.now)
        self.perform(effects)
        return update_id

    @property
    def pending(self) -> int:
        """How many updates are stored."""
        return self.telegram.pending(BOT_ID)

    def fault(self, kind: str, **options: Any) -> None:
        """Let something go wrong."""
        self.telegram.set_fault(BOT_ID, Fault(kind, **options))

    # The endpoint

    def set_webhook(self, url: str = URL, **params: Any) -> None:
        """Set a webhook."""
        answer = self.ask("setWebhook", url=url, **params)
        assert answer["ok"], answer

    @property
    def waiting(self) -> list[Delivery]:
        """The deliveries that the endpoint has not answered, the oldest first."""
        sender = self.telegram.bot(BOT_ID).sender
        return [delivery for delivery in self.deliveries if sender is not None and delivery.post.post in sender.posts]

    def reply(
        self, delivery: Delivery, status: int = 200, *, headers: Headers = (), body: bytes = b"", reason: str = "OK"
    ) -> None:
        """Answer a delivery."""
        response = Response(status, headers, (body,) if body else ())
        self.perform(self.telegram.posted(delivery.post.post, response, reason, self.now))

    def reply_all(self, status: int = 200, *, headers: Headers = ()) -> list[int]:
        """Answer all that waits, once; the ids of the updates."""
        waiting = self.waiting
        for delivery in waiting:
            self.reply(delivery, status, headers=headers)
        return [delivery.id for delivery in waiting]

    def lose(self, delivery: Delivery, reason: str | None = None) -> None:
        """The connection breaks that carries a delivery."""
        self.lose_slot(delivery.post.slot, reason)

    def lose_slot(self, slot: int, reason: str | None = None) -> None:
        """A webhook's connection breaks."""
        self.slots.discard(slot)
        self.perform(self.telegram.slot_lost(slot, reason, self.now))

    @property
    def webhook(self) -> Any:
        """What getWebhookInfo says."""
        return self.telegram.webhook_info(BOT_ID)

    # Time

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        end = self.now + seconds
        while (deadline := self.telegram.deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.perform(self.telegram.tick(self.now))
            later = self.telegram.deadline
            assert later is None or later > self.now, "the deadline lies later after a tick (law 4)"
        self.now = end

    def wait_for_delivery(self) -> Delivery:
        """Let time go by until the endpoint has something to answer; the first of it."""
        while not self.waiting:
            deadline = self.telegram.deadline
            assert deadline is not None, "no delivery will come"
            self.wait(deadline - self.now)
        return self.waiting[0]

    def perform(self, effects: list[SimEffect]) -> None:
        """Keep what the simulation wants done."""
        for effect in effects:
            if isinstance(effect, Respond):
                assert effect.request not in self.responses, "a request is answered once"
                self.responses[effect.request] = self.now, effect.response
            elif isinstance(effect, HangUp):
                self.hang_ups[effect.request] = self.now, effect
            elif isinstance(effect, Post):
                assert effect.slot in self.slots, "a post goes over an open connection"
                self.deliveries.append(Delivery(self.now, effect))
            elif isinstance(effect, OpenSlot):
                self.slots.add(effect.slot)
                self.opened.append(self.now)
            elif isinstance(effect, CloseSlot):
                self.slots.remove(effect.slot)
            else:
                assert isinstance(effect, CloseIdle), effect
                self.idle_closed += 1
