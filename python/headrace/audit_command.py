"""`headrace audit`: the record of a server that was started with --audit."""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_HELP = """\
examples:
  headrace audit verify                     whether any line was changed, left out or moved; exit code 1 if so
  headrace audit tail --lines 20            the newest events
  headrace audit export --format csv        all events, oldest first
The checkpoints' key is HEADRACE_AUDIT_KEY, or audit.key in the server's folder; without it only the chain is checked.
"""
_COLUMNS = (
    *("n", "time", "event", "request", "key", "tenant", "route", "model", "status"),
    *("prompt_tokens", "generated_tokens", "ms", "count"),
)


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command; `command(name, run, text, epilog)` makes its parser."""
    audit = command("audit", _audit, "Check and read the audit log.", _HELP)
    audit.add_argument("action", choices=["verify", "tail", "export"])
    audit.add_argument(
        "--state", metavar="DIR", help="the server's own folder (default ~/.local/state/headrace)"
    )
    audit.add_argument("--archive", metavar="DIR", help="also what the server moved there (--audit-archive)")
    audit.add_argument("--lines", type=int, default=10, help="tail: so many (default %(default)s)")
    audit.add_argument(
        "--format", choices=["jsonl", "csv"], default="jsonl", help="export (default %(default)s)"
    )
    audit.add_argument("--json", action="store_true", help="what a program can read")


def _audit(options: argparse.Namespace) -> int:
    from .catalogue import state_folder
    from .security.audit import find_key, read, verify

    state = state_folder(options.state)
    folder = state / "audit"
    archive = None if options.archive is None else Path(options.archive).expanduser()
    if options.action == "verify":
        key = find_key(state, create=False)
        report = verify(folder, key, archive)
        if options.json:
            print(json.dumps({**vars(report), "key_used": key is not None}))
        elif report.problem is None:
            removed = f", behind {report.pruned} that the server removed" if report.pruned else ""
            print(f"the chain holds: {report.lines} lines{removed}, {report.checkpoints} checkpoints"
                  f"{'' if key else ' (their key is not here, so they were not checked)'}")  # fmt: skip
        else:
            print(f"the chain is broken: {report.problem}")
        return 0 if report.problem is None else 1
    if options.action == "tail":
        rows: Iterable[dict[str, Any]] = deque(read(folder, archive), maxlen=max(1, options.lines))
        for row in rows:
            print(json.dumps(row) if options.json else _line(row))
        return 0
    if options.format == "csv":
        writer = csv.DictWriter(sys.stdout, _COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(read(folder, archive))
    else:
        for row in read(folder, archive):
            print(json.dumps(row))
    return 0


def _line(row: dict[str, Any]) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(row["time"]))
    hidden = ("n", "time", "event", "hash", "mac")
    rest = " ".join(
        f"{name}={value}" for name, value in row.items() if name not in hidden and value not in ("", None)
    )
    return f"{when} {row['event']} {rest}"
