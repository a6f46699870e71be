"""Pyramid, with the check of CSRF tokens switched on."""

from __future__ import annotations

from pyramid.config import Configurator

from hookline_io.hosts.pyramid import webhook_callback
from tests.hosts.bot import OPTIONS, SETTINGS, TOKEN, blocking_handler

with Configurator() as config:
    config.set_default_csrf_options(require_csrf=True)
    config.add_route("telegram", "/telegram")
    view = webhook_callback(blocking_handler, TOKEN, OPTIONS, **SETTINGS)
    config.add_view(view, route_name="telegram", require_csrf=False)
    app = config.make_wsgi_app()
