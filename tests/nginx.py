"""nginx, run by hand in one process, with the configuration that docs/webhooks.md gives for it in front of a bot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.peers.processes import running
from tests.ports import free_port

PAGE: Final = Path(__file__).parents[1] / "docs" / "webhooks.md"

FRAME: Final = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {config}
}}
"""


@contextmanager
def nginx(inside: int, folder: Path) -> Iterator[int]:
    """Run it in front of a bot at a port of loopback; the port that it listens on, without TLS."""
    outside = free_port()
    (config,) = re.findall(r"^```nginx\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    config = config.replace("listen 443 ssl", f"listen 127.0.0.1:{outside}")
    config = re.sub(r"\n *ssl_.*", "", config).replace("127.0.0.1:8080", f"127.0.0.1:{inside}")
    (folder / "nginx.conf").write_text(FRAME.format(folder=folder, config=config))
    with running(["nginx", "-p", str(folder), "-c", "nginx.conf"], folder / "nginx.log") as process:
        process.until((folder / "pid").exists)  # it listens then
        yield outside
