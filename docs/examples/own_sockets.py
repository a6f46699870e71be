"""Bring your own sockets: the `Bot` machine on plain `selectors`, without any driver of hookline.

It polls over plain TCP (TLS, files and a webhook's server are left out), and stops by itself after STOP_AFTER updates.
The duties of whoever embeds the machine, in order:

1. Make the machine, with a seed of its own. Give it the command `start`.
2. Carry out each list of effects in order: open, write, close, run the handler. Skip nothing.
3. Tell it each fact as it happens: connected or not, bytes received, gone, a handler finished. What comes of that is
   carried out after the effects that were given before.
4. Wake at `deadline` and call `tick`. Pass the same monotonic clock everywhere.
5. Go on until `Ended`. To stop, give the command `stop`, and go on all the same.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
import time
from collections import deque

from hookline import ApiOptions, Bot, PollingOptions, Raised, Returned, Token, Update
from hookline.effects import Close, Connect, Effect, Ended, Handle, Log, Report, Resolve, Send


class Embedding:
    """Enough of a driver for an echo bot. stop_after: give the command `stop` after so many updates; 0 is never."""

    def __init__(self, bot: Bot, stop_after: int) -> None:
        self.bot = bot
        self.stop_after = stop_after
        self.handled = 0
        self.selector = selectors.DefaultSelector()
        self.sockets: dict[int, socket.socket] = {}
        self.effects: deque[Effect] = deque()
        self.calls = 0
        self.failure: str | None = None
        self.over = False

    def run(self) -> None:
        """Run the bot to its end."""
        self.effects.extend(self.bot.start(time.monotonic()))
        self.carry_out()
        while not self.over:
            deadline = self.bot.deadline
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            for key, _ in self.selector.select(wait):
                self.read(key.data)
                self.carry_out()
            self.effects.extend(self.bot.tick(time.monotonic()))
            self.carry_out()
        if self.failure is not None:
            sys.exit(self.failure)

    def carry_out(self) -> None:
        """Carry out what the machine wants, in order; what it wants next is put at the end."""
        while self.effects:
            effect = self.effects.popleft()
            if isinstance(effect, Connect):
                self.connect(effect)
            elif isinstance(effect, Send):
                self.send(effect)
            elif isinstance(effect, Close):
                self.forget(effect.connection)
            elif isinstance(effect, Handle):
                self.handle(effect)
            elif isinstance(effect, (Report, Log)):
                print(effect.text, file=sys.stderr)
            elif isinstance(effect, Ended):
                self.failure, self.over = effect.failure, True
            elif not isinstance(effect, Resolve):  # nobody here waits for the result of a call
                raise NotImplementedError(effect)

    def connect(self, effect: Connect) -> None:
        """Open a connection. A program that does more than this would not block here."""
        try:
            sock = socket.create_connection((effect.host, effect.port), timeout=10)
        except OSError as error:
            self.effects.extend(self.bot.connect_failed(effect.connection, str(error), time.monotonic()))
            return
        self.sockets[effect.connection] = sock
        self.selector.register(sock, selectors.EVENT_READ, effect.connection)
        self.effects.extend(self.bot.connected(effect.connection, time.monotonic()))

    def send(self, effect: Send) -> None:
        """Write; a write that fails is told as a connection that has gone."""
        try:
            self.sockets[effect.connection].sendall(effect.data)
        except (KeyError, OSError) as error:
            self.gone(effect.connection, str(error))

    def read(self, connection: int) -> None:
        """Read what has come, and tell it."""
        sock = self.sockets.get(connection)
        if sock is None:  # it was closed since it became readable
            return
        try:
            data = sock.recv(65_536)
        except OSError as error:
            self.gone(connection, str(error))
            return
        if data:
            self.effects.extend(self.bot.received(connection, data, time.monotonic()))
        else:
            self.gone(connection, "closed by the server")

    def gone(self, connection: int, reason: str) -> None:
        """A connection has gone, and not because the machine wanted it to."""
        self.forget(connection)
        self.effects.extend(self.bot.disconnected(connection, reason, time.monotonic()))

    def forget(self, connection: int) -> None:
        """Close a socket."""
        sock = self.sockets.pop(connection, None)
        if sock is not None:
            self.selector.unregister(sock)
            sock.close()

    def handle(self, effect: Handle) -> None:
        """Run the handler, here and now; a thread, a queue or another machine would do as well."""
        try:
            self.echo(effect.update)
        except Exception as error:
            outcome: Raised | Returned = Raised(repr(error))
        else:
            outcome = Returned()
        self.effects.extend(self.bot.finished(effect.job, outcome, time.monotonic()))
        self.handled += 1
        if self.handled == self.stop_after:
            self.effects.extend(self.bot.stop(time.monotonic()))

    def echo(self, update: Update) -> None:
        """The bot: answer a text message with its own text."""
        if update.kind == "message" and "text" in update.payload:
            self.calls += 1
            params = {"chat_id": update.payload["chat"]["id"], "text": update.payload["text"]}
            self.effects.extend(self.bot.call(self.calls, "sendMessage", params, time.monotonic()))


if __name__ == "__main__":
    machine = Bot(
        Token(os.environ["BOT_TOKEN"]),
        PollingOptions(),
        api=ApiOptions(root=os.environ["BOT_API_ROOT"]),  # a local Bot API server, or `hookline sim`
        seed=int.from_bytes(os.urandom(8), "big"),
    )
    Embedding(machine, stop_after=int(os.environ.get("STOP_AFTER", "0"))).run()
