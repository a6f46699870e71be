"""Hypothesis strategies for whoever tests a handler or an embedding: updates of every kind, and Telegram as rules.

`updates` makes raw updates, for a handler. `TelegramRules` is a state machine that sends updates to a webhook as
Telegram does, some of them twice, and strangers' requests among them; a subclass says how a request is posted.
"""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hookline.http import Request, Response
from hookline.sim.kinds import INTERNAL, KINDS

TEXTS: Final = st.text(max_size=40)
IDS: Final = st.integers(1, 2**52)
DATES: Final = st.integers(1_700_000_000, 1_800_000_000)

USERS: Final = st.fixed_dictionaries(
    {"id": IDS, "is_bot": st.booleans(), "first_name": TEXTS}, optional={"username": TEXTS, "language_code": TEXTS}
)
CHATS: Final = st.one_of(
    st.fixed_dictionaries({"id": IDS, "type": st.just("private"), "first_name": TEXTS}),
    st.fixed_dictionaries({"id": IDS.map(lambda number: -number), "type": st.just("supergroup"), "title": TEXTS}),
)
MESSAGES: Final = st.fixed_dictionaries(
    {"message_id": st.integers(1, 2**31), "date": DATES, "chat": CHATS},
    optional={
        "from": USERS,
        "text": TEXTS,
        "caption": TEXTS,
        "photo": st.just([{"file_id": "a", "file_unique_id": "b", "width": 1, "height": 1}]),
        "location": st.just({"latitude": 1.5, "longitude": -2.25}),
    },
)

_MEMBERS = st.fixed_dictionaries({"chat": CHATS, "from": USERS, "date": DATES}, optional={"new_chat_member": USERS})
_PAYLOADS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "callback_query": st.fixed_dictionaries(
        {"id": TEXTS, "from": USERS, "chat_instance": TEXTS}, optional={"message": MESSAGES, "data": TEXTS}
    ),
    "inline_query": st.fixed_dictionaries({"id": TEXTS, "from": USERS, "query": TEXTS, "offset": TEXTS}),
    "chosen_inline_result": st.fixed_dictionaries({"result_id": TEXTS, "from": USERS, "query": TEXTS}),
    "shipping_query": st.fixed_dictionaries({"id": TEXTS, "from": USERS, "invoice_payload": TEXTS}),
    "pre_checkout_query": st.fixed_dictionaries({"id": TEXTS, "from": USERS, "currency": st.just("EUR")}),
    "poll": st.fixed_dictionaries({"id": IDS.map(str), "question": TEXTS, "is_closed": st.booleans()}),
    "poll_answer": st.fixed_dictionaries({"poll_id": IDS.map(str), "user": USERS, "option_ids": st.just([0])}),
    "business_connection": st.fixed_dictionaries({"id": TEXTS, "user": USERS, "date": DATES}),
    "purchased_paid_media": st.fixed_dictionaries({"from": USERS, "paid_media_payload": TEXTS}),
    "managed_bot": st.fixed_dictionaries({"user": USERS}),
}


def updates(*kinds: str) -> st.SearchStrategy[dict[str, Any]]:
    """Raw updates, as they come from Telegram: of these kinds, or of every one that there is.

    Their payloads have the fields that every handler may count on, and some that it may not.
    """
    names = kinds or tuple(kind for kind in KINDS if kind not in INTERNAL)

    def made(kind: str) -> st.SearchStrategy[dict[str, Any]]:
        payload = _MEMBERS if kind.endswith(("_member", "_request", "boost")) else _PAYLOADS.get(kind, MESSAGES)
        return st.fixed_dictionaries({"update_id": st.integers(1, 2**31 - 1), kind: payload})

    return st.sampled_from(names).flatmap(made)


class TelegramRules(RuleBasedStateMachine):
    """Telegram, as seen by a webhook: one update of a chat after the other, and again what was not answered 2xx.

    A subclass has `open`, which makes what is tested anew, and `post`, which answers one request. Its handler calls
    `handled` with each update that it has handled to the end, and may raise. `secret_token` is what the webhook wants.
    pytest and unittest find it by `TestMyWebhook = MyRules.TestCase`.

    What must hold: an update that was answered 2xx was handled, and once; one that is answered otherwise comes again;
    a chat's updates are handled in their order; nothing of a stranger's request is handled.
    """

    secret_token: str | None = None
    path = "/"
    again = 5
    """How often an update is sent, at most, until it is answered 2xx."""

    def __init__(self) -> None:
        super().__init__()
        self._next = 1
        self._told: list[int] = []
        self._acknowledged: list[int] = []
        self._chats: dict[int, int] = {}

    def open(self) -> None:
        """Make what is tested. Override it."""
        raise NotImplementedError

    def post(self, request: Request) -> Response:
        """What the webhook answers a request. Override it."""
        raise NotImplementedError

    def handled(self, update_id: int) -> None:
        """The handler has handled an update to its end."""
        self._told.append(update_id)

    @initialize()
    def _begin(self) -> None:
        self.open()

    @rule(update=updates("message", "edited_message", "callback_query"), chat=st.integers(1, 3), lost=st.booleans())
    def send(self, update: dict[str, Any], chat: int, lost: bool) -> None:
        """An update of a chat; its first answer may be lost on the way, so that it comes again."""
        update_id, self._next = self._next, self._next + 1
        self._chats[update_id] = chat
        kind = next(name for name in update if name != "update_id")
        message = update[kind].setdefault("message", {}) if kind == "callback_query" else update[kind]
        message["chat"] = {"id": chat, "type": "private", "first_name": "User"}
        raw = {"update_id": update_id, kind: update[kind]}
        for attempt in range(self.again):
            status = self.post(self._request(raw)).status
            if 200 <= status < 300:
                assert self._told.count(update_id) == 1, (
                    f"update {update_id} was answered {status}, but not handled once"
                )
                if not (lost and attempt == 0):
                    self._acknowledged.append(update_id)
                    return

    @rule(body=st.binary(max_size=60) | st.sampled_from([b"[]", b'{"update_id": true}', b"null"]))
    def send_nonsense(self, body: bytes) -> None:
        """A body that is no update gets no 2xx."""
        before = len(self._told)
        response = self.post(Request("POST", self.path, self._headers(body), (body,)))
        assert not 200 <= response.status < 300, f"{body!r} was answered {response.status}"
        assert len(self._told) == before

    @rule(update=updates(), secret=st.sampled_from([None, "", "wrong", "Wrong", "é"]))
    def forge(self, update: dict[str, Any], secret: str | None) -> None:
        """A stranger's request, without the secret token or with another."""
        if self.secret_token is None:
            return
        before = len(self._told)
        body = json.dumps(update).encode()
        headers = tuple(header for header in self._headers(body) if "secret" not in header[0])
        if secret is not None:
            headers += (("x-telegram-bot-api-secret-token", secret),)
        response = self.post(Request("POST", self.path, headers, (body,)))
        assert 400 <= response.status < 500, f"a forged request was answered {response.status}"
        assert len(self._told) == before

    @invariant()
    def each_is_handled_once_and_in_its_chats_order(self) -> None:
        """However often it was sent."""
        assert len(set(self._told)) == len(self._told), f"handled twice: {self._told}"
        for chat in set(self._chats.values()):
            of_chat = [update_id for update_id in self._told if self._chats[update_id] == chat]
            assert of_chat == sorted(of_chat), f"out of order in chat {chat}: {of_chat}"

    def _request(self, raw: dict[str, Any]) -> Request:
        body = json.dumps(raw).encode()
        return Request("POST", self.path, self._headers(body), (body,))

    def _headers(self, body: bytes) -> tuple[tuple[str, str], ...]:
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        if self.secret_token is not None:
            headers.append(("x-telegram-bot-api-secret-token", self.secret_token))
        return tuple(headers)
