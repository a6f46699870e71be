"""Installs grammY and its runner, for tests/peers and the benchmarks: `python .ci/install_grammy.py FOLDER`.

Without npm it says so and does nothing; the tests of grammY are then skipped.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

PACKAGES = ("grammy@1.46.0", "@grammyjs/runner@2.0.3")


def main(folder: str) -> int:
    if shutil.which("npm") is None:
        print("grammY is not installed, since npm cannot be found")
        return 0
    command = ["npm", "install", "--silent", "--prefix", folder, *PACKAGES]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
