"""In the place of `Pool`: requests go out as values, by an HTTP client that the program has.

For hosts that have a client and no sockets (a worker with `fetch`), and for programs whose way out is their own (a
proxy, a client library). Deadlines are the callers', as with `Pool`: what is overdue is recalled.
"""

from __future__ import annotations

from hookline.effects import Recall, Transmit
from hookline.errors import LocalProtocolError
from hookline.http import Request, Response, is_in_memory
from hookline.outcomes import Unreachable
from hookline.pool import Answered, PoolEffect


class OwnClient:
    """Commands: `fetch`, `abandon`, `close`; facts: `responded`, `failed`. The contract is that of `Pool`."""

    deadline: None = None

    def __init__(self) -> None:
        self._under_way: set[int] = set()

    def fetch(
        self, fetch: int, request: Request, now: float, *, streamed: bool = False, urgent: bool = False
    ) -> list[PoolEffect]:
        """Send a request. Its response comes whole; how many go out at the same time is the client's business."""
        if streamed:
            return [Answered(fetch, Unreachable("a download needs hookline's own connections"))]
        self._under_way.add(fetch)
        return [Transmit(fetch, request)]

    def abandon(self, fetch: int, now: float) -> list[PoolEffect]:
        """Nobody waits for this response any more."""
        return [Recall(fetch)] if self._ended(fetch) else []

    def responded(self, fetch: int, response: Response, now: float) -> list[PoolEffect]:
        """The response to a `Transmit`; one that was recalled is ignored."""
        if not is_in_memory(response.body):
            raise LocalProtocolError(f"responded: the body of the response to request {fetch} must be in memory")
        return [Answered(fetch, response)] if self._ended(fetch) else []

    def failed(self, fetch: int, reason: str, now: float) -> list[PoolEffect]:
        """There is no response to a `Transmit`."""
        return [Answered(fetch, Unreachable(reason))] if self._ended(fetch) else []

    def close(self, now: float) -> list[PoolEffect]:
        """Recall all that is under way. It gets no answer."""
        recalled, self._under_way = sorted(self._under_way), set()
        return [Recall(fetch) for fetch in recalled]

    def tick(self, now: float) -> list[PoolEffect]:
        """Nothing is ever due here."""
        return []

    def _ended(self, fetch: int) -> bool:
        known = fetch in self._under_way
        self._under_way.discard(fetch)
        return known
