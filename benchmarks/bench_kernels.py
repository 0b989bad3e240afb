"""The machine's multiply-add peak in f32, for each kernel table that runs here: the ceiling of other figures.

python benchmarks/bench_kernels.py
"""

from __future__ import annotations

import harness


def main() -> None:
    parser = harness.parser("kernels", __doc__)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    core = harness.core()
    measure = getattr(core, "measure_peak_gflops", None)
    if measure is None:
        raise SystemExit("headrace is not built here, or its build cannot measure the peak")
    lines = []
    for isa in core.runnable_isas():
        for threads in arguments.threads:
            values = [measure(isa, threads) for _ in range(arguments.rounds)]
            figures = {"isa": isa, "threads": threads, "unit": "GFLOP/s", **harness.spread(values, 1)}
            lines.append({"engine": "headrace", "measure": "peak", **figures})
    harness.write("kernels", lines, arguments.out)


if __name__ == "__main__":
    main()
