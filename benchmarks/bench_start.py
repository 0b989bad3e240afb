"""What a user waits for before the first answer: `import headrace`, `headrace serve` until ready, and the wheel's size.

python benchmarks/bench_start.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import harness

IMPORT = "import time; t = time.perf_counter(); import headrace; print(time.perf_counter() - t)"


def import_seconds(statement: str = IMPORT) -> float:
    """Of a fresh interpreter, without the interpreter's own start."""
    return float(subprocess.run([sys.executable, "-c", statement], capture_output=True, check=True).stdout)


def ready_seconds(model: Path) -> float:
    """From the start of the process to the line that says it listens and the model is loaded."""
    command = [sys.executable, "-m", "headrace.cli", "serve", "--port", "0", "--json", str(model)]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - start
        process.terminate()
        process.wait(30)
    json.loads(line)  # the ready line, or the start failed
    return seconds


def wheel_megabytes() -> float:
    """The wheel that `pip wheel .` builds here."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--wheel-dir",
            folder,
            str(harness.ROOT),
        ]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("headrace-*.whl")
        return wheel.stat().st_size / 1e6


def main() -> None:
    parser = harness.parser("start", __doc__)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    model = harness.model_path(arguments.model)
    import_seconds()  # the byte code is written once
    ready_seconds(model)
    imports = [import_seconds() for _ in range(arguments.rounds)]
    with_engine = [
        import_seconds(IMPORT.replace("import headrace;", "from headrace import Engine;")) for _ in imports
    ]
    ready = [ready_seconds(model) for _ in imports]
    lines = [
        {"what": "import headrace", "unit": "s", **harness.spread(imports, 4)},
        {"what": "from headrace import Engine", "unit": "s", **harness.spread(with_engine, 4)},
        {"what": "headrace serve until ready", "unit": "s", **harness.spread(ready)},
        {"what": "wheel", "unit": "MB", **harness.spread([wheel_megabytes()])},
    ]
    harness.write(
        "start", [{**line, "versions": harness.versions("headrace")} for line in lines], arguments.out
    )


if __name__ == "__main__":
    main()
