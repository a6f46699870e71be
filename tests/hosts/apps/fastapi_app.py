"""FastAPI, with a lifespan and a handler of errors of the program's own."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse

from hookline import WebhookTimeout
from hookline_io.hosts.starlette import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, handler

log = logging.getLogger("program")
hook = webhook_callback(handler, TOKEN, OPTIONS, **SETTINGS)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """What the program opens is there as long as a handler runs."""
    async with hook.lifespan(app):
        yield
    log.warning("closed")


app = FastAPI(lifespan=lifespan)
app.add_route("/telegram", hook.handle, methods=["POST"])

router = APIRouter()
router.post("/telegram")(hook.handle)
app.include_router(router, prefix="/routed")


@app.exception_handler(WebhookTimeout)
async def slow(request: Request, error: WebhookTimeout) -> JSONResponse:
    """Note that a handler is slow."""
    log.error("%s", error)
    return JSONResponse({"slow": error.update_id}, 500)
