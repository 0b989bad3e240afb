"""Audit logs of which older segments are removed or archived, and logs read over HTTP."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guarded import BODY, Guarded

from headrace.cli import main
from headrace.errors import InvalidArgumentError
from headrace.security import audit, audit_retention
from headrace.security.audit import AuditLog, find_key, read, verify
from headrace.security.audit_pages import Wanted, read_page
from headrace.security.audit_retention import Retention, parse_keep

KEY = b"k" * 32


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "PRUNE_SECONDS", 0.0)


def write(folder: Path, count: int, retention: Retention | None, first: int = 0) -> None:
    with AuditLog(folder, KEY, strict=True, retention=retention) as log:
        for number in range(first, first + count):
            log.add(
                {"event": "request", "number": number, "status": 200 + number % 2, "key": f"k{number % 3}"}
            )
            time.sleep(0.002)


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("audit-*.jsonl"))


def test_by_size(tmp_path: Path) -> None:
    keep = Retention(bytes=20_000)
    write(tmp_path, 300, keep)
    report = verify(tmp_path, KEY)
    assert report.problem is None
    assert report.pruned > 50
    assert sum(path.stat().st_size for path in segments(tmp_path)) < 25_000
    rows = list(read(tmp_path))
    assert rows[0]["n"] == report.pruned + 1
    numbers = [row["number"] for row in rows if row["event"] == "request"]
    assert numbers == list(range(numbers[0], 300))
    write(tmp_path, 100, keep, 300)  # and so it goes on
    again = verify(tmp_path, KEY)
    assert again.problem is None
    assert again.pruned > report.pruned
    assert verify(tmp_path, None).problem is None


def test_by_age(tmp_path: Path) -> None:
    keep = Retention(seconds=0.5)  # a segment is a tenth of it
    write(tmp_path, 100, keep)
    before = verify(tmp_path, KEY).lines
    time.sleep(0.6)
    write(tmp_path, 3, keep, 100)
    report = verify(tmp_path, KEY)
    assert report.problem is None
    assert report.pruned > 50
    assert report.lines < before
    assert [row["number"] for row in read(tmp_path) if row["event"] == "request"][-3:] == [100, 101, 102]


def test_an_archive_has_the_rest(tmp_path: Path) -> None:
    log, archive = tmp_path / "log", tmp_path / "archive"
    write(log, 300, Retention(bytes=20_000, archive=archive))
    report = verify(log, KEY, archive)
    assert (report.problem, report.pruned) == (None, 0)
    assert [row["number"] for row in read(log, archive) if row["event"] == "request"] == list(range(300))
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in segments(archive))
    segments(archive)[1].unlink()
    problem = verify(log, KEY, archive).problem
    assert problem is not None
    assert "stands where line" in problem or "left out" in problem
    assert verify(log, KEY).problem is None


@pytest.mark.parametrize("how", ["delete", "delete more", "forge", "change the note", "change the hash"])
def test_nobody_else_can_cut(tmp_path: Path, how: str) -> None:
    write(tmp_path, 300, None if how in ("delete", "forge") else Retention(bytes=20_000))
    if how in ("delete", "forge"):
        audit_segment = segments(tmp_path)[0]  # one file: cut in two, as if it were of two segments
        lines = audit_segment.read_bytes().splitlines(keepends=True)
        name = tmp_path / f"audit-{101:012d}.jsonl"
        name.write_bytes(b"".join(lines[100:]))
        audit_segment.write_bytes(b"".join(lines[:100]))
        assert verify(tmp_path, KEY).problem is None
        if how == "forge":  # with a note, and the chain made anew from there
            row = json.loads(lines[99])
            row = {"n": row["n"], "hash": row["hash"]}
            forged = audit_retention.note(b"x" * 32, audit_segment, row, archived=False)
            previous, out = json.loads(lines[-1])["hash"], []
            bare = json.dumps({"n": len(lines) + 1, "time": 1.0, **forged}, separators=(",", ":")).encode()
            link = audit._link(previous, bare)
            out.append(bare[:-1] + b',"hash":"' + link.encode() + b'"}\n')
            name.write_bytes(name.read_bytes() + b"".join(out))
        audit_segment.unlink()
    elif how == "delete more":
        segments(tmp_path)[0].unlink()
    else:
        last = segments(tmp_path)[-1]
        changed = b'"through":' if how == "change the note" else b'"chain":"'
        for path in segments(tmp_path):
            if b'"event":"pruned"' in path.read_bytes():
                last = path
        last.write_bytes(last.read_bytes().replace(changed, changed + b"1"))
    report = verify(tmp_path, KEY)
    assert report.problem is not None
    if how == "delete":
        assert "no note of the server" in report.problem
    if how == "forge":
        assert "not made with this key" in report.problem


_WRITER = """
import sys
from pathlib import Path
from headrace.security import audit
from headrace.security.audit_retention import Retention
audit.PRUNE_SECONDS = 0.0
log = audit.AuditLog(Path(sys.argv[1]), b"k" * 32, strict=True, retention=Retention(bytes=8000))
print("ready", flush=True)
number = 0
while True:
    log.add({"event": "request", "number": number, "more": "x" * 100}); number += 1
    if number % 20 == 0:
        import time; time.sleep(0.001)
"""


def test_killed_while_it_prunes_the_chain_holds(tmp_path: Path) -> None:
    rng, cut = random.Random(7), 0
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline()
            time.sleep(rng.uniform(0.02, 0.15))
            os.kill(writer.pid, signal.SIGKILL)
        AuditLog(tmp_path, KEY).close()
        report = verify(tmp_path, KEY)
        assert report.problem is None
        assert report.pruned >= cut
        cut = report.pruned
    assert cut > 0


def test_what_may_be_said() -> None:
    assert parse_keep(["12h"]).seconds == 43_200
    assert parse_keep(["2w", "1GiB"]) == Retention(seconds=1_209_600, bytes=1 << 30)
    for wrong in (["90"], ["90d", "2w"], ["1GB", "2GB"], [""], ["0d"], ["-1d"], ["90days"], ["1.5d"]):
        with pytest.raises(InvalidArgumentError, match="--audit-keep"):
            parse_keep(wrong)
    assert Retention(bytes=1 << 40).segment_bytes == 64 << 20
    assert Retention(seconds=3600).segment_seconds == 360


def test_pages(tmp_path: Path) -> None:
    write(tmp_path, 300, Retention(bytes=10_000_000))
    all_rows = list(read(tmp_path))

    def paged(**options: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        after: int | None = options.pop("after", 0)
        while after is not None:
            page = read_page(tmp_path, Wanted(after=after, **options))
            assert len(page.rows) <= options.get("limit", 100)
            rows += page.rows
            after = page.next
        return rows

    assert paged() == paged(limit=7) == all_rows
    assert paged(after=250) == all_rows[250:]
    assert paged(fields={"key": "k1", "status": "200"}, limit=3) == [
        row for row in all_rows if row.get("key") == "k1" and row["status"] == 200
    ]
    middle = all_rows[150]["time"]
    assert paged(since=middle) + paged(until=middle) == all_rows[150:] + all_rows[:150]
    assert paged(after=10**9) == []


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    archive = tmp_path_factory.mktemp("archive")
    with Guarded(
        tmp_path_factory.mktemp("state"), "--audit", "--audit-keep", "90d", "--audit-keep", "1GB",
        "--audit-archive", str(archive),
    ) as found:  # fmt: skip
        found.keys["auditor"] = found.key("audit")
        found.keys["admin"] = found.key("admin")
        time.sleep(2.5)
        yield found
        assert found.server.stop() == 0


def test_over_http(guarded: Guarded) -> None:
    with guarded.client("minilm") as http:
        for number in range(5):
            headers = {"x-request-id": f"audited-{number}"}
            assert http.post("/v1/embeddings", json=BODY, headers=headers).status_code == 200
        assert http.get("/v1/admin/audit").status_code == 403
    time.sleep(1)
    for name in ("auditor", "admin"):
        with guarded.client(name) as http:
            rows, after = [], 0
            while after is not None:
                told = http.get("/v1/admin/audit", params={"after": after, "limit": 2, "model": "minilm"})
                assert told.status_code == 200
                rows += told.json()["data"]
                after = told.json()["next"]
            found = {row["request"] for row in rows}
            assert found >= {f"audited-{number}" for number in range(5)}
            one = http.get("/v1/admin/audit", params={"request": "audited-3"}).json()["data"]
            assert [(row["route"], row["status"]) for row in one] == [("/v1/embeddings", 200)]
            for wrong in (
                {"limit": "0"},
                {"limit": "1001"},
                {"after": "x"},
                {"since": "nan"},
                {"color": "red"},
            ):
                answer = http.get("/v1/admin/audit", params=wrong)
                assert (answer.status_code, answer.json()["error"]["param"]) == (400, next(iter(wrong)))
    folder = guarded.folder / "audit"
    assert verify(folder, find_key(guarded.folder, create=False)).problem is None


def test_without_a_log(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        guarded.keys["auditor"] = guarded.key("audit")
        time.sleep(2.5)
        with guarded.client("auditor") as http:
            assert http.get("/v1/admin/audit").status_code == 404
        assert guarded.server.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--audit-keep", "90d"], "add --audit"),
        (["--audit", "--audit-keep", "soon"], "90d"),
        (["--audit", "--audit-archive", "x"], "--audit-keep"),
    ],
)
def test_what_does_not_start(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["serve", "--state", str(tmp_path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = find_key(tmp_path, create=True)
    assert key is not None
    keep = Retention(bytes=8000, archive=tmp_path / "archive")
    with AuditLog(tmp_path / "audit", key, strict=True, retention=keep) as log:
        for number in range(100):
            log.add({"event": "request", "number": number})
            time.sleep(0.002)
    state = ["--state", str(tmp_path)]
    assert main(["audit", "verify", *state]) == 0
    assert "that the server removed" in capsys.readouterr().out
    assert main(["audit", "verify", "--archive", str(tmp_path / "archive"), *state]) == 0
    assert "removed" not in capsys.readouterr().out
    assert main(["audit", "export", "--archive", str(tmp_path / "archive"), *state]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum('"event": "request"' in line for line in lines) == 100
