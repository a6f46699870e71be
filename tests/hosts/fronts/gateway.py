"""The HTTP server that stands before a serverless platform's runtime in the tests, as the platform's own does."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hookline.http import Request, Response, body_bytes, lower_names


def serve(port: int, answer: Callable[[Request], Response]) -> None:
    """Answer requests on a port of loopback, each in a thread, until the process ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            response = answer(Request(self.command, self.path, lower_names(self.headers.items()), (body,)))
            body = body_bytes(response.body)
            self.send_response(response.status)
            for name, value in response.headers:
                if name.lower() != "content-length":  # which is the gateway's own
                    self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
