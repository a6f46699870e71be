"""What a webhook lets in: requests that Telegram may have sent, and the update that each carries.

Everything else is rejected, and nothing of it reaches a handler.
"""

from __future__ import annotations

from typing import Final

from hookline import codec
from hookline.effects import Report, Verdict
from hookline.http import Headers, Request, Response, body_bytes
from hookline.options import WebhookOptions
from hookline.updates import Lane, Update, read_update

NO_BODY: Final[Headers] = (("content-length", "0"),)

_REJECTIONS: Final = {
    400: "its length is no number",
    401: "its secret token is wrong, or missing",
    404: "its path is not the webhook's",
    405: "it is no POST",
    413: "its body is too large",
    415: "it is not of the type application/json",
}


def rejected(response: Response) -> Report:
    """What is said of a request that gets such a rejection from `screen`; nothing of the request, which may be long."""
    text = f"a request was answered {response.status}: {_REJECTIONS[response.status]}"
    return Report(Verdict.REQUEST_REJECTED, text)


def unavailable(retry_after: int) -> Response:
    """503: Telegram is to send the update again, after so many whole seconds."""
    return Response(503, (("retry-after", str(retry_after)), *NO_BODY))


class Gate:
    """Screens requests and reads their updates. Nothing that a client sends raises."""

    def __init__(self, options: WebhookOptions, decode: codec.Decode, lane: Lane | None) -> None:
        self._options = options
        self._decode = decode
        self._lane = lane
        self._secret = None if options.secret_token is None else options.secret_token.encode()
        from hmac import compare_digest  # all of hashlib comes with it, which a poller does without

        self._same = compare_digest

    def screen(self, request: Request) -> Response | None:
        """The rejection that a request's head alone earns, or None. Its body need not have been read."""
        if request.target.partition("?")[0] != self._options.path:
            return Response(404, NO_BODY)
        if request.method != "POST":
            return Response(405, (("allow", "POST"), *NO_BODY))
        secrets: list[str] = []
        types: list[str] = []
        lengths: list[str] = []
        for name, value in request.headers:
            if name == "content-length":
                lengths.append(value)
            elif name == "content-type":
                types.append(value)
            elif name == "x-telegram-bot-api-secret-token":
                secrets.append(value)
        if self._secret is not None:
            given = secrets[0].encode("utf-8", "surrogatepass") if len(secrets) == 1 else b""
            if not self._same(given, self._secret):
                return Response(401, NO_BODY)
        if len(types) != 1 or types[0].partition(";")[0].strip().lower() != "application/json":
            return Response(415, NO_BODY)
        for length in lengths:
            if not (length.isascii() and length.isdigit()):
                return Response(400, NO_BODY)
            if len(length) > 18 or int(length) > self._options.max_body:
                return Response(413, NO_BODY)
        return None

    def read(self, message: Request, *, screened: bool) -> tuple[list[Report], Update | Response]:
        """The update in a whole request, or the rejection that it earns; and what is to be reported.

        screened: `screen` has let its head in already.
        """
        rejection = None if screened else self.screen(message)
        if rejection is not None:
            return [rejected(rejection)], rejection
        body = body_bytes(message.body)
        if len(body) > self._options.max_body:
            rejection = Response(413, NO_BODY)
            return [rejected(rejection)], rejection
        try:
            raw = self._decode(body)
        except ValueError as error:
            text = f"a request was answered 400: its body is no JSON: {error}"
            return [Report(Verdict.REQUEST_REJECTED, text)], Response(400, NO_BODY)
        try:
            update = read_update(raw, self._lane)
            if isinstance(update, Update):
                hash(update.lane)
        except Exception as error:  # the program's own lane function: anything may come out of it
            update = read_update(raw)
            assert isinstance(update, Update)  # of anything else, no lane is asked for
            text = f"lane= raised {type(error).__name__}: {error}; the update keeps its default lane"
            return [Report(Verdict.POLICY_FAILED, text, update.update_id)], update
        if isinstance(update, Update):
            return [], update
        text = f"a request was answered 400: its body is no update: {update}"
        return [Report(Verdict.NOT_AN_UPDATE, text, raw=raw)], Response(400, NO_BODY)
