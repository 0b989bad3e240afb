"""A server whose disk is full, whose database and Redis are away: what it refuses, and what it goes on with."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from guarded import BODY, Guarded
from services import Postgres, Redis

from headrace.security.audit import find_key, read, verify
from headrace.security.scopes import Limits


def test_nothing_is_served_unaudited_when_that_is_asked_for(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True
    ).returncode:
        pytest.skip("a small file system cannot be mounted here: run as root on Linux")
    try:
        with Guarded(disk, "--audit-strict") as guarded:
            with guarded.client("all") as http:
                assert (
                    http.post("/v1/embeddings", json=BODY, headers={"x-request-id": "first"}).status_code
                    == 200
                )
                # It is on disk when the answer is there.
                assert any(row.get("request") == "first" for row in read(disk / "audit"))
                filler = disk / "filler"
                with filler.open("wb") as file:
                    file.write(b"x" * (os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
                statuses = [http.post("/v1/embeddings", json=BODY).status_code for _ in range(50)]
                assert statuses[-1] == 503
                assert set(statuses) <= {200, 503}
                assert http.get("/livez").status_code == 200
                filler.unlink()
                time.sleep(1.5)
                assert http.post("/v1/embeddings", json=BODY).status_code == 200
            assert guarded.server.stop() == 0
        rows = [row for row in read(disk / "audit") if row["event"] == "request" and row["status"] == 200]
        assert len(rows) == statuses.count(200) + 2
        assert verify(disk / "audit", find_key(disk, create=False)).problem is None
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_postgresql_and_redis_may_go_and_come_back_under_load(tmp_path: Path) -> None:
    with (
        Postgres() as postgres,
        Redis() as redis,
        Guarded(tmp_path, "--redis", redis.url, database=postgres.url) as guarded,
    ):
        key = guarded.key("infer", limits=Limits(requests_per_minute=10**6))
        time.sleep(2.5)
        statuses: list[int] = []
        with guarded.client(key) as http:

            def run(seconds: float) -> None:
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    statuses.append(http.post("/v1/embeddings", json=BODY).status_code)

            run(1)
            redis.stop()
            run(1)
            postgres.stop()
            run(3)
            redis.start()
            postgres.start()
            run(3)
        assert set(statuses) == {200}
        assert len(statuses) > 500
        guarded.catalogue.revoke(key[3:15], time.time())  # and keys are followed again
        time.sleep(4)
        with guarded.client(key) as http:
            assert http.post("/v1/embeddings", json=BODY).status_code == 401
        assert guarded.server.stop() == 0
        assert "Redis is back" in guarded.server.errors()
