"""The project under ASGI, with the webhook's lifespan."""

from __future__ import annotations

from hookline_io.hosts.django import with_lifespan
from tests.hosts.apps.django_project.bare_asgi import app as bare
from tests.hosts.apps.django_project.urls_async import telegram  # when Django is set up

app = with_lifespan(bare, telegram.webhook)
