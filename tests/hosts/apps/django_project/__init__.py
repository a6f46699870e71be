"""A Django project as `django-admin startproject` makes it, without a database: one view for WSGI, one for ASGI."""
