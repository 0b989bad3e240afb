"""Options of `headrace serve` for many models, and for those who look after them."""

from __future__ import annotations

import argparse
from pathlib import Path

from .errors import InvalidArgumentError
from .memory import parse_bytes
from .security.audit_retention import Retention, parse_keep


def add(serve: argparse.ArgumentParser) -> None:
    """Adds them to the command's parser."""
    serve.add_argument(
        "--memory-budget",
        type=size,
        metavar="SIZE",
        help="what models may take, such as 4GiB: those of a folder are loaded when they are asked for, and those used "
        "longest ago are unloaded (default: all stay)",
    )
    serve.add_argument(
        "--cache-tokens",
        type=int,
        metavar="N",
        help="tokens that a language model's cache holds (default: what 2 GiB hold)",
    )
    serve.add_argument(
        "--admin-port",
        type=int,
        metavar="PORT",
        help="let the routes of operators (/v1/admin, /v1/status, /metrics, loading, the console) answer there only",
    )
    serve.add_argument(
        "--audit-keep",
        action="append",
        metavar="AGE|SIZE",
        help="how long audit events are kept, such as 90d, and how many, such as 10GB (default: all)",
    )
    serve.add_argument(
        "--audit-archive", metavar="DIR", help="move older events there instead of deleting them"
    )
    serve.add_argument(
        "--admin-host", default="127.0.0.1", help="address of the admin port (default %(default)s)"
    )


def size(text: str) -> int:
    """Bytes; for argparse."""
    try:
        return parse_bytes(text)
    except InvalidArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def check(options: argparse.Namespace) -> None:
    """InvalidArgumentError for options that contradict each other."""
    retention(options)
    if options.admin_port is None:
        if options.admin_host != "127.0.0.1":
            raise InvalidArgumentError("--admin-host is for --admin-port: add it")
    elif options.admin_port != 0 and options.admin_port == options.port:
        raise InvalidArgumentError(
            f"--admin-port {options.admin_port}: must be another port than --port, by which requests are told apart"
        )


def retention(options: argparse.Namespace) -> Retention | None:
    """What --audit-keep and --audit-archive say; None where everything is kept. InvalidArgumentError."""
    if not options.audit_keep:
        if options.audit_archive is not None:
            raise InvalidArgumentError("--audit-archive is for what --audit-keep no longer keeps: add it")
        return None
    if not (options.audit or options.audit_strict):
        raise InvalidArgumentError("--audit-keep is for the audit log: add --audit")
    archive = None if options.audit_archive is None else Path(options.audit_archive).expanduser()
    return parse_keep(options.audit_keep, archive)
