"""The project under WSGI."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.hosts.apps.django_project.settings"
os.environ["DJANGO_ROOT_URLCONF"] = "tests.hosts.apps.django_project.urls"
app = get_wsgi_application()
