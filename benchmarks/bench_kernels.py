"""Each kernel of the kernel tables beside what this machine could do at most: `headrace bench --kernels`, recorded.

python benchmarks/bench_kernels.py --isa amx avx2
"""

from __future__ import annotations

import harness


def main() -> None:
    parser = harness.parser("kernels", __doc__)
    parser.add_argument("--isa", nargs="+", help="default: all that run here")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=0.05, help="of one measurement")
    arguments = parser.parse_args()
    core = harness.core()
    if core is None:
        raise SystemExit("headrace is not built here")
    from headrace import kernel_bench

    isas = arguments.isa or core.runnable_isas()
    tables = kernel_bench.measure(isas, arguments.threads, arguments.seconds)
    lines = [
        {"engine": "headrace", "measure": "roofline", "unit": "GFLOP/s, GB/s", **table} for table in tables
    ]
    harness.write("kernels", lines, arguments.out)


if __name__ == "__main__":
    main()
