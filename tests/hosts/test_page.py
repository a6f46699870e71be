"""What docs/hosts.md shows is true: each Python block is a module that can be loaded, its table is of these hosts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hosts.table import PAGE, written
from tests.peers.processes import TOKEN

BOT, *EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
NOT_HERE = ("workers",)
"""What only a platform has."""


def title(block: str) -> str:
    """The adapter that a block is about."""
    found = re.search(r"hookline_io\.hosts\.(\w+)", block)
    assert found is not None
    return found[1]


def run(block: str, tmp_path: Path, then: str = "") -> subprocess.CompletedProcess[str]:
    """Load a block as the module `example`, beside the page's bot, and run what is to be done then."""
    (tmp_path / "bot.py").write_text(BOT, encoding="utf-8")
    (tmp_path / "urls.py").write_text(
        next(one for one in EXAMPLES if "async_webhook_callback" in one), encoding="utf-8"
    )
    (tmp_path / "example.py").write_text(block, encoding="utf-8")
    places = [str(tmp_path), str(Path(__file__).parents[2])]
    environment = os.environ | {
        "BOT_TOKEN": TOKEN,
        "PYTHONPATH": os.pathsep.join(places),
        "DJANGO_SETTINGS_MODULE": "tests.hosts.apps.django_project.settings",
        "DJANGO_ROOT_URLCONF": "urls",
    }
    return subprocess.run(
        [sys.executable, "-c", f"import example\n{then}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("block", EXAMPLES, ids=title)
def test_an_example_is_a_module_that_can_be_loaded(block: str, tmp_path: Path) -> None:
    needed = re.findall(r"^(?:from|import) (\w+)", block, re.MULTILINE)
    if any(name in NOT_HERE for name in needed):
        pytest.skip("it is loaded where its platform is")
    loaded = run(block, tmp_path)
    missing = re.search(r"ModuleNotFoundError: No module named '(\w+)'", loaded.stderr)
    if missing is not None and missing[1] in needed:
        pytest.skip(f"{missing[1]} is not installed; `tox -e hosts` installs it")
    assert loaded.returncode == 0, loaded.stderr


def test_the_filter_keeps_stack_traces_of_slow_handlers_out_of_the_log(tmp_path: Path) -> None:
    """Those alone; what raises them is the page's application, under uvicorn in other tests."""
    (block,) = [block for block in EXAMPLES if "addFilter" in block]
    then = """
import logging

logging.basicConfig()
for error in (example.WebhookTimeout(1, 10.0), ValueError("another")):
    logging.getLogger("uvicorn.error").error("failed", exc_info=error)
logging.getLogger("uvicorn.error").error("no exception")
"""
    said = run(block, tmp_path, then)
    assert said.returncode == 0, said.stderr
    assert said.stderr.splitlines() == [
        "ERROR:uvicorn.error:failed",
        "ValueError: another",
        "ERROR:uvicorn.error:no exception",
    ]


def test_the_table_of_the_page_is_current() -> None:
    """Else: python -m tests.hosts.table."""
    assert PAGE.read_text("utf-8") == written()
