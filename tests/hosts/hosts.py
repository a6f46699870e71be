"""Every host that an adapter is tested in: the program that serves it, and what it can and cannot do."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import frozen


@frozen
class Host:
    """A host.

    name: for people. adapter: the module of `hookline_io.hosts`. app: the module of `tests.hosts.apps`. command: what
    serves an app on a port, after the interpreter. needs: the packages without which it cannot run.
    late: what it answers where WebhookTimeout is raised. other_method: what it answers what is no POST.
    shows: whether an error of its application is in its log. told_of_clients: whether it hears that a client has gone.
    cancels: whether a handler can be cancelled there, which a thread can't. closes: whether its server closes the
    connection, with no answer, where its application fails. nginx: whether nginx is in front of it.
    freezes: whether its platform freezes or ends the process once it has answered, so that "return" is refused.
    at_once: whether one process is given several requests at once; elsewhere there are no joins and no lanes.
    remembers: whether anything lives there from one request to the next. reads_files: whether a file is read there in a
    thread. folder: the environment variable that names where what it needs is installed.
    """

    name: str
    adapter: str
    app: str
    command: Callable[[str, int], list[str]]
    needs: tuple[str, ...]
    late: int = 500
    other_method: int = 405
    shows: bool = True
    told_of_clients: bool = True
    cancels: bool = True
    closes: bool = False
    nginx: bool = False
    freezes: bool = False
    at_once: bool = True
    remembers: bool = True
    reads_files: bool = True
    folder: str = ""

    @property
    def missing(self) -> str | None:
        """What it needs and does not find here."""
        missing = [package for package in self.needs if find_spec(package) is None]
        if self.folder and not Path(os.environ.get(self.folder, ""), "node_modules").is_dir():
            missing.append("Node with what the host needs")
        if missing:
            return f"{', '.join(missing)} cannot be found; `tox -e hosts` installs it"
        return "nginx cannot be found" if self.nginx and shutil.which("nginx") is None else None


def uvicorn(app: str, port: int) -> list[str]:
    """An asyncio server of ASGI."""
    return ["-m", "uvicorn", f"tests.hosts.apps.{app}:app", "--port", str(port)]


def hypercorn_trio(app: str, port: int) -> list[str]:
    """The trio server of ASGI."""
    where = f"127.0.0.1:{port}"
    return ["-m", "hypercorn", "--worker-class", "trio", "--bind", where, f"tests.hosts.apps.{app}:app"]


def granian(app: str, port: int) -> list[str]:
    """A server of ASGI whose protocols are not written in Python."""
    return ["-m", "granian", "--interface", "asgi", "--port", str(port), f"tests.hosts.apps.{app}:app"]


def gunicorn(app: str, port: int) -> list[str]:
    """A server of WSGI, with threads."""
    where = f"127.0.0.1:{port}"
    return ["-m", "gunicorn", "--threads", "16", "--keep-alive", "75", "--bind", where, f"tests.hosts.apps.{app}:app"]


def prefork(app: str, port: int) -> list[str]:
    """A server of WSGI whose workers are forked when the app is loaded, and serve one request at a time each."""
    return [
        "-m",
        "gunicorn",
        "--preload",
        "--workers",
        "2",
        "--bind",
        f"127.0.0.1:{port}",
        f"tests.hosts.apps.{app}:app",
    ]


def program(app: str, port: int) -> list[str]:
    """An app that is a program and its own server."""
    return ["-m", f"tests.hosts.apps.{app}", str(port)]


def aws_lambda(app: str, port: int) -> list[str]:
    """AWS's runtime, and what is before it."""
    return ["-m", "tests.hosts.fronts.aws_lambda", f"tests.hosts.apps.{app}.lambda_handler", str(port)]


def azure(app: str, port: int) -> list[str]:
    """Azure's worker, and what is before it."""
    return ["-m", "tests.hosts.fronts.azure_functions", f"tests/hosts/apps/{app}.py", str(port)]


def google(app: str, port: int) -> list[str]:
    """Google's framework, which is a server."""
    where = ["--host", "127.0.0.1", "--port", str(port)]
    return ["-m", "functions_framework", "--source", f"tests/hosts/apps/{app}.py", "--target", "hook", *where]


def vercel(app: str, port: int) -> list[str]:
    """Vercel's runtime, and what is before it."""
    variable = "app" if "async" in app else "handler"
    return ["-m", "tests.hosts.fronts.vercel", f"tests/hosts/apps/{app}.py", variable, str(port)]


def worker(style: str, port: int) -> list[str]:
    """Pyodide under Node, as a Worker."""
    return ["-m", "tests.hosts.fronts.cloudflare", style, str(port)]


LOOP: Final[dict[str, Any]] = {"told_of_clients": False}
"""A synchronous host with an asynchronous handler."""
THREADS: Final[dict[str, Any]] = LOOP | {"cancels": False}
"""A synchronous host with a handler that is a plain function."""

FROZEN: Final[dict[str, Any]] = {"freezes": True, "told_of_clients": False}
"""A platform that freezes or ends the process once it has answered."""
LAMBDA: Final[dict[str, Any]] = FROZEN | {"at_once": False}
RUNTIME: Final = ("awslambdaric",)
AZURE: Final = ("azure_functions_runtime",)
GOOGLE: Final = ("functions_framework",)
VERCEL: Final = ("vercel_runtime",)
WORKER: Final[dict[str, Any]] = FROZEN | {
    "at_once": False,
    "remembers": False,
    "reads_files": False,
    "folder": "WORKERS_FOLDER",
}
TIMEOUT_IS_504: Final[dict[str, Any]] = {} if sys.version_info < (3, 11) else {"late": 504, "shows": False}
"""aiohttp answers a TimeoutError of asyncio's, which since Python 3.11 is the builtin, 504, and logs no traceback."""

HOSTS: Final = (
    Host("ASGI, uvicorn", "asgi", "asgi_app", uvicorn, ("uvicorn",)),
    Host("ASGI, granian", "asgi", "asgi_app", granian, ("granian",)),
    Host("ASGI, hypercorn on trio", "asgi", "asgi_app", hypercorn_trio, ("hypercorn", "trio")),
    Host("ASGI, uvicorn behind nginx", "asgi", "asgi_app", uvicorn, ("uvicorn",), nginx=True),
    Host("Django, uvicorn", "django", "django_project.asgi", uvicorn, ("django", "uvicorn")),
    Host("Starlette, uvicorn", "starlette", "starlette_app", uvicorn, ("starlette", "uvicorn")),
    Host("FastAPI, uvicorn", "starlette", "fastapi_app", uvicorn, ("fastapi", "uvicorn")),
    Host("Litestar, uvicorn", "litestar", "litestar_app", uvicorn, ("litestar", "uvicorn")),
    Host("Quart, uvicorn", "quart", "quart_app", uvicorn, ("quart", "uvicorn")),
    Host("BlackSheep, uvicorn", "blacksheep", "blacksheep_app", uvicorn, ("blacksheep", "uvicorn"), other_method=404),
    Host("Falcon, uvicorn", "falcon_asgi", "falcon_asgi_app", uvicorn, ("falcon", "uvicorn"), told_of_clients=False),
    Host("aiohttp", "aiohttp", "aiohttp_app", program, ("aiohttp",), **TIMEOUT_IS_504),
    Host("Tornado", "tornado", "tornado_app", program, ("tornado",)),
    Host("Sanic", "sanic", "sanic_app", program, ("sanic",)),
    Host("WSGI, gunicorn", "wsgi", "wsgi_app", gunicorn, ("gunicorn",), **THREADS, closes=True),
    Host("WSGI, gunicorn, async handler", "wsgi", "wsgi_async_app", gunicorn, ("gunicorn",), **LOOP, closes=True),
    Host("Flask, gunicorn", "flask", "flask_app", gunicorn, ("flask", "gunicorn"), **THREADS),
    Host("Django, gunicorn", "django", "django_project.wsgi", gunicorn, ("django", "gunicorn"), **THREADS),
    Host("Bottle, gunicorn", "bottle", "bottle_app", gunicorn, ("bottle", "gunicorn"), **THREADS),
    Host("Pyramid, gunicorn", "pyramid", "pyramid_app", gunicorn, ("pyramid", "gunicorn"), **THREADS, closes=True),
    Host("Falcon, gunicorn", "falcon", "falcon_app", gunicorn, ("falcon", "gunicorn"), **THREADS),
    Host("http.server", "http_server", "http_server_app", program, (), **THREADS),
    Host("AWS Lambda", "aws_lambda", "aws_lambda_app", aws_lambda, RUNTIME, **LAMBDA | THREADS),
    Host("AWS Lambda, async handler", "aws_lambda", "aws_lambda_async_app", aws_lambda, RUNTIME, **LAMBDA),
    Host("Azure Functions", "azure_functions", "azure_app", azure, AZURE, **FROZEN | THREADS),
    Host("Azure Functions, async handler", "azure_functions", "azure_async_app", azure, AZURE, **FROZEN),
    Host("Azure Functions, ASGI", "asgi", "azure_asgi_app", azure, AZURE, **FROZEN),
    Host("Google Cloud Functions", "google_functions", "google_app", google, GOOGLE, **FROZEN | THREADS),
    Host("Google Cloud Functions, async handler", "google_functions", "google_async_app", google, GOOGLE, **FROZEN),
    Host("Vercel", "vercel", "vercel_app", vercel, VERCEL, **FROZEN | THREADS),
    Host("Vercel, async handler", "vercel", "vercel_async_app", vercel, VERCEL, **FROZEN),
    Host("Cloudflare Workers, a class", "cloudflare", "class", worker, (), **WORKER),
    Host("Cloudflare Workers, on_fetch", "cloudflare", "function", worker, (), **WORKER),
)


def each(*, remembering: bool = False, **options: object) -> pytest.MarkDecorator:
    """Run the test in each host that takes these options of the webhook; those that cannot run here say why.

    remembering: only in those where something lives from one request to the next.
    """
    goes_on = options.get("on_timeout") == "return" or options.get("confirm") == "stored"
    hosts = [host for host in HOSTS if not (host.freezes and goes_on)]
    hosts = [host for host in hosts if host.remembers or not remembering]
    return pytest.mark.parametrize("served", [_param(host, (host, options)) for host in hosts], indirect=True)


def each_host(*names: str) -> pytest.MarkDecorator:
    """Run the test with each host that ends as a whole, or with these; the test serves it itself."""
    hosts = [host for host in HOSTS if not host.freezes and (not names or host.name in names)]
    return pytest.mark.parametrize("host", [_param(host, host) for host in hosts])


def skip_if_missing(host: Host) -> pytest.MarkDecorator:
    """Skip the test, which is of this host alone, if it cannot run here."""
    return pytest.mark.skipif(host.missing is not None, reason=host.missing or "")


def _param(host: Host, value: object) -> Any:
    group = pytest.mark.xdist_group(host.name)  # those of one host share its process
    return pytest.param(value, id=host.name, marks=[group, skip_if_missing(host)])
