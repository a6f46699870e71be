"""The table of hosts in docs/hosts.md, made of the hosts that are tested: `python -m tests.hosts.table` writes it."""

from __future__ import annotations

from pathlib import Path

from tests.hosts.hosts import HOSTS, Host

PAGE = Path(__file__).parents[2] / "docs" / "hosts.md"
BEGIN = "<!-- The table is made by `python -m tests.hosts.table`. -->\n\n"
END = "\n<!-- Here it ends. -->"


def row(host: Host) -> str:
    """A host as a row."""
    remarks = [
        (not host.told_of_clients, "does not tell that a client has gone"),
        (host.freezes, '`on_timeout="return"` is refused'),
        (not host.at_once, "one request at a time"),
        (not host.remembers, "nothing lives from one request to the next"),
        (not host.cancels, "a handler in a thread is not cancelled"),
        (host.closes, "the server closes the connection where `WebhookTimeout` is raised"),
        (host.late != 500, f"`WebhookTimeout` is answered {host.late}"),
        (host.other_method != 405, f"another method is answered {host.other_method}"),
    ]
    return f"| {host.name} | `{host.adapter}` | {'; '.join(text for holds, text in remarks if holds)} |"


def written() -> str:
    """The page, with the table of today."""
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = ["| host | `hookline_io.hosts.` | what is special |", "| --- | --- | --- |", *map(row, HOSTS)]
    return before + BEGIN + "\n".join(rows) + "\n" + END + after


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
