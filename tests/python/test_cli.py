"""The command line as a user runs it: a process, its output, its exit code."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Server

from headrace import _core
from headrace.loading import Wanted, parse_models
from headrace.loadtest import Result


def headrace(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headrace.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=120, check=False)


def fails(*arguments: str, stdin: str | None = None) -> str:
    """The one line that a refused command prints."""
    done = headrace(*arguments, stdin=stdin)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.startswith("headrace: error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


class TestOverview:
    def test_no_command_and_help_show_the_same(self) -> None:
        alone, asked = headrace(), headrace("--help")
        assert alone.returncode == asked.returncode == 0
        assert alone.stdout == asked.stdout
        assert "serve models:" in alone.stdout
        assert "  tokenize   Show the tokens of texts" in alone.stdout

    def test_version(self) -> None:
        assert headrace("--version").stdout.strip() == f"headrace {_core.__version__}"

    def test_a_command_that_is_not_there(self) -> None:
        done = headrace("serv")
        assert done.returncode == 2
        assert "invalid choice: 'serv'" in done.stderr


class TestEmbed:
    def test_json_is_as_the_server_s(self) -> None:
        done = headrace("embed", "demo:minilm", "a mill wheel", "a water turbine", "--dimensions", "8")
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)["data"]
        assert [row["index"] for row in rows] == [0, 1]
        assert np.allclose(np.linalg.norm([row["embedding"] for row in rows], axis=1), 1, atol=1e-5)

    def test_npy_and_csv_hold_the_same_numbers(self, tmp_path: Path) -> None:
        (tmp_path / "lines.txt").write_text("eins\nzwei\n水车\n", encoding="utf-8")
        out = tmp_path / "vectors.npy"
        file = str(tmp_path / "lines.txt")
        assert (
            headrace("embed", "demo:minilm", "--file", file, "--format", "npy", "--out", str(out)).returncode
            == 0
        )
        piped = headrace("embed", "demo:minilm", "--file", "-", "--format", "csv", stdin="eins\nzwei\n水车\n")
        vectors = np.load(out)
        command = [
            sys.executable,
            "-m",
            "headrace.cli",
            "embed",
            "demo:minilm",
            "--format",
            "npy",
            "--file",
            file,
        ]
        into_a_pipe = subprocess.run(command, capture_output=True, timeout=120, check=True).stdout
        assert into_a_pipe == out.read_bytes()
        assert vectors.shape == (3, 384)
        assert vectors.dtype == np.float32
        assert np.array_equal(np.loadtxt(io.StringIO(piped.stdout), delimiter=",", dtype=np.float32), vectors)

    def test_refusals_are_one_line(self, tmp_path: Path) -> None:
        assert "no text" in fails("embed", "demo:minilm")
        assert "empty" in fails("embed", "demo:minilm", "")
        assert "no-such-model" in fails("embed", str(tmp_path / "no-such-model"), "x")
        assert "no-such-file" in fails("embed", "demo:minilm", "--file", str(tmp_path / "no-such-file"))
        (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
        assert "UTF-8" in fails("embed", "demo:minilm", "--file", str(tmp_path / "binary"))
        assert "truncate" in fails("embed", "demo:minilm", "word " * 2000)


class TestServe:
    @pytest.mark.parametrize(
        "option",
        [
            "--port=65536",
            "--port=-1",
            "--grpc-port=99999",
            "--admin-port=-2",
            "--max-body-mb=nan",
            "--drain-seconds=-1",
            "--cache-tokens=0",
        ],
    )
    def test_number_out_of_range(self, option: str) -> None:
        name, value = option.split("=")
        assert f"{name} is {value}: must be between " in fails("serve", "demo:minilm", option)

    def test_threads_out_of_range(self) -> None:
        assert "must be between 1 and 4096" in fails("serve", "demo:minilm", "--threads", "9" * 20)

    def test_number_out_of_range_in_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "headrace.toml").write_text("port = 70000\n")
        told = fails("serve", "demo:minilm", "--config", str(tmp_path / "headrace.toml"))
        assert "--port is 70000: must be between 0 and 65535" in told

    def test_refusals_are_one_line(self, tmp_path: Path) -> None:
        assert "no-such-model" in fails("serve", "--port", "0", str(tmp_path / "no-such-model"))
        assert "two models" in fails("serve", "a/minilm", "b/minilm")
        assert "model name" in fails("serve", "bad name=demo:minilm")
        assert "--insecure-allow-remote" in fails("serve", "--host", "0.0.0.0")
        assert "--insecure-allow-remote" in fails("serve", "--host", "example.org")

    def test_a_port_in_use_is_told(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert f"127.0.0.1:{port}" in fails("serve", "--port", str(port))

    def test_another_host_is_allowed_loudly(self) -> None:
        with Server("--host", "0.0.0.0", "--insecure-allow-remote", "mine=demo:minilm") as server:
            assert server.started["models"] == ["mine"]
            assert "WARNING" in server.errors()
            assert server.stop() == 0

    def test_a_command_line_mistake_shows_the_usage(self) -> None:
        done = headrace("serve", "--prot", "1")
        assert done.returncode == 2
        assert "usage:" in done.stderr


@pytest.mark.parametrize("command", ["serve", "embed", "bench"])
def test_help_teaches_by_examples(command: str) -> None:
    done = headrace(command, "--help")
    assert done.returncode == 0
    assert f"examples:\n  headrace {command}" in done.stdout


def test_names_of_models() -> None:
    assert parse_models([]) == {"minilm": Wanted("demo:minilm")}
    assert parse_models(["demo:minilm", "models/e5", "mine=x/y"]) == {
        "minilm": Wanted("demo:minilm"),
        "e5": Wanted("models/e5"),
        "mine": Wanted("x/y"),
    }


def test_info_is_for_people_and_programs() -> None:
    told = json.loads(headrace("info", "--json").stdout)
    assert told["version"]
    assert told["isa"] in _core.known_isas()
    assert told["isa"] in headrace("info").stdout


def test_models_lists_the_demo_and_a_server_s(server: Server) -> None:
    demos = json.loads(headrace("models", "--json").stdout)
    assert [demo["id"] for demo in demos] == ["demo:minilm", "demo:smollm2"]
    assert all(demo["installed"] for demo in demos)
    (running,) = json.loads(headrace("models", "--json", "--url", server.url).stdout)
    assert running["id"] == "minilm"
    assert "minilm" in headrace("models", "--url", server.url).stdout


class TestBench:
    def test_closed_loop(self, server: Server) -> None:
        done = headrace("bench", "--url", server.url, "--connections", "1,4", "--seconds", "0.5", "--json")
        assert done.returncode == 0, done.stderr
        one, four = map(json.loads, done.stdout.splitlines())
        assert (one["connections"], four["connections"]) == (1, 4)
        for point in (one, four):
            assert point["lost"] == 0
            assert point["statuses"] == {"200": point["sent"]}
            assert 0 < point["p50_ms"] <= point["p90_ms"] <= point["p99_ms"] <= point["max_ms"]
            assert point["requests_per_second"] > 1

    def test_open_loop_with_a_plot(self, server: Server, tmp_path: Path) -> None:
        plot = tmp_path / "load.png"
        arguments = [
            "--url",
            server.url,
            "--rate",
            "20,40",
            "--seconds",
            "1",
            "--batch",
            "2",
            "--plot",
            str(plot),
        ]
        done = headrace("bench", *arguments)
        assert done.returncode == 0, done.stderr
        assert "p99 ms" in done.stdout
        assert plot.read_bytes().startswith(b"\x89PNG")

    def test_it_starts_a_server_of_its_own(self) -> None:
        done = headrace("bench", "--seconds", "0.3", "--connections", "2", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["ok"] > 0

    def test_refusals_are_one_line(self, server: Server) -> None:
        assert "--connections" in fails("bench", "--url", server.url, "--connections", "many")
        assert "nope" in fails("bench", "--url", server.url, "--model", "nope")

    def test_percentiles(self) -> None:
        result = Result("closed", 1.0, 1)
        for i in range(1, 101):
            result.add(200, i / 1000, True)
        result.add(0, 1.0, False)
        result.add(429, 0.5, True)
        found = result.summary()
        assert (found["p50_ms"], found["p99_ms"], found["max_ms"]) == (50, 99, 100)
        assert (found["ok"], found["lost"], found["statuses"]) == (100, 1, {"200": 100, "429": 1})
        assert found["requests_per_second"] == 100
        assert Result("open", 1.0, 0).summary()["p50_ms"] is None


class TestChat:
    def test_one_answer(self) -> None:
        # It has one likely answer; "What is the capital of France?" has two, almost alike.
        done = headrace("chat", "demo:smollm2", "Name the capital of France.", "--temperature", "0")
        assert done.returncode == 0, done.stderr
        assert "Paris" in done.stdout

    def test_as_json(self) -> None:
        done = headrace("chat", "demo:smollm2", "--raw", "--max-tokens", "3", "--json", "Water flows")
        answer = json.loads(done.stdout)
        assert answer["generated_tokens"] == 3
        assert answer["finish_reason"] == "length"

    def test_a_conversation_from_a_pipe(self) -> None:
        command = [
            sys.executable,
            "-m",
            "headrace.cli",
            "chat",
            "demo:smollm2",
            "--max-tokens",
            "4",
            "--seed",
            "1",
        ]
        done = subprocess.run(
            command, input="Hello\n/reset\nHello\n", capture_output=True, text=True, timeout=120
        )
        first, again = done.stdout.splitlines()
        assert first == again

    def test_a_model_of_another_task(self) -> None:
        done = headrace("chat", "demo:minilm", "Hello")
        assert done.returncode == 2
        assert "its task is embed" in done.stderr
