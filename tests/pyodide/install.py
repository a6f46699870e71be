"""Installs Pyodide and Python packages for it: `python -m tests.pyodide.install FOLDER PACKAGE...`.

Pyodide comes from its npm package, to FOLDER/node_modules, and the packages as wheels, to FOLDER/site-packages; Node
then only mounts folders. Without node and npm it says so and does nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PYODIDE = "314.0.7"
PYTHON = "3.14"
PLATFORM = "pyemscripten_2026_0_wasm32"

CHECKOUT = Path(__file__).parents[2]


def install(folder: Path, packages: Sequence[str]) -> bool:
    """Put Pyodide and the packages into a folder; False where that can't be done."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        print(f"pyodide: skipped, since {' and '.join(missing)} cannot be found")
        return False
    site = folder / "site-packages"
    shutil.rmtree(site, ignore_errors=True)
    subprocess.run(["npm", "install", "--silent", "--prefix", str(folder), f"pyodide@{PYODIDE}"], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    wasm = ["--platform", PLATFORM, "--python-version", PYTHON, "--only-binary=:all:"]
    places = ["--constraint", str(CHECKOUT / "constraints.txt"), "--target", str(site)]
    subprocess.run([*pip, *wasm, *places, *packages], check=True)
    return True


if __name__ == "__main__":
    install(Path(sys.argv[1]), sys.argv[2:])
