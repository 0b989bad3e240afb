"""What the server writes on standard error: lines for people, or JSON for programs. Never a request's text."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import datetime, timezone

from .access import current_call


class JsonLines(logging.Formatter):
    """One object a line: time, level, logger, message, and of a request its id and what failed."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        call = current_call()
        if call is not None:
            line |= {"request": call.identity, "key": call.principal.id, "route": call.route}
        if record.exc_info is not None and record.exc_info[1] is not None:
            error = record.exc_info[1]
            line |= {"error": type(error).__name__, "trace": traceback.format_exception(error)}
        return json.dumps(line, default=str)


def set_up_logging(level: str, kind: str) -> None:
    """kind: text or json."""
    handler = logging.StreamHandler()
    if kind == "json":
        handler.setFormatter(JsonLines())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
