"""Runs the core's tests on CPython compiled to WebAssembly: `python -m tests.pyodide.run [arguments of pytest]`.

It shows that the core needs no thread, no socket and no event loop of its own, and it runs there on a newer Python than
the others of the test run. What it needs is installed into PYODIDE_CACHE (a temporary folder if it is not set). Without
node and npm it says so and does nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.pyodide.install import CHECKOUT, install

# The base dependencies but anyio, which belongs to the drivers, and what the tests need.
REQUIREMENTS = ["attrs", "cattrs", "h11", "hypothesis", "pytest"]

HERE = Path(__file__).parent


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as temporary:
        cache = Path(os.environ.get("PYODIDE_CACHE", temporary))
        cache.mkdir(parents=True, exist_ok=True)
        if not install(cache, REQUIREMENTS):
            return 0
        folders = [str(cache / "node_modules"), str(cache / "site-packages"), str(CHECKOUT)]
        command = ["node", str(HERE / "pytest.mjs"), *folders, *(arguments or ["tests/sansio"])]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
