"""The control interface of the simulation: JSON over HTTP, so that a program in any language can be tested against it.

    POST /_sim/message  {"bot": id, "text": ..., "user": id, "chat": id}   a user's message; answers its update_id
    POST /_sim/button   {"bot": id, "data": ..., "user": id, "chat": id}   a press of a button
    POST /_sim/update   {"bot": id, "kind": ..., "payload": {...}}         any update
    POST /_sim/raw      {"bot": id, "text": ...}                           an element that is no update
    POST /_sim/drop     {"bot": id, "update_id": id}                       a stored update is gone
    POST /_sim/ids      {"bot": id, "first": id}                           a new range of update ids
    POST /_sim/fault    {"bot": id, "method": ..., "kind": ..., ...}       a fault (see `Fault`)
    POST /_sim/idle     {"bot": id}                                        connections that idle are closed
    POST /_sim/restart  {"bot": id}                                        the server restarts
    POST /_sim/revoke   {"bot": id}                                        the token is refused from now on
    GET  /_sim/calls?bot=ID                                                the calls the bot made, the last 10 000
    GET  /_sim/state?bot=ID                                                what waits, and the webhook

It knows only the simulation's commands and what can be read of it. What is wrong with a request is answered 400.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from attrs import asdict, fields

from hookline import codec
from hookline.errors import LocalProtocolError
from hookline.http import Request, Response, body_bytes
from hookline.sim import answers
from hookline.sim.effects import SimEffect
from hookline.sim.faults import Fault

if TYPE_CHECKING:
    from hookline.sim.telegram import SimulatedTelegram

PREFIX: Final = "/_sim/"


def control(telegram: SimulatedTelegram, message: Request, now: float) -> tuple[Response, list[SimEffect]]:
    """Carry out a request of the control interface: its answer, and what the command that it gave wants done."""
    path, _, query = message.target.partition("?")
    try:
        given = _given(query, body_bytes(message.body))
        answer, effects = _command(telegram, message.method, path.removeprefix(PREFIX), given, now)
        return answers.json(200, codec.encode(answer)), effects
    except LookupError as error:
        return answers.json(404 if isinstance(error, _NoControl) else 400, _error(f"missing: {error}")), []
    except (ValueError, TypeError, OverflowError, LocalProtocolError) as error:
        return answers.json(400, _error(str(error))), []


class _NoControl(LookupError):
    """There is no such control."""


def _error(text: str) -> bytes:
    return codec.encode({"error": text.encode("utf-8", "replace").decode()})


def _given(query: str, body: bytes) -> dict[str, Any]:
    given = codec.decode(body) if body else {name: values[0] for name, values in parse_qs(query).items()}
    if not isinstance(given, dict):
        raise TypeError("give a JSON object")
    codec.encode(given)  # what could not be sent again raises here
    return given


def _command(
    telegram: SimulatedTelegram, http_method: str, name: str, given: dict[str, Any], now: float
) -> tuple[Any, list[SimEffect]]:
    bot = int(given.pop("bot"))
    if http_method == "GET" and name == "calls":
        return [asdict(call) for call in telegram.calls(bot)], []
    if http_method == "GET" and name == "state":
        return {"pending": telegram.pending(bot), "webhook": telegram.webhook_info(bot)}, []
    if http_method != "POST":
        raise _NoControl(f"{http_method} {name}")
    if name in ("message", "button"):
        user = int(given.get("user", 1))
        chat = int(given["chat"]) if "chat" in given else None
        if name == "message":
            payload = telegram.user_message(bot, str(given.get("text", "")), now, user=user, chat=chat)
        else:
            payload = telegram.button_press(bot, str(given.get("data", "")), now, user=user, chat=chat)
        return _made(telegram.inject(bot, "message" if name == "message" else "callback_query", payload, now))
    if name == "update":
        return _made(telegram.inject(bot, str(given["kind"]), given["payload"], now))
    if name == "raw":
        return _made(telegram.inject_raw(bot, str(given["text"]), now))
    if name == "fault":
        telegram.set_fault(bot, _fault(given))
        return {}, []
    if name == "drop":
        telegram.drop(bot, int(given["update_id"]))
        return {}, []
    if name == "ids":
        telegram.restart_ids(bot, int(given["first"]))
        return {}, []
    if name == "idle":
        return {}, telegram.close_idle(bot, now)
    if name == "restart":
        return {}, telegram.restart(bot, now)
    if name == "revoke":
        return {}, telegram.revoke(bot, now)
    raise _NoControl(name)


def _fault(given: dict[str, Any]) -> Fault:
    unknown = given.keys() - {field.name for field in fields(Fault)}
    if unknown:
        raise ValueError(f"a fault has no {', '.join(sorted(unknown))}")
    kind = given.pop("kind")
    try:
        return Fault(kind, **given)
    except (ValueError, TypeError) as error:
        raise ValueError(error.args[0]) from None  # the validators of attrs add what is not for people


def _made(made: tuple[int | None, list[SimEffect]]) -> tuple[Any, list[SimEffect]]:
    return {"update_id": made[0]}, made[1]
