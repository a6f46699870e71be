"""Serves a Python Worker: `python -m tests.hosts.fronts.cloudflare STYLE PORT`, which becomes Node.

STYLE: `class` or `function`. WORKERS_FOLDER names where `tests.pyodide.install` has installed what it needs, as tox.ini
says; cloudflare.mjs is what serves it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(style: str, port: str) -> None:
    """Become Node."""
    folder = Path(os.environ["WORKERS_FOLDER"])
    program = str(HERE / "cloudflare.mjs")
    places = [str(folder / "node_modules"), str(folder / "site-packages"), str(HERE.parents[2])]
    os.execvp("node", ["node", program, *places, port, style])


if __name__ == "__main__":
    main(*sys.argv[1:])
