"""The project under ASGI as Django makes it: without a lifespan."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.hosts.apps.django_project.settings"
os.environ["DJANGO_ROOT_URLCONF"] = "tests.hosts.apps.django_project.urls_async"
app = get_asgi_application()
