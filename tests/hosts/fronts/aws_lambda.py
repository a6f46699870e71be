"""AWS Lambda on loopback: `python -m tests.hosts.fronts.aws_lambda MODULE.FUNCTION PORT`.

AWS's own runtime, the Runtime API that it asks for events, and an HTTP API of API Gateway with the route $default
before it. As in Lambda, the process of the runtime is frozen from its answer to the next event.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from hookline.http import Request, Response, body_bytes
from tests.hosts.fronts.gateway import serve
from tests.peers.processes import die_with_parent

FUNCTION_TIMEOUT = 30.0
HERE = "abcdef.execute-api.eu-central-1.amazonaws.com"


class Environment:
    """An execution environment: one process, given one event at a time. frozen: it stands still between them."""

    def __init__(self, function: str, **variables: str) -> None:
        self.frozen = False
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._one_at_a_time = threading.Lock()
        self._freezing = threading.Lock()
        self._numbers = itertools.count(1)
        self.api = ThreadingHTTPServer(("127.0.0.1", 0), self._runtime_api())
        threading.Thread(target=self.api.serve_forever, daemon=True).start()
        settings = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.api.server_address[1]}",
            "AWS_LAMBDA_FUNCTION_NAME": "bot",
            "AWS_REGION": "eu-central-1",
            "LAMBDA_TASK_ROOT": ".",
            "_HANDLER": function,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", function],
            env=os.environ | settings | variables,
            preexec_fn=die_with_parent,
        )
        threading.Thread(target=self._watch, daemon=True).start()

    def invoke(self, event: Any) -> tuple[str, Any]:
        """Hand an event to the function: "response" and its result, "error" and what is said of it, or "exit"."""
        with self._one_at_a_time:
            with self._freezing:
                self._process.send_signal(signal.SIGCONT)
                self.frozen = False
                self._events.put((f"request-{next(self._numbers)}", event))
            return self._results.get()

    def end(self) -> None:
        """End the process as Lambda does, without a word."""
        self._process.kill()
        self._process.wait()
        self.api.shutdown()
        self.api.server_close()

    def _watch(self) -> None:
        self._results.put(("exit", self._process.wait()))

    def _freeze(self) -> None:
        with self._freezing:
            if self._events.empty():
                self.frozen = True
                self._process.send_signal(signal.SIGSTOP)

    def _runtime_api(self) -> type[BaseHTTPRequestHandler]:
        environment = self

        class RuntimeApi(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def do_GET(self) -> None:
                environment._freeze()
                number, event = environment._events.get()
                data = json.dumps(event).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")  # without which the runtime crashes
                self.send_header("Lambda-Runtime-Aws-Request-Id", number)
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + FUNCTION_TIMEOUT) * 1_000)))
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:1:function:bot")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()
                environment._results.put((self.path.rpartition("/")[2], json.loads(data)))

            def log_message(self, *args: object) -> None:
                pass

        return RuntimeApi


@contextmanager
def running(function: str, **variables: str) -> Iterator[Environment]:
    """An execution environment with these environment variables, ended at the end."""
    environment = Environment(function, **variables)
    try:
        yield environment
    finally:
        environment.end()


def http_api_event(request: Request) -> dict[str, Any]:
    """The event of a request, in the format 2.0, as an HTTP API with the route $default makes it."""
    path, _, query = request.target.partition("?")
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": dict(request.headers),
        "requestContext": {"domainName": HERE, "stage": "$default", "http": {"method": request.method, "path": path}},
        "body": b64encode(body_bytes(request.body)).decode(),
        "isBase64Encoded": True,
    }


def response_of(kind: str, result: dict[str, Any]) -> Response:
    """What an HTTP API answers for what a function has returned, or for its failure."""
    if kind != "response":
        return Response(500, (("content-type", "application/json"),), (b'{"message":"Internal Server Error"}',))
    body = result["body"].encode()
    return Response(
        result["statusCode"],
        tuple(result["headers"].items()),
        (b64decode(body) if result["isBase64Encoded"] else body,),
    )


if __name__ == "__main__":
    with running(sys.argv[1]) as lambda_:
        serve(int(sys.argv[2]), lambda request: response_of(*lambda_.invoke(http_api_event(request))))
