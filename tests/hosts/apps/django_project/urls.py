"""The addresses under WSGI."""

from __future__ import annotations

from django.urls import path

from hookline_io.hosts.django import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, blocking_handler

urlpatterns = [path("telegram", webhook_callback(blocking_handler, TOKEN, OPTIONS, **SETTINGS))]
