"""Writes the tables of figures in README.md and README.zh.md from the newest lines in benchmarks/results/.

Tables stand between `<!-- figures -->` and `<!-- /figures -->`. Only whole runs count: lines of one run share
their date, and a run without headrace or without a rival is not shown.

    python benchmarks/table.py            # show what would be written
    python benchmarks/table.py --write    # into the files
    python benchmarks/table.py --check    # exit code 1 when a file is out of date
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness

Line = dict[str, Any]
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"

WORDS = {
    "en": {
        "workload": "texts",
        "threads": "threads",
        "times": "times sentence-transformers / ONNX Runtime",
        "embed": "Texts embedded a second (f32, in arrival order; more is better)",
        "http": "Over HTTP: one short text a request, {connections} connections",
        "server": "server",
        "rate": "requests/s",
        "overload": "At {factor} times its capacity",
        "capacity": "capacity",
        "goodput": "answered in time",
        "p99": "p99 of those admitted",
        "refused": "p99 of a refusal (429)",
        "lost": "lost",
        "share": "of the peak",
        "origin": "{cpu}, {cpus} CPUs; commit {commit}, {date}. Median of {n}; from `{file}`.",
    },
    "zh": {
        "workload": "文本",
        "threads": "线程",
        "times": "相对 sentence-transformers / ONNX Runtime 的倍数",
        "embed": "每秒嵌入的文本数（f32，按到达顺序；越大越好）",
        "http": "HTTP：每个请求一条短文本，{connections} 个连接",
        "server": "服务",
        "rate": "请求/秒",
        "overload": "负载为容量的 {factor} 倍时",
        "capacity": "容量",
        "goodput": "按时应答",
        "p99": "被接纳请求的 p99",
        "refused": "拒绝（429）的 p99",
        "lost": "丢失",
        "share": "占峰值",
        "origin": "{cpu}，{cpus} 个 CPU；提交 {commit}，{date}。{n} 次的中位数；来自 `{file}`。",
    },
}


def newest_run(
    name: str, wanted: Callable[[Line], bool], complete: Callable[[list[Line]], bool]
) -> list[Line]:
    """The lines of the latest complete run in results/NAME.jsonl, in their order there."""
    path = harness.RESULTS / f"{name}.jsonl"
    if not path.exists():
        return []
    runs: dict[str, list[Line]] = {}
    for text in path.read_text().splitlines():
        line = json.loads(text)
        if wanted(line):
            runs.setdefault(line["date"], []).append(line)
    whole = [date for date, lines in runs.items() if complete(lines)]
    return runs[max(whole)] if whole else []


def with_rival(key: str) -> Callable[[list[Line]], bool]:
    """True for runs in which headrace and somebody else took part."""

    def complete(lines: list[Line]) -> bool:
        names = {line[key] for line in lines}
        return "headrace" in names and len(names) > 1

    return complete


def of_demo(line: Line, workload: str) -> bool:
    """Whether a line is of the demo model, as all were that do not name theirs."""
    return line["workload"] == workload and line.get("model", "minilm") == "minilm"


def with_reference(lines: list[Line]) -> bool:
    """True for runs that can fill the first columns of the table of embeddings."""
    return {"headrace", "sentence-transformers"} <= {line["engine"] for line in lines}


def render(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; all columns but the first are right-aligned."""
    rule = ["---"] + ["--:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows])


def origin(words: dict[str, str], line: Line, file: str) -> str:
    cpus = {
        "cpu": line["cpu"],
        "cpus": line["cpus"],
        "commit": line["commit"] or "?",
        "date": line["date"][:10],
    }
    return words["origin"].format(**cpus, n=line.get("n", 1), file=f"benchmarks/results/{file}")


def times(ours: float, theirs: float | None) -> str:
    return "-" if not theirs else f"{ours / theirs:.2f}"


def embed_section(words: dict[str, str]) -> list[str]:
    rows, last = [], None
    for workload in ("short", "mixed"):
        lines = newest_run("embed", lambda line, w=workload: of_demo(line, w), with_reference)
        for threads in sorted({line["threads"] for line in lines}):
            rates = {line["engine"]: line["median"] for line in lines if line["threads"] == threads}
            if "headrace" not in rates:
                continue
            ours = next(line for line in lines if line["engine"] == "headrace" and line["threads"] == threads)
            share = ours.get("share_of_peak")
            rivals = [rates.get("sentence-transformers"), rates.get("onnxruntime")]
            rows.append(
                [f"{workload} ({ours['texts']})", str(threads)]
                + [f"{rate:.0f}" if rate else "-" for rate in (rates["headrace"], *rivals)]
                + [" / ".join(times(rates["headrace"], rival) for rival in rivals)]
                + [f"{100 * share:.0f} %" if share else "-"]
            )
            last = ours
    if last is None:
        return []
    header = [words["workload"], words["threads"], "headrace", "sentence-transformers", "ONNX Runtime"]
    table = render([*header, words["times"], words["share"]], rows)
    return [f"**{words['embed']}**", table, origin(words, last, "embed.jsonl")]


def http_section(words: dict[str, str]) -> list[str]:
    lines = newest_run("http", lambda _: True, with_rival("server"))
    if not lines:
        return []
    rows = [
        [line["server"], f"{line['median']:.0f}", f"{line['p50_ms']:.1f} ms", f"{line['p99_ms']:.1f} ms"]
        for line in lines
    ]
    title = words["http"].format(connections=lines[0]["connections"])
    table = render([words["server"], words["rate"], "p50", "p99"], rows)
    return [f"**{title}**", table, origin(words, lines[0], "http.jsonl")]


def _is_rest_at_twice(line: Line) -> bool:
    """Lines from before there was another protocol or factor have neither."""
    return line.get("protocol", "rest") == "rest" and line.get("factor", 2.0) == 2.0


def overload_section(words: dict[str, str]) -> list[str]:
    lines = newest_run("overload", _is_rest_at_twice, bool)
    if not lines:
        return []
    line = lines[-1]
    capacity = line["capacity"]["median"]
    title = words["overload"].format(factor=f"{line['offered'] / capacity:.1f}")
    header = ["", words["capacity"], words["goodput"], words["p99"], words["refused"], words["lost"]]
    row = [
        line["server"],
        f"{capacity:.0f} {words['rate']}",
        f"{100 * line['share_of_capacity']:.0f} %",
        f"{line['p99_ms']:.0f} ms (<= {line['bound_ms']:.0f} ms)",
        f"{line['refused_p99_ms']:.1f} ms" if line["refused_p99_ms"] is not None else "-",
        str(line["lost"]),
    ]
    return [f"**{title}**", render(header, [row]), origin(words, line, "overload.jsonl")]


def figures(language: str) -> str:
    words = WORDS[language]
    parts = [*embed_section(words), *http_section(words), *overload_section(words)]
    return "\n\n".join(parts)


def updated(page: str, content: str) -> str:
    """The page with the text between the markers replaced; the end marker is added where it is missing."""
    before, marker, after = page.partition(BEGIN)
    if not marker:
        raise SystemExit(f"the page has no {BEGIN}")
    rest = after.partition(END)[2] if END in after else after
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{rest}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    stale = []
    for language, name in (("en", "README.md"), ("zh", "README.zh.md")):
        content = figures(language)
        path: Path = harness.ROOT / name
        if not (arguments.write or arguments.check):
            print(content + "\n")
            continue
        page = path.read_text()
        fresh = updated(page, content)
        if fresh != page:
            stale.append(name)
            if arguments.write:
                path.write_text(fresh)
    if arguments.check and stale:
        sys.exit(f"out of date: {', '.join(stale)}; run python benchmarks/table.py --write")


if __name__ == "__main__":
    main()
