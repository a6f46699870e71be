"""Vercel on loopback: `python -m tests.hosts.fronts.vercel FILE VARIABLE PORT`.

Vercel's own runtime, which is told how to serve the file, and the proxy before it.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hookline.http import Request, Response, body_bytes
from tests.hosts.fronts.gateway import serve
from tests.peers.processes import die_with_parent


def start(file: Path, variable: str) -> int:
    """Start the runtime; the port that it serves the file on."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        channel = str(Path(folder, "ipc.sock"))
        listening.bind(channel)
        listening.listen()
        settings = {
            "VERCEL_IPC_PATH": channel,
            "__VC_HANDLER_ENTRYPOINT": file.name,
            "__VC_HANDLER_ENTRYPOINT_ABS": str(file.resolve()),
            "__VC_HANDLER_MODULE_NAME": file.stem,
            "__VC_HANDLER_VARIABLE_NAME": variable,
        }
        command = [sys.executable, "-m", "vercel_runtime.vc_init"]
        subprocess.Popen(command, env=os.environ | settings, preexec_fn=die_with_parent)
        talk, _ = listening.accept()
    messages = messages_of(talk)
    port: int = next(messages)["payload"]["httpPort"]
    threading.Thread(target=show_logs, args=[messages], daemon=True).start()
    return port


def messages_of(talk: socket.socket) -> Iterator[dict[str, Any]]:
    """What the runtime tells; the first is that it serves."""
    data = b""
    while piece := talk.recv(65_536):
        *whole, data = (data + piece).split(b"\0")
        yield from map(json.loads, whole)


def show_logs(messages: Iterator[dict[str, Any]]) -> None:
    """Write what is logged for a request to the log of this process."""
    for message in messages:
        if message["type"] == "log":
            sys.stdout.write(b64decode(message["payload"]["message"]).decode() + "\n")
            sys.stdout.flush()


def forward(request: Request, port: int) -> Response:
    """Let the runtime answer a request."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request(request.method, request.target, body_bytes(request.body), dict(request.headers))
        response = connection.getresponse()
        hop = ("connection", "transfer-encoding")
        headers = tuple((name, value) for name, value in response.getheaders() if name.lower() not in hop)
        return Response(response.status, headers, (response.read(),))
    finally:
        connection.close()


if __name__ == "__main__":
    runtime = start(Path(sys.argv[1]), sys.argv[2])
    serve(int(sys.argv[3]), lambda request: forward(request, runtime))
