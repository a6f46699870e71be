"""Draws a machine's states from the table that it runs by: the directive `state-diagram`, with the table's name.

No edge is drawn by hand. What each state means is its class's docstring, or its value where it is a member of an enum.
"""

from __future__ import annotations

import inspect
import re
from enum import Enum
from typing import Any

from attrs import fields_dict, has
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.ext.graphviz import graphviz
from sphinx.util.docutils import SphinxDirective

from hookline.states import Kind, StateTable, tables

GREY = "#57606a"  # made lighter on a dark page, by site.css
STYLE = f"""
  bgcolor="transparent"; rankdir=LR; nodesep=0.35; ranksep=0.55;
  node [shape=box, style=rounded, color="{GREY}", fontcolor="{GREY}", fontname="sans-serif", fontsize=13, height=0.4];
  edge [color="{GREY}", arrowsize=0.7];"""


def dot(table: StateTable) -> str:
    """A table's states and edges, for Graphviz. The first state is bold; one that is left for itself has a loop."""
    first = next(iter(table.declared()))[0]
    edges = "".join(f'\n  "{source}" -> "{target}";' for source, target in table.declared())
    return f'digraph "{table.name}" {{{STYLE}\n  "{first}" [style="rounded,bold"];{edges}\n}}\n'


def meaning(kind: Kind) -> str:
    """What a state means, and what each of the values is that it owns."""
    if isinstance(kind, Enum):
        text = f"{kind.value[0].upper()}{kind.value[1:]}."
    else:
        text = " ".join((inspect.getdoc(kind) or "").split())
        for name in fields_dict(kind) if has(kind) else ():
            text = re.sub(rf"(?<=\. ){name}: ", f"`{name}`: ", text)
    return text


def rows(table: StateTable) -> list[tuple[str, str, list[str]]]:
    """Each state's name, what it means, and what may follow it."""
    after: dict[str, list[str]] = {}
    for source, target in table.declared():
        after.setdefault(source, []).append(target)
    names = [kind.name.lower() if isinstance(kind, Enum) else kind.__name__ for kind in table.edges]
    return [(name, meaning(kind), after.get(name, [])) for name, kind in zip(names, table.edges, strict=True)]


class StateDiagram(SphinxDirective):
    """The directive."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The picture, and the same as a table with the meanings."""
        table = tables()[self.arguments[0]]
        picture = graphviz()
        picture["code"] = dot(table)
        picture["options"] = {"docname": self.env.docname}
        picture["alt"] = f"The states of {table.name}, as in the table below"
        return [picture, self._as_table(table)]

    def _as_table(self, table: StateTable) -> nodes.table:
        group = nodes.tgroup(cols=3)
        group += [nodes.colspec(colwidth=width) for width in (15, 60, 25)]
        group += nodes.thead("", self._row(*(nodes.paragraph(text=text) for text in ("state", "means", "then"))))
        body = nodes.tbody()
        for name, text, followers in rows(table):
            said, messages = self.parse_inline(text)
            assert not messages
            then = nodes.paragraph()
            for follower in followers:
                then += [nodes.Text(", ")] if then.children else []
                then += nodes.literal(text=follower)
            body += self._row(nodes.paragraph("", "", nodes.literal(text=name)), nodes.paragraph("", "", *said), then)
        group += body
        return nodes.table("", group)

    @staticmethod
    def _row(*cells: nodes.Node) -> nodes.row:
        return nodes.row("", *(nodes.entry("", cell) for cell in cells))


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("state-diagram", StateDiagram)
    return {"parallel_read_safe": True}
