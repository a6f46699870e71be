"""The addresses under ASGI."""

from __future__ import annotations

from django.urls import path

from hookline_io.hosts.django import async_webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, handler

telegram = async_webhook_callback(handler, TOKEN, OPTIONS, **SETTINGS)
urlpatterns = [path("telegram", telegram)]
