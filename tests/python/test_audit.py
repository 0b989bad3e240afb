"""The audit log: its chain, its group commit, crashes, a full disk."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.cli import main
from headrace.errors import CorruptFileError, InvalidArgumentError
from headrace.security import audit
from headrace.security.audit import AuditLog, find_key, read, verify

KEY = b"k" * 32


def write(folder: Path, count: int, **options: bool) -> None:
    with AuditLog(folder, KEY, **options) as log:
        for number in range(count):
            log.add({"event": "request", "number": number, "name": 'caf\u00e9 "quoted" \\'})


def the_file(folder: Path) -> Path:
    [path] = folder.glob("audit-*.jsonl")
    return path


def test_what_is_written_is_read_and_holds(tmp_path: Path) -> None:
    write(tmp_path, 5)
    write(tmp_path, 3)
    rows = list(read(tmp_path))
    assert [row.get("number") for row in rows if row["event"] == "request"] == [0, 1, 2, 3, 4, 0, 1, 2]
    assert [row["n"] for row in rows] == list(range(1, 11))
    report = verify(tmp_path, KEY)
    assert (report.lines, report.checkpoints, report.unchecked, report.problem) == (10, 2, 0, None)
    assert os.stat(the_file(tmp_path)).st_mode & 0o777 == 0o600


def test_checkpoints_come_by_the_thousand(tmp_path: Path) -> None:
    with AuditLog(tmp_path, KEY) as log:
        for _ in range(3):
            for _ in range(1100):
                log.add({"event": "request"})
            time.sleep(0.3)
    assert verify(tmp_path, KEY).checkpoints >= 3


@pytest.mark.parametrize("how", ["change", "drop", "swap", "repeat", "insert", "rehash"])
def test_tampering_is_found(tmp_path: Path, how: str) -> None:
    write(tmp_path, 20)
    path = the_file(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    if how == "change":
        lines[7] = lines[7].replace(b'"number":7', b'"number":8')
    elif how == "drop":
        del lines[7]
    elif how == "swap":
        lines[7], lines[8] = lines[8], lines[7]
    elif how == "repeat":
        lines.insert(7, lines[7])
    elif how == "insert":
        lines.insert(7, b'{"n":8,"event":"request","hash":"' + b"0" * 64 + b'"}\n')
    else:  # the whole chain written anew, by someone without the key
        previous, forged = "0" * 64, []
        for line in lines:
            bare = line[: -audit._TAIL - 1].replace(b'"number":7', b'"number":8') + b"}"
            previous = audit._link(previous, bare)
            forged.append(bare[:-1] + b',"hash":"' + previous.encode() + b'"}\n')
        lines = forged
    path.write_bytes(b"".join(lines))
    problem = verify(tmp_path, KEY).problem
    assert problem is not None
    assert path.name in problem
    if how == "rehash":
        assert "checkpoint" in problem
        assert verify(tmp_path, None).problem is None


def test_every_bit_counts(tmp_path: Path) -> None:
    write(tmp_path, 10)
    path = the_file(tmp_path)
    data = path.read_bytes()
    rng = random.Random(3)
    for _ in range(1000):
        bit = rng.randrange(8 * (len(data) - 1))  # the last byte is the end of the line
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert verify(tmp_path, KEY).problem is not None, bit


def test_a_torn_line_is_cut_off_and_noted(tmp_path: Path) -> None:
    write(tmp_path, 5)
    path = the_file(tmp_path)
    path.write_bytes(path.read_bytes() + b'{"n":7,"event":"req')
    assert verify(tmp_path, KEY).problem is not None
    write(tmp_path, 1)
    assert verify(tmp_path, KEY).problem is None
    assert [row["dropped_bytes"] for row in read(tmp_path) if row["event"] == "recovered"] == [19]


def test_a_damaged_end_is_not_continued(tmp_path: Path) -> None:
    write(tmp_path, 5)
    path = the_file(tmp_path)
    path.write_bytes(path.read_bytes() + b"nonsense\n")
    with pytest.raises(CorruptFileError, match="audit verify"):
        AuditLog(tmp_path, KEY)


def test_segments_continue_the_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "SEGMENT_BYTES", 1000)
    with AuditLog(tmp_path, KEY) as log:
        for number in range(30):
            log.add({"event": "request", "number": number})
            time.sleep(0.02)
    write(tmp_path, 5)
    assert len(list(tmp_path.glob("audit-*.jsonl"))) > 2
    report = verify(tmp_path, KEY)
    assert report.problem is None
    assert [row["n"] for row in read(tmp_path)] == list(range(1, report.lines + 1))
    sorted(tmp_path.glob("audit-*.jsonl"))[1].unlink()
    assert verify(tmp_path, KEY).problem is not None


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with AuditLog(tmp_path, KEY), pytest.raises(InvalidArgumentError, match="another process"):
        AuditLog(tmp_path, KEY)
    write(tmp_path, 1)


def test_strict_events_are_durable_when_told(tmp_path: Path) -> None:
    told: list[bool] = []
    with AuditLog(tmp_path, KEY, strict=True) as log:
        done = threading.Semaphore(0)

        def on_durable(is_durable: bool) -> None:
            # What is in the file now is what a crash would leave.
            told.append(is_durable)
            done.release()

        for number in range(50):
            log.add({"event": "request", "number": number}, on_durable)
            assert done.acquire(timeout=5)
            assert b'"number":%d,' % number in the_file(tmp_path).read_bytes()
    assert told == [True] * 50


def test_refused_requests_are_counted(tmp_path: Path) -> None:
    with AuditLog(tmp_path, KEY) as log:
        for _ in range(10_000):
            log.count_refused(401, "http")
    rows = [row for row in read(tmp_path) if row["event"] == "refused"]
    assert sum(row["count"] for row in rows) == 10_000
    assert len(rows) < 5


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here: run as root on Linux")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("strict", [False, True])
def test_a_full_disk_leaves_a_chain_that_holds(small_disk: Path, strict: bool) -> None:
    folder = small_disk / "audit"
    filler = small_disk / "filler"
    with AuditLog(folder, KEY, strict=strict) as log:
        told: list[bool] = []
        log.add({"event": "request", "number": -1}, told.append)
        time.sleep(0.5)
        filler.write_bytes(b"x" * 150_000)
        for number in range(400):
            log.add(
                {"event": "request", "number": number, "more": "y" * 200}, told.append if strict else None
            )
        deadline = time.monotonic() + 10
        while log.failure is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "space" in log.failure
        filler.unlink()
        while log.failure is not None:  # it finds out by itself
            assert time.monotonic() < deadline
            time.sleep(0.05)
        log.add({"event": "request", "number": 400})
    report = verify(folder, KEY)
    assert report.problem is None
    numbers = [row["number"] for row in read(folder) if row["event"] == "request"]
    if strict:
        assert told.count(True) == len(numbers) - 1  # of the last one nobody asked to be told
        assert told.count(False) > 0
    else:
        assert numbers == list(range(-1, 401))  # late, but all of them


def kill(folder: Path, rounds: int) -> int:
    """Kills so many writers (audit_killer.py) and checks the log; how many events were told to be durable."""
    command = [sys.executable, str(Path(__file__).parent / "audit_killer.py"), str(folder), str(rounds), "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    report = verify(folder, KEY)
    assert report.problem is None
    written = [row["number"] for row in read(folder) if row["event"] == "request"]
    assert written == sorted(set(written))
    assert (told["kills"], told["lost"]) == (rounds, 0)
    return int(told["acknowledged"])


def test_killed_a_hundred_times_nothing_told_is_lost(tmp_path: Path) -> None:
    """Each event that was told to be durable is there, in order, whenever the writer is killed."""
    assert kill(tmp_path, 100) > 400


@pytest.mark.slow
def test_killed_a_thousand_times_nothing_told_is_lost(tmp_path: Path) -> None:
    assert kill(tmp_path, 1000) > 4000


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADRACE_AUDIT_KEY", raising=False)
    monkeypatch.setenv("HEADRACE_STATE", str(tmp_path))

    def run(*arguments: str, code: int = 0) -> str:
        assert main(["audit", *arguments]) == code
        out, err = capsys.readouterr()
        return out or err

    assert "no audit log" in run("verify", code=2)
    key = find_key(tmp_path, create=True)
    assert key is not None
    with AuditLog(tmp_path / "audit", key) as log:
        for number in range(30):
            log.add({"event": "request", "request": f"r{number}", "status": 200})
    assert "31 lines, 1 checkpoints" in run("verify")
    assert json.loads(run("verify", "--json"))["key_used"] is True
    tail = run("tail", "--lines", "3").splitlines()
    assert len(tail) == 3
    assert "request=r29 status=200" in tail[1]
    assert len(run("export").splitlines()) == 31
    table = run("export", "--format", "csv").splitlines()
    assert table[0].startswith("n,time,event,request")
    assert len(table) == 32
    shutil.move(tmp_path / "audit.key", tmp_path / "elsewhere")
    assert "not checked" in run("verify")
    path = the_file(tmp_path / "audit")
    path.write_bytes(path.read_bytes().replace(b"r7", b"r8"))
    assert "the chain is broken" in run("verify", code=1)
