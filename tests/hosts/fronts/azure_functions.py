"""Azure Functions on loopback: `python -m tests.hosts.fronts.azure_functions FILE PORT`.

Azure's own worker library, without its gRPC, and a host before it that knows routes (with an empty routePrefix).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import azure_functions_runtime as worker

from hookline.http import Request, Response, body_bytes
from tests.hosts.fronts.gateway import serve


class Message:
    """Stands for any message of the protocol between host and worker: what it is made with, and nothing else."""

    Success, Failure = "success", "failure"
    out, inout, undefined = 1, 2, 3

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)
        self.exception = fields.get("exception")

    def WhichOneof(self, _: str) -> str:  # noqa: N802 - protobuf's name
        """The name of the one field that it has."""
        [name] = self.__dict__.keys() - {"exception", "name"}
        return name


class Protocol:
    """Stands for the module of the protocol's messages."""

    def __getattr__(self, name: str) -> type[Message]:
        return Message


def ask(**kinds: Any) -> SimpleNamespace:
    """A request of the host's."""
    return SimpleNamespace(request=SimpleNamespace(**kinds), properties={"host": "127.0.0.1", "protos": Protocol()})


class Host:
    """The functions host."""

    def __init__(self, file: Path) -> None:
        os.environ["PYTHON_SCRIPT_FILE_NAME"] = file.name
        sys.path.insert(0, str(file.parent))
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        begin = SimpleNamespace(capabilities={}, function_app_directory=str(file.parent))
        begun = self._run(worker.worker_init_request(ask(worker_init_request=begin)))
        if begun.result.status != Message.Success:
            raise SystemExit(begun.result.exception.stack_trace)
        worker.start_threadpool_executor()
        found = self._run(worker.functions_metadata_request(ask()))
        [self._function] = found.function_metadata_results
        self._run(worker.function_load_request(ask(function_load_request=self._function)))
        bindings = [json.loads(binding) for binding in self._function.raw_bindings]
        [self._trigger] = [binding for binding in bindings if binding["type"] == "httpTrigger"]

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def answer(self, request: Request) -> Response:
        """Answer a request."""
        path, _, query = request.target.partition("?")
        if self._trigger["route"] not in (path[1:], "/{*route}"):
            return Response(404, ())
        http = Message(
            method=request.method,
            url=f"https://bot.azurewebsites.net{request.target}",
            headers=dict(request.headers),
            body=Message(bytes=body_bytes(request.body)),
            params={},
            query=dict(parse_qsl(query)),
        )
        invocation = SimpleNamespace(
            invocation_id=f"invocation-{next(self._numbers)}",
            function_id=self._function.function_id,
            input_data=[Message(name=self._trigger["name"], data=Message(http=http))],
            trigger_metadata={},
            trace_context=SimpleNamespace(trace_parent="", trace_state="", attributes={}),
            retry_context=SimpleNamespace(retry_count=0, max_retry_count=0, exception=None),
        )
        ended = self._run(worker.invocation_request(ask(invocation_request=invocation)))
        if ended.result.status != Message.Success:
            logging.getLogger("host").error("%s", ended.result.exception.stack_trace)
            return Response(500, ())
        answer = ended.return_value.http
        return Response(int(answer.status_code), tuple(answer.headers.items()), (answer.body.bytes,))


if __name__ == "__main__":
    serve(int(sys.argv[2]), Host(Path(sys.argv[1])).answer)
