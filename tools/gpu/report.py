"""What tools/check_gpu found: rows, as a table that docs/gpus.md can take, and as JSON."""

import dataclasses
import json

# ok and failed: what must hold held, or did not. stated: a figure, or a difference that is only said. skipped: this machine or this build cannot.
OUTCOMES = ("ok", "failed", "stated", "skipped")


@dataclasses.dataclass
class Row:
    part: str
    what: str
    # As shown; `number` is the same for programs, where it is one.
    value: str
    outcome: str
    # What must hold, or what was expected of a figure.
    wanted: str = ""
    number: float = None


def row(part, what, value, holds=None, wanted="", number=None):
    """A row whose outcome follows from `holds`: true, false, or None for what is only stated."""
    outcome = "stated" if holds is None else "ok" if holds else "failed"
    return Row(part, what, str(value), outcome, wanted, number)


def line(found):
    return f"| {found.part} | {found.what} | {found.value} | {found.wanted} | {found.outcome} |"


HEAD = ["| part | what | value | wanted or expected | outcome |", "|---|---|---|---|---|"]


def failed(rows):
    return any(found.outcome == "failed" for found in rows)


def summary(rows):
    counts = {outcome: sum(found.outcome == outcome for found in rows) for outcome in OUTCOMES}
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)


def write_json(path, rows, facts):
    """`facts`: what else is known: date, commit, seconds."""
    text = json.dumps({**facts, "failed": failed(rows), "rows": [dataclasses.asdict(found) for found in rows]}, indent=1)
    path.write_text(text + "\n")
