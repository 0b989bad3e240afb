"""The same torch network and the same Python function over HTTP, beside other servers.

Each server's answer is compared with torch's first. Then they take turns: while one is measured the others are stopped.
A line has requests a second at 32 connections, the median latency and the server's processor time for each (of all of
its processes).

    python benchmarks/bench_predict.py --rivals fastapi,litserve,bentoml,mlserver,ray
    python benchmarks/bench_predict.py --network cnn --python pytriton=/path/of/its/bin/python

The network is small and dense (1,000 -> 128 -> 1, where the server is what costs) or convolutional (28 x 28 -> 10,
some 10 ms, where the arithmetic is). Rivals have --workers processes with the model, which share the processors of the
convolutional one; the dense one has a thread in each. Those that are not installed are an error: pip install litserve
bentoml mlserver 'ray[serve]', in an environment of their own. PyTriton needs an older numpy, so it has another (pip
install nvidia-pytriton 'numpy<2'), which --python names. With all of them it takes about six minutes; --limit ends it,
and every server, after that many seconds.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import harness
from headrace.loadtest import closed_loop, run_fast
from rivals.dense import chosen, describe, inputs, network, threads, workers
from servers import Running, free_port

HERE = Path(__file__).parent
TEXT = "the water leaves the pond through the headrace and turns the wheel of the mill"


def running(name: str, command: list[str], port: int, ready: str, **environment: str) -> Running:
    """A server whose libraries share the processors as --threads says."""
    return Running(name, command, port, ready, OMP_NUM_THREADS=str(threads()), **environment)


def ask(url: str, body: bytes, headers: dict[str, str] | None = None) -> Any:
    head = {"content-type": "application/json", **(headers or {})}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data=body, headers=head), timeout=30
        ) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{url} answered {error.code}: {error.read().decode()[:1000]}") from None


def row() -> list[float]:
    import torch

    return torch.randn(inputs(), generator=torch.Generator().manual_seed(1)).tolist()


def numbers() -> dict[str, Any]:
    """A request of the Open Inference Protocol."""
    return {"inputs": [{"name": "x", "shape": [1, inputs()], "datatype": "FP32", "data": row()}]}


def first_output(answer: Any) -> list[float]:
    """What it answers."""
    return answer["outputs"][0]["data"]


def near(found: float, wanted: float) -> bool:
    return abs(found - wanted) < 1e-5 * max(1.0, abs(wanted))


class Entry:
    """A server under test: for each task its path and body, and where the answer stands."""

    def __init__(self, server: Running, tasks: dict[str, tuple[str, Any, Any]]) -> None:
        self.server = server
        self.tasks = tasks

    def check(self, expected: dict[str, Any]) -> None:
        for task, (path, body, read) in self.tasks.items():
            found = read(ask(f"http://127.0.0.1:{self.server.port}{path}", json.dumps(body).encode()))
            wanted = expected[task.split()[0]]
            same = found == wanted
            if task != "function":
                same = len(found) == len(wanted) and all(map(near, found, wanted))
            if not same:
                raise SystemExit(f"{self.server.name}: {task}: answered {found!r}, torch {wanted!r}")

    def measure(self, task: str, seconds: float) -> tuple[float, float, float]:
        """Requests a second, the median latency in ms, and microseconds of processor time for each request."""
        path, body, _ = self.tasks[task]
        before = self.server.cpu_seconds()
        url = f"http://127.0.0.1:{self.server.port}{path}"
        result = run_fast(closed_loop(url, [json.dumps(body).encode()], connections=32, seconds=seconds))
        if set(result.statuses) != {200}:
            raise SystemExit(
                f"{self.server.name}: {task}: answered {dict(result.statuses)}, {result.lost} lost"
            )
        answered = len(result.latencies)
        cost = 1e6 * (self.server.cpu_seconds() - before) / answered
        return answered / seconds, 1e3 * result.percentile(0.5), cost


def headrace(folder: Path) -> Entry:
    import headrace as package

    made = package.package(
        network(), folder / "dense", example_inputs={"x": [row(), row()]}, outputs=["score"]
    )
    port = free_port()
    start = "import sys; from headrace.cli import main; sys.exit(main())"
    function = f"describe={HERE / 'rivals' / 'dense_headrace.py'}:describe_all"
    command = [sys.executable, "-c", start, "serve", str(made.directory), function, "--port", str(port)]
    server = running("headrace", [*command, "--queue-budget", "60"], port, "/readyz")
    body = {"model": "dense", "input": {"x": row()}}
    return Entry(
        server,
        {
            chosen(): ("/v1/predict", body, lambda a: a["output"]["score"]),
            f"{chosen()} v2": ("/v2/models/dense/infer", numbers(), first_output),
            "function": ("/v1/predict", {"model": "describe", "input": TEXT}, lambda a: a["output"]),
        },
    )


def fastapi(_: Path) -> Entry:
    port = free_port()
    options = ["--port", str(port), "--log-level", "warning", "--no-access-log", "--workers", str(workers())]
    command = [sys.executable, "-m", "uvicorn", "rivals.dense_fastapi:app", *options]
    server = running("fastapi", command, port, "/openapi.json")
    return Entry(
        server,
        {
            chosen(): ("/predict", {"x": row()}, lambda a: a["score"]),
            "function": ("/describe", {"text": TEXT}, lambda a: a),
        },
    )


def litserve(kind: str) -> Any:
    def start(_: Path) -> Entry:
        port = free_port()
        command = [sys.executable, str(HERE / "rivals" / "dense_litserve.py"), str(port), kind]
        server = running("litserve", command, port, "/health")
        tasks = {chosen(): ("/predict", {"x": row()}, lambda a: a["score"])}
        if kind != "dense":
            tasks = {"function": ("/predict", {"text": TEXT}, lambda a: a)}
        return Entry(server, tasks)

    return start


def bentoml(_: Path) -> Entry:
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "rivals.dense_bentoml:Dense", "--port", str(port)]
    server = running("bentoml", command, port, "/readyz", BENTOML_DO_NOT_TRACK="1")
    return Entry(
        server,
        {
            chosen(): ("/predict", {"x": [row()]}, lambda a: a[0]),
            "function": ("/describe", {"text": TEXT}, lambda a: a),
        },
    )


def mlserver(folder: Path) -> Entry:
    port, made = free_port(), folder / "mlserver"
    made.mkdir()
    settings = {
        "http_port": port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": 0,
    }
    (made / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "debug": False, **settings}))
    model = {"name": "dense", "implementation": "rivals.dense_mlserver.Dense", "max_batch_size": 32}
    (made / "model-settings.json").write_text(json.dumps({**model, "max_batch_time": 0.001}))
    if not Path(sys.executable).with_name("mlserver").exists():
        raise SystemExit("mlserver is not installed")
    command = [str(Path(sys.executable).with_name("mlserver")), "start", str(made)]
    # One process in any case: with workers it answers that the model is not ready, after saying that it is.
    server = running("mlserver", command, port, "/v2/health/ready", BENCH_WORKERS="1")
    return Entry(server, {f"{chosen()} v2": ("/v2/models/dense/infer", numbers(), first_output)})


def pytriton(_: Path) -> Entry:
    port = free_port()
    script = str(HERE / "rivals" / "dense_pytriton.py")
    command = [python("pytriton"), script, str(port), str(free_port()), str(free_port())]
    # Its server has to find the library of the interpreter that started it, not the system's.
    server = running(
        "pytriton", command, port, "/v2/models/dense", LD_LIBRARY_PATH=sysconfig.get_config_var("LIBDIR")
    )
    return Entry(server, {f"{chosen()} v2": ("/v2/models/dense/infer", numbers(), first_output)})


def ray(_: Path) -> Entry:
    port = free_port()
    command = [sys.executable, str(HERE / "rivals" / "dense_ray.py"), str(port)]
    # Its workers find the model by the path, and its own watch over processes must not mind that they are stopped.
    patience = {"RAY_health_check_failure_threshold": "1000", "RAY_health_check_timeout_ms": "600000"}
    best = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    server = running("ray", command, port, "/predict", **best, **patience)
    return Entry(
        server,
        {
            chosen(): ("/predict", {"x": row()}, lambda a: a["score"]),
            "function": ("/describe", {"text": TEXT}, lambda a: a),
        },
    )


STARTS: dict[str, list[Any]] = {
    "ray": [ray],
    "fastapi": [fastapi],
    "litserve": [litserve("dense"), litserve("describe")],
    "bentoml": [bentoml],
    "mlserver": [mlserver],
    "pytriton": [pytriton],
}
PACKAGES = {"pytriton": "nvidia-pytriton"}
PYTHONS: dict[str, str] = {}


def python(rival: str) -> str:
    """The interpreter that has it: --python, or this one."""
    return PYTHONS.get(rival, sys.executable)


def version(rival: str) -> dict[str, str]:
    """Which one it is, as its own interpreter says."""
    package = PACKAGES.get(rival, rival)
    if python(rival) == sys.executable:
        return harness.versions(package)
    ask_it = f"import importlib.metadata as m; print(m.version({package!r}))"
    found = subprocess.run([python(rival), "-c", ask_it], capture_output=True, text=True, check=True)
    return {package: found.stdout.strip()}


def main() -> None:
    parser = harness.parser("predict", __doc__)
    parser.add_argument("--rivals", default=",".join(STARTS), help="(default %(default)s)")
    parser.add_argument("--network", default="dense", choices=["dense", "cnn"], help="(default %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes of each rival (default %(default)s)"
    )
    parser.add_argument(
        "--python", action="append", default=[], metavar="RIVAL=FILE", help="the interpreter that has it"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of one turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-write", action="store_true", help="only show the lines")
    parser.add_argument("--limit", type=int, default=600, help="seconds for all of it (default %(default)s)")
    arguments = parser.parse_args()
    signal.signal(
        signal.SIGALRM, lambda *_: sys.exit(f"bench_predict: not done within {arguments.limit} seconds")
    )
    signal.alarm(arguments.limit)
    # The servers' processes read these too.
    os.environ.update(BENCH_NETWORK=arguments.network, BENCH_WORKERS=str(arguments.workers))
    PYTHONS.update(item.split("=", 1) for item in arguments.python)
    import torch

    with torch.inference_mode():
        score = network()(torch.tensor([row()]))[0].tolist()
    expected = {arguments.network: score, "function": describe(TEXT)}
    rivals = [name for name in arguments.rivals.split(",") if name]
    with tempfile.TemporaryDirectory() as folder:
        entries: list[Entry] = []
        try:
            for start in [headrace, *(start for name in rivals for start in STARTS[name])]:
                entries.append(start(Path(folder)))
                if arguments.network != "dense":
                    entries[-1].tasks.pop("function", None)  # that is measured beside the dense one
                    if not entries[-1].tasks:
                        entries.pop().server.stop()
                        continue
                entries[-1].check(expected)
                for task in entries[-1].tasks:
                    entries[-1].measure(task, 1.0)  # warm
                entries[-1].server.send(signal.SIGSTOP)
            places = [(entry, task) for entry in entries for task in entry.tasks]
            rates: list[list[float]] = [[] for _ in places]
            latencies: list[list[float]] = [[] for _ in places]
            costs: list[list[float]] = [[] for _ in places]
            for _ in range(arguments.rounds):
                for place, (entry, task) in enumerate(places):
                    entry.server.send(signal.SIGCONT)
                    rate, latency, cost = entry.measure(task, arguments.seconds)
                    entry.server.send(signal.SIGSTOP)
                    rates[place].append(rate)
                    latencies[place].append(latency)
                    costs[place].append(cost)
        finally:
            for entry in entries:
                entry.server.stop()
    lines = [
        {
            "server": entry.server.name, "task": task, "rival_workers": workers(), "rival_threads": threads(),
            "connections": 32, "unit": "requests/s",
            **harness.spread(rates[place], 1), "p50_ms": round(statistics.median(latencies[place]), 2),
            "cpu_us_per_request": round(statistics.median(costs[place]), 1),
            "versions": {**harness.versions("headrace", "torch"), **version(entry.server.name)},
        }
        for place, (entry, task) in enumerate(places)
    ]  # fmt: skip
    if arguments.no_write:
        for line in lines:
            print(json.dumps(line))
        return
    harness.write("predict", lines, arguments.out)


if __name__ == "__main__":
    main()
