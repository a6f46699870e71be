"""What must hold in every world, by name, and what is raised where it does not."""

from __future__ import annotations

from typing import Final

INVARIANTS: Final = {
    "confirmed": "Telegram forgets no update before it was handled, given up or stored, or its loss accepted",
    "order": "an update begins when every earlier one of its lane (and Telegram's queue, or the inbox) is done",
    "lane": "no two runs of one lane at once",
    "once": "no two runs of one update at once, and none for an update that was handled",
    "attempts": "no update that may be given up is begun more often than max_attempts says, nor given up earlier",
    "concurrency": "no more runs at once than the option says",
    "answered": "every webhook request is answered in its time, or its connection closed",
    "reply": "one call at most travels in the answers to an update, and never one that Telegram ignores",
    "loss": "an update that is lost without a crash is reported",
    "memory": "what is kept has a limit",
    "stop": "a stop ends well and in its time, and nothing is wanted after it",
    "hot loop": "no calls in quick succession that bring nothing",
    "back-off": "what fails is left alone for a while, longer each time; getUpdates after a 429 as long as that says",
    "secret": "no report and no log shows the token",
    "law": "effects name what is open, and a deadline lies later than the tick before it",
    "alive": "everything is handled in the end",
}


class Violation(AssertionError):
    """Something that must hold does not. name: which of INVARIANTS."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(name, text)
        self.name = name
        self.text = text

    def __str__(self) -> str:
        return f"{self.name}: {self.text} ({INVARIANTS[self.name]})"
