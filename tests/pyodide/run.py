"""Runs the core's tests on CPython compiled to WebAssembly: `python tests/pyodide/run.py [arguments of pytest]`.

It shows that the core needs no thread, no socket and no event loop of its own, and it runs there on a newer Python than
the others of the test run. Pyodide comes from its npm package and the Python packages as wheels, both kept in
PYODIDE_CACHE (a temporary folder if it is not set); Node then only mounts folders. Without node and npm it says so and
does nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PYODIDE = "314.0.7"
PYTHON = "3.14"
PLATFORM = "pyemscripten_2026_0_wasm32"

# The base dependencies but anyio, which belongs to the drivers, and what the tests need.
REQUIREMENTS = ["attrs", "cattrs", "h11", "hypothesis", "pytest"]

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]


def install(cache: Path) -> tuple[Path, Path]:
    """Puts Pyodide and the wheels into `cache`; returns its folders of node modules and of Python packages."""
    node, site = cache / "node", cache / "site-packages"
    shutil.rmtree(site, ignore_errors=True)
    subprocess.run(["npm", "install", "--silent", "--prefix", str(node), f"pyodide@{PYODIDE}"], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    wasm = ["--platform", PLATFORM, "--python-version", PYTHON, "--only-binary=:all:"]
    places = ["--constraint", str(CHECKOUT / "constraints.txt"), "--target", str(site)]
    subprocess.run([*pip, *wasm, *places, *REQUIREMENTS], check=True)
    return node / "node_modules", site


def main(arguments: list[str]) -> int:
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        print(f"pyodide: skipped, since {' and '.join(missing)} cannot be found")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        cache = Path(os.environ.get("PYODIDE_CACHE", temporary))
        cache.mkdir(parents=True, exist_ok=True)
        modules, site = install(cache)
        folders = [str(modules), str(site), str(CHECKOUT)]
        command = ["node", str(HERE / "pytest.mjs"), *folders, *(arguments or ["tests/sansio"])]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
