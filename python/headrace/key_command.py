"""`headrace keys`: who may use a server that was started with --require-keys."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import InvalidArgumentError

if TYPE_CHECKING:
    from .security.keys import Key

_HELP = """\
examples:
  headrace keys create --name search --scope infer:minilm      one model only; the key is shown once
  headrace keys create --name ops --scope infer --scope manage --scope metrics --expires 90d
  headrace keys create --name trial --scope infer --requests-per-minute 60 --tokens-per-day 100000
  headrace keys create --name billing --scope infer --certificate-name spiffe://example.org/billing
  headrace keys list
  headrace keys revoke 3fK9...                                 by its id; servers refuse it within 5 seconds
scopes: infer, manage (each for all models, or as infer:MODEL, where a * may end the name), metrics, audit, admin
Servers find keys in the same database: give --database or --state there what was given here.
"""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the command; `command(name, run, text, epilog)` makes its parser."""
    keys = command("keys", _keys, "Make, list and revoke keys.", _HELP)
    keys.add_argument("action", choices=["create", "list", "revoke"])
    keys.add_argument("id", nargs="?", help="of the key to revoke")
    keys.add_argument("--name", help="create: what it is called in lists and records")
    keys.add_argument(
        "--scope", action="append", metavar="SCOPE", help="create: what it allows; may be repeated"
    )
    keys.add_argument(
        "--certificate-name",
        metavar="NAME",
        help="create: no key, but the client certificate of that common name or URI (serve --tls-client-ca)",
    )
    keys.add_argument("--tenant", help="create: whose caches it shares (default: a tenant of its own name)")
    keys.add_argument("--expires", metavar="TIME", help="create: such as 12h or 90d (default: never)")
    for limit in ("requests-per-minute", "tokens-per-minute", "tokens-per-day"):
        keys.add_argument(f"--{limit}", type=int, metavar="N", help="create: (default: no limit)")
    keys.add_argument("--database", metavar="URL", help="sqlite:///FILE or postgresql://USER@HOST/NAME")
    keys.add_argument(
        "--state", metavar="DIR", help="the server's own folder (default ~/.local/state/headrace)"
    )
    keys.add_argument("--json", action="store_true", help="what a program can read")


def _keys(options: argparse.Namespace) -> int:
    from .catalogue import Catalogue, default_url, state_folder

    if (options.action == "revoke") != (options.id is not None):
        raise InvalidArgumentError("give the id of the key to revoke, and an id with revoke only")
    folder = state_folder(options.state)
    with Catalogue(options.database or default_url(folder)) as catalogue:
        if options.action == "create":
            from .security.keys import Pepper, make_key
            from .security.scopes import Limits

            if options.name is None:
                raise InvalidArgumentError("--name: a key needs one, such as --name search")
            text, key = make_key(
                Pepper.find(folder, create=True),
                options.name,
                options.scope or [],
                tenant=options.tenant,
                lifetime=None if options.expires is None else _seconds(options.expires),
                limits=Limits(options.requests_per_minute, options.tokens_per_minute, options.tokens_per_day),
                certificate=options.certificate_name,
            )
            catalogue.add(key)
            if options.json:
                print(json.dumps({"key": text or None, **described(key)}))
            elif key.certificate is not None:
                print(f"the certificate {key.certificate} is the key {key.name}, with the id {key.id}")
            else:
                print(f"{text}\nkept nowhere: copy it now; its id is {key.id}")
            return 0
        if options.action == "revoke":
            _print_keys([catalogue.revoke(options.id, time.time())], options.json)
            return 0
        _print_keys(catalogue.all_keys(), options.json)
    return 0


def _seconds(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdigit():
        raise InvalidArgumentError(f"--expires {text}: must be a number and s, m, h or d, such as 90d")
    return float(int(number) * _UNITS[unit])


def described(key: Key) -> dict[str, Any]:
    """What may be shown of a key."""
    return {
        "id": key.id,
        "name": key.name,
        "tenant": key.tenant,
        "scopes": list(key.scopes),
        "state": key.state(time.time()),
        "created": key.created,
        "expires": key.expires,
        "revoked": key.revoked,
        "certificate_name": key.certificate,
        "limits": {name: value for name, value in vars(key.limits).items() if value is not None},
    }


def _print_keys(keys: list[Key], as_json: bool) -> None:
    rows = [described(key) for key in keys]
    if as_json:
        print(json.dumps(rows))
        return
    if not rows:
        print("there is no key yet: headrace keys create --name NAME --scope infer")
        return
    table = [("id", "name", "tenant", "state", "created", "expires", "scopes", "limits")]
    for row in rows:
        limits = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in row["limits"].items())
        times = [_day(row["created"]), _day(row["expires"])]
        table.append(
            (row["id"], row["name"], row["tenant"], row["state"], *times, " ".join(row["scopes"]), limits)
        )
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _day(seconds: float | None) -> str:
    return "never" if seconds is None else time.strftime("%Y-%m-%d", time.gmtime(seconds))
