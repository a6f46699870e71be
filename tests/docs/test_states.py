"""The pictures of the machines are those of the code: the tables' edges, and what the parts of `Bot` want."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hookline import bot, calls, http1, lanes, polling, pool, registration, server, webhook
from hookline.states import tables

pytest.importorskip("sphinx")

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

from state_diagrams import dot, rows  # type: ignore[import-not-found]  # noqa: E402

MACHINES = {
    "Polling": [polling],
    "Webhook": [webhook],
    "Registration": [registration],
    "Lanes": [lanes],
    "Calls": [calls],
    "Pool": [pool, http1],
    "Server": [server, http1],
}
"""Each with the modules that make its effects."""
FROM_ANY_PART = {"Report", "Log", "Ended"}
INBOX = {"Open", "Store", "Mark", "Release"}
"""What goes to the driver's store, beside the picture."""
ANSWERS = {"Answered", "Arrived", "Asked"}
"""What Bot hears of Pool and Server, and tells the others as facts."""


@pytest.mark.parametrize("name", tables())
def test_a_diagram_has_the_edges_of_its_table(name: str) -> None:
    table = tables()[name]
    drawn = re.findall(r'"(\w+)" -> "(\w+)";', dot(table))
    assert drawn == list(table.declared())


@pytest.mark.parametrize("name", tables())
def test_every_state_is_explained_and_has_its_followers_beside_it(name: str) -> None:
    table = tables()[name]
    listed = [(state, after) for state, _, followers in rows(table) for after in followers]
    assert listed == list(table.declared())
    for state, meaning, _ in rows(table):
        assert re.fullmatch(r"\w.*\.", meaning), state


def test_the_page_shows_every_table() -> None:
    page = (DOCS / "states.md").read_text("utf-8")
    assert set(re.findall(r"\{state-diagram\} (\w+)", page)) == set(tables())


def arrows() -> list[tuple[str, str, list[str], list[str]]]:
    """Those of the picture of Bot's parts: from, to, what is wanted, and what answers it."""
    found = []
    text = (DOCS / "parts.dot").read_text("utf-8")
    for one, other, back, label in re.findall(r'(\w+) -> (\w+) \[(dir=back, )?label="(.*?)"\]', text):
        wanted, _, answers = label.replace(r"\n", "").strip(" )").partition("(")
        ends = (other, one) if back else (one, other)
        found.append((*ends, re.findall(r"\w+", wanted), re.findall(r"\w+", answers)))
    return found


def effects_of(modules: list[ModuleType]) -> set[str]:
    """The names of the effects that modules make."""
    trees = [ast.parse(Path(str(module.__file__)).read_text("utf-8")) for module in modules]
    made = [node.func for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {node.id for node in made if isinstance(node, ast.Name)} & effect_names()


def effect_names() -> set[str]:
    """Every effect of the driver's and between the parts."""
    driver = set(re.findall(r"\w+", str(bot.DriverEffect)))
    return driver | {kind.__name__ for kind in bot.BETWEEN_PARTS}


@pytest.mark.parametrize("machine", MACHINES)
def test_the_picture_of_the_parts_has_all_that_a_machine_wants(machine: str) -> None:
    wanted = {name for source, _, names, _ in arrows() if source == machine for name in names if name[0].isupper()}
    wanted |= {name for _, target, _, answers in arrows() if target == machine for name in answers if name[0].isupper()}
    assert wanted == effects_of(MACHINES[machine]) - FROM_ANY_PART - INBOX - ANSWERS


def test_the_picture_of_the_parts_has_methods_for_what_is_no_effect() -> None:
    """What is told is a method of whom it is told."""
    classes = {name: getattr(modules[0], name) for name, modules in MACHINES.items()}
    for source, target, wanted, answers in arrows():
        for told, names in ((target, wanted), (source, answers)):
            for name in names:
                assert told not in classes or name[0].isupper() or hasattr(classes[told], name), (told, name)


def test_the_parts_of_the_picture_are_those_of_bot() -> None:
    """And all that passes between them, or to the driver, is in the picture or named as left out."""
    page = (DOCS / "states.md").read_text("utf-8")
    shown = {name for _, _, wanted, answers in arrows() for name in (*wanted, *answers)}
    left_out = FROM_ANY_PART | INBOX | {"Receive", "Transmit", "Recall"}
    assert effect_names() - shown - ANSWERS == left_out
    assert all(f"`{name}`" in page for name in left_out)
