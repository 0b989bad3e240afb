"""Kills writers of an audit log at any moment, and tells whether anything was lost that they had been told is safe.

    python tests/python/audit_killer.py FOLDER KILLS SEED

Writers are forked from a process that has imported everything and has one thread, so that a thousand take a minute.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

from headrace.security.audit import AuditLog, read

KEY = b"k" * 32


def write(folder: Path, number: int, out: int) -> None:
    """Adds events without end; the number of each that is durable goes to `out`, a line each."""
    log = AuditLog(folder, KEY, strict=True)
    durable = threading.Semaphore(0)

    def add(number: int) -> None:
        def told(_: bool) -> None:
            os.write(out, b"%d\n" % number)
            durable.release()

        log.add({"event": "request", "number": number}, told)

    while True:
        for _ in range(8):  # together, and then the next
            add(number)
            number += 1
        for _ in range(8):
            durable.acquire()


def killed_writer(folder: Path, number: int, chance: random.Random) -> set[int]:
    """What one writer was told before it was killed."""
    source, out = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        try:
            write(folder, number, out)
        finally:
            os._exit(1)
    os.close(out)
    with open(source, "rb") as lines:
        first = lines.readline()
        time.sleep(chance.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        told = [first, *lines.read().splitlines(keepends=True)]
    return {int(line) for line in told if line.endswith(b"\n")}


def main() -> None:
    folder, kills, chance = Path(sys.argv[1]), int(sys.argv[2]), random.Random(int(sys.argv[3]))
    acknowledged: set[int] = set()
    for round_ in range(kills):
        acknowledged |= killed_writer(folder, round_ * 1_000_000, chance)
    AuditLog(folder, KEY).close()
    written = {row["number"] for row in read(folder) if row["event"] == "request"}
    lost = len(acknowledged - written)
    print(json.dumps({"kills": kills, "acknowledged": len(acknowledged), "lost": lost}))


if __name__ == "__main__":
    main()
