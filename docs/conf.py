"""How the site is built: `sphinx-build -n -W docs docs/_build`.

The docstrings of hookline say what each option is in the form `name: what it is`, and put several short points of a
numbered list on one line; `mark_up` makes proper lists of both.
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

project = "hookline"
author = "hookline contributors"
copyright = "hookline contributors"

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.graphviz", "state_diagrams"]
exclude_patterns = ["_build"]
graphviz_output_format = "svg"
html_theme = "furo"
html_title = "hookline"
html_static_path = ["_static"]
html_css_files = ["site.css"]
myst_heading_anchors = 3
default_role = "code"  # docstrings write `name`

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say what is taken and what comes back
autoclass_content = "class"

_POINT = re.compile(r"(?<=\.) (?=\d\. )")
_ITEM = re.compile(r"(?:^|(?<=[.)] ))(\w+(?:, \w+)*): ")


def mark_up(_: Sphinx, __: str, ___: str, subject: Any, ____: Any, lines: list[str]) -> None:
    """Rewrite a docstring, in place."""
    try:
        names = set(inspect.signature(subject).parameters)
    except (TypeError, ValueError):
        names = set()
    names |= {"Errors", "errors"}
    paragraphs = _POINT.sub("\n", "\n".join(lines)).split("\n\n")
    lines[:] = "\n\n".join(_as_list(paragraph, names) for paragraph in paragraphs).split("\n")


def _as_list(paragraph: str, names: set[str]) -> str:
    """A paragraph that says what parameters are, as a definition list; any other as it is."""
    text = " ".join(line.strip() for line in paragraph.splitlines())
    items = [match for match in _ITEM.finditer(text) if names.issuperset(match[1].split(", "))]
    if not items:
        return paragraph
    out = [text[: items[0].start()].strip()]
    for match, following in zip(items, [*items[1:], None], strict=True):
        what = text[match.end() : following.start() if following is not None else None].strip()
        terms = ", ".join(f"``{name}``" for name in match[1].split(", "))
        out.append(f"{terms}\n    {what}")
    return "\n\n".join(part for part in out if part)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", mark_up)
