"""Cloudflare's Python Workers: a function for `fetch`, in both styles.

    hook = webhook_callback(handler, lambda env: env.BOT_TOKEN, lambda env: WebhookOptions(secret_token=env.SECRET))

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            return await hook(request, self.env)

    async def on_fetch(request, env):
        return await hook(request, env)

Nothing lives there from one request to the next: a Worker may not use in one request what another has opened, and all
ends with the response. So a call that travels in the response is held until the handler ends, a handler whose time is
up is cancelled, and joins and lanes reach no further than one request. There are no threads: files are given as bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import workers
from attrs import evolve

from hookline.http import Request, Response, body_bytes, lower_names
from hookline.options import ApiOptions, WebhookOptions
from hookline_io.asyncio import Exchange, Handler

Env: TypeAlias = Any
"""The Worker's bindings: secrets and variables, by their names."""

FRAMING = ("host", "content-length")
"""Headers that `fetch` sets itself."""


def webhook_callback(
    handler: Handler,
    token: str | Callable[[Env], str],
    options: WebhookOptions | Callable[[Env], WebhookOptions] | None = None,
    *,
    api: ApiOptions | None = None,
    **settings: Any,
) -> Callable[[Any, Env], Awaitable[Any]]:
    """What answers a Worker's request, of either class, by a `workers.Response`.

    token, options: or functions of the Worker's bindings, where its secrets are. settings: those of `Exchange`.
    Errors: OptionError for on_timeout="return", which would let a handler run on after the response.
    """
    api = api or ApiOptions()
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(api.root))

    async def fetch(request: Request) -> Response:
        headers = [[name, value] for name, value in request.headers if name not in FRAMING]
        response = await workers.fetch(
            origin + request.target, method=request.method, headers=headers, body=body_bytes(request.body)
        )
        return Response(response.status, lower_names(response.headers.items()), (await response.bytes(),))

    async def answer(given: Any, env: Env) -> Any:
        chosen = options(env) if callable(options) else options or WebhookOptions()
        chosen = evolve(evolve(chosen, freezes=True), on_timeout="cancel")
        asked = given if isinstance(given, workers.Request) else workers.Request(given)
        request = Request(str(asked.method.value), urlsplit(asked.url).path, lower_names(asked.headers.items()))
        made = Exchange(handler, token(env) if callable(token) else token, chosen, api=api, fetch=fetch, **settings)
        async with made as exchange:
            if exchange.screen(request) is None:
                request = evolve(request, body=(await asked.bytes(),))
            response = await exchange(request)
        return workers.Response(body_bytes(response.body), response.status, headers=[*response.headers])

    return answer
