"""What users fuzz their handlers and embeddings with."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis.stateful import run_state_machine_as_test

from hookline import Raised, Request, Response, Returned, StoringWebhook, Update, Webhook, WebhookOptions, read_update
from hookline.effects import Effect, Handle, Mark, Open, Respond, Store, Throw
from hookline.sim.kinds import INTERNAL, KINDS
from hookline.testing import Disk
from hookline_io.strategies import TelegramRules, updates


@given(updates())
def test_an_update_of_any_kind_is_one(raw: dict[str, Any]) -> None:
    """With its kind, and a lane."""
    update = read_update(raw)
    assert isinstance(update, Update)
    assert update.kind in set(KINDS) - INTERNAL


@given(updates("message", "poll"))
def test_only_the_kinds_that_are_asked_for_come(raw: dict[str, Any]) -> None:
    assert set(raw) - {"update_id"} <= {"message", "poll"}


class Embedding(TelegramRules):
    """The machine as it should be embedded, with a handler that fails now and then and ends at once."""

    secret_token = "a-secret"

    def open(self) -> None:
        self.machine = Webhook(WebhookOptions(secret_token=self.secret_token))
        self.runs = 0

    def post(self, request: Request) -> Response:
        effects = self.machine.requested(1, request, 0.0)
        for effect in effects:
            if isinstance(effect, Handle):
                effects += self.finish(effect)
            elif isinstance(effect, Respond):
                return effect.response
            elif isinstance(effect, Throw):
                break
        return Response(500)

    def finish(self, effect: Handle) -> Any:
        self.runs += 1
        if self.runs % 3 == 0:
            return self.machine.finished(effect.job, Raised("ValueError: no"), 0.0)
        self.handled(effect.update.update_id)
        return self.machine.finished(effect.job, Returned(), 0.0)


class WithAnInbox(Embedding):
    """The same with an inbox: what is stored is answered, and handled before the next request."""

    def open(self) -> None:
        self.runs, self.now, self.disk = 0, 0.0, Disk()
        self.inbox = StoringWebhook(WebhookOptions(secret_token=self.secret_token, confirm="stored"))
        self.carry_out(self.inbox.start(self.now))

    def post(self, request: Request) -> Response:
        (response,) = self.carry_out(self.inbox.requested(1, request, self.now))
        while self.inbox.deadline is not None:
            self.now = self.inbox.deadline
            self.carry_out(self.inbox.tick(self.now))
        return response

    def carry_out(self, effects: list[Effect]) -> list[Response]:
        responses = []
        for effect in effects:
            if isinstance(effect, Handle):
                effects += self.end(effect)
            elif isinstance(effect, (Open, Store, Mark)):
                answer = self.disk.carry_out(effect, self.now)
                effects += getattr(self.inbox, answer.fact)(*answer.args, now=self.now, **answer.kwargs)
            elif isinstance(effect, Respond):
                responses.append(effect.response)
        return responses

    def end(self, effect: Handle) -> list[Effect]:
        self.runs += 1
        if self.runs % 3 == 0:
            return self.inbox.finished(effect.job, Raised("ValueError: no"), self.now)
        self.handled(effect.update.update_id)
        return self.inbox.finished(effect.job, Returned(), self.now)


TestAGoodEmbedding = pytest.mark.exhaustive(Embedding.TestCase)
TestAGoodEmbeddingWithAnInbox = pytest.mark.exhaustive(WithAnInbox.TestCase)


class Forgetful(Embedding):
    """Makes the machine anew for each request, as a stateless host that keeps nothing would."""

    def post(self, request: Request) -> Response:
        self.machine = Webhook(WebhookOptions(secret_token=self.secret_token))
        return super().post(request)


class Trusting(Embedding):
    """Does not look at the secret token."""

    def open(self) -> None:
        super().open()
        self.machine = Webhook(WebhookOptions())


class Hasty(Embedding):
    """Answers 200 whatever becomes of the handler."""

    def post(self, request: Request) -> Response:
        super().post(request)
        return Response(200)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Forgetful, "handled twice|not handled once"),
        (Trusting, "a forged request was answered [25]00"),
        (Hasty, "was answered 200"),
    ],
)
def test_a_wrong_embedding_is_found(wrong: type[TelegramRules], said: str) -> None:
    quick = settings(max_examples=200, database=None, phases=[Phase.generate], report_multiple_bugs=False)
    with pytest.raises(AssertionError, match=said):
        run_state_machine_as_test(wrong, settings=quick)
