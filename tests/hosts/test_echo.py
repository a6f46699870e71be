"""An echo bot in every host, fed by the simulated Telegram's own webhook sender, with slow and failing handlers."""

from __future__ import annotations

from tests.hosts.client import PATH, Served
from tests.hosts.conftest import SECRET, TIMEOUT
from tests.hosts.hosts import each

CHATS = (-101, -102, -103)


@each(remembering=True)
def test_nothing_is_lost_or_repeated_and_every_chat_keeps_its_order(served: Served) -> None:
    telegram = served.telegram
    url = f"http://127.0.0.1:{served.port}{PATH}"
    served.call("setWebhook", url=url, secret_token=SECRET)
    texts = ["echo=1", f"sleep={1.5 * TIMEOUT} echo=2", "fail-once echo=3", "echo=4"]
    before = len(telegram.answers())
    for text in texts:
        for chat in CHATS:
            telegram.message(text, chat=chat)
    served.until(lambda: telegram.pending() == 0)
    answers = telegram.answers()[before:]
    for chat in CHATS:
        assert [text for answered, text in answers if answered == chat] == texts
    served.call("deleteWebhook")
