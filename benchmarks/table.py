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
_ENGINES = {"headrace-auto": "headrace", "llama": "llama.cpp", "openvino": "OpenVINO GenAI"}
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"

WORDS = {
    "en": {
        "kernels": "kernels",
        "texts": "texts",
        "threads": "threads",
        "precision": "precision",
        "best_rival": "best rival",
        "times": "times",
        "share": "of the peak",
        "embed": "Texts embedded a second by all-MiniLM-L6-v2, one thread (in arrival order; more is better)",
        "generate": "Tokens a second of language models in 4 and 8 bits, beside others with the same file",
        "model": "model",
        "read": "reading 512 tokens",
        "write": "writing one text",
        "write_32": "writing 32 texts",
        "engine": "engine",
        "tokenizers": "Text into token ids, MB/s on one thread: text never seen before / text seen before",
        "family": "vocabulary",
        "predict": "A small dense torch model and a Python function over HTTP, {connections} connections, requests/s",
        "dense": "dense model",
        "function": "function",
        "cnn": "The same of a convolutional network of some 7 ms of one processor a picture",
        "http": "Over HTTP: one short text a request, {connections} connections",
        "server": "server",
        "rate": "requests/s",
        "overload": "At {factor} times its capacity",
        "capacity": "capacity",
        "goodput": "answered in time",
        "p99": "p99 of those admitted",
        "refused": "p99 of a refusal (429)",
        "lost": "lost",
        "origin": "{cpu}, {cpus} CPUs; {isa}commit {commit}, {date}. Median of {n}; from `{file}`.",
    },
    "zh": {
        "kernels": "指令集",
        "texts": "文本",
        "threads": "线程",
        "precision": "精度",
        "best_rival": "最快的对手",
        "times": "倍数",
        "share": "占峰值",
        "embed": "all-MiniLM-L6-v2 每秒嵌入的文本数，单线程（按到达顺序；越大越好）",
        "generate": "语言模型（4 位与 8 位）每秒的 token 数，各引擎读同一个文件",
        "model": "模型",
        "read": "读入 512 个 token",
        "write": "生成一条文本",
        "write_32": "同时生成 32 条文本",
        "engine": "引擎",
        "tokenizers": "文本转 token id，单线程 MB/s：从未见过的文本 / 见过的文本",
        "family": "词表",
        "predict": "HTTP：小型 torch 全连接模型与 Python 函数，{connections} 个连接，请求/秒",
        "dense": "全连接模型",
        "function": "函数",
        "cnn": "同上，卷积网络，每张图约占一个处理器 7 毫秒",
        "http": "HTTP：每个请求一条短文本，{connections} 个连接",
        "server": "服务",
        "rate": "请求/秒",
        "overload": "负载为容量的 {factor} 倍时",
        "capacity": "容量",
        "goodput": "按时应答",
        "p99": "被接纳请求的 p99",
        "refused": "拒绝（429）的 p99",
        "lost": "丢失",
        "origin": "{cpu}，{cpus} 个 CPU；{isa}提交 {commit}，{date}。{n} 次的中位数；来自 `{file}`。",
    },
}


def newest_run(
    name: str, wanted: Callable[[Line], bool], complete: Callable[[list[Line]], bool]
) -> list[Line]:
    """The lines of the latest complete run in results/NAME.jsonl, in their order there."""
    runs: dict[str, list[Line]] = {}
    for line in _lines(name):
        if wanted(line):
            runs.setdefault(line["date"], []).append(line)
    whole = [date for date, lines in runs.items() if complete(lines)]
    return runs[max(whole)] if whole else []


def _lines(name: str) -> list[Line]:
    path = harness.RESULTS / f"{name}.jsonl"
    return [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []


def with_rival(key: str, least: int = 1) -> Callable[[list[Line]], bool]:
    """True for runs in which headrace and so many others took part."""

    def complete(lines: list[Line]) -> bool:
        names = {line[key] for line in lines}
        rivals = {name for name in names if not _is_ours(name)}
        return len(rivals) >= least and rivals != names

    return complete


def _is_ours(name: str) -> bool:
    return name.partition("-")[0] == "headrace"


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
        "isa": f"{line['isa']}; " if "isa" in line else "",
    }
    return words["origin"].format(**cpus, n=line.get("n", 1), file=f"benchmarks/results/{file}")


def embed_section(words: dict[str, str]) -> list[str]:
    """One thread; a row for each kernel table, workload and precision, beside the fastest rival of that precision."""
    rows, newest = [], {}
    for isa in ("amx", "avx512_bf16", "avx512_vnni", "avx2"):
        for workload in ("short", "mixed"):
            for precision in ("f32", "bf16", "int8"):
                ours, best = _embed_pair(isa, workload, precision)
                if ours is None or best is None:
                    continue
                newest[isa] = ours
                share = ours.get("share_of_peak")
                rows.append(
                    [
                        isa,
                        f"{workload} ({ours['texts']})",
                        precision,
                        f"{ours['median']:.0f}",
                        f"{best['median']:.0f} ({best['engine']})",
                        f"{ours['median'] / best['median']:.1f}",
                        f"{100 * share:.0f} %" if share else "-",
                    ]
                )
    if not rows:
        return []
    header = [words[name] for name in ("kernels", "texts", "precision")] + ["headrace"]
    table = render([*header, words["best_rival"], words["times"], words["share"]], rows)
    origins = [origin(words, line, "embed.jsonl") for line in newest.values()]
    return [f"**{words['embed']}**", table, *origins]


def _embed_pair(isa: str, workload: str, precision: str) -> tuple[Line | None, Line | None]:
    """Our line of the newest run that had a rival of the same precision, and the fastest rival's."""

    def is_ours(line: Line) -> bool:
        return _is_ours(line["engine"]) and line["isa"] == isa

    lines = newest_run(
        "embed",
        lambda line: (
            line["workload"] == workload
            and line.get("model", "minilm") == "minilm"
            and line["threads"] == 1
            and line.get("precision", "f32") == precision
            # NAME+sorted is given the texts by length, as no live queue is.
            and "+" not in line["engine"]
        ),
        lambda lines: any(map(is_ours, lines)) and not all(_is_ours(line["engine"]) for line in lines),
    )
    ours = next(filter(is_ours, lines), None)
    rivals = [line for line in lines if not _is_ours(line["engine"])]
    return ours, max(rivals, key=lambda line: line["median"], default=None)


def generate_section(words: dict[str, str]) -> list[str]:
    """The newest runs, on two kinds of kernels at most, of each model and number of threads with another engine."""
    rows, newest = [], {}
    kernels: dict[tuple[str, int], dict[str, None]] = {}  # newest first
    for line in reversed(_lines("generate")):
        if "write_32" in line and "isa" in line:
            kernels.setdefault((line["model"], line["threads"]), {})[line["isa"]] = None
    cases = [(isa, *case) for case, isas in sorted(kernels.items()) for isa in list(isas)[:2]]
    for isa, model, threads in cases:
        has_rival = with_rival("engine")
        lines = newest_run(
            "generate",
            lambda line, case=(model, threads): (
                "write_32" in line and (line["model"], line["threads"]) == case
            ),
            lambda lines, isa=isa, has_rival=has_rival: (
                has_rival(lines) and any(line.get("isa") == isa for line in lines)
            ),
        )
        for line in lines:
            rates = (f"{line[key]['median']:.0f}" for key in ("read_512", "write_1", "write_32"))
            rows.append([isa, model, _ENGINES.get(line["engine"], line["engine"]), str(threads), *rates])
        if lines:
            newest[lines[0]["commit"], lines[0]["cpu"]] = {**lines[0], "n": lines[0]["read_512"]["n"]}
    if not rows:
        return []
    header = [words[name] for name in ("kernels", "model", "engine", "threads", "read", "write", "write_32")]
    origins = [origin(words, line, "generate.jsonl") for line in newest.values()]
    return [f"**{words['generate']}**", render(header, rows), *origins]


def tokenizers_section(words: dict[str, str]) -> list[str]:
    """A row for each vocabulary, beside the rival with the right ids that is fastest on new text."""
    rows, last = [], None
    families = {line["family"]: None for line in _lines("tokenizers")}
    for family in families:
        lines = newest_run(
            "tokenizers",
            lambda line, f=family: line["family"] == f and line["threads"] == 1,
            with_rival("engine"),
        )
        ours = next((line for line in lines if line["engine"] == "headrace"), None)
        rivals = [line for line in lines if line["exact"] == 1 and line is not ours]
        if ours is None or not rivals:
            continue
        best = max(rivals, key=lambda line: line["new"]["median"])
        rows.append([family, *(_new_and_repeated(line) for line in (ours, best))])
        rows[-1][-1] += f" ({best['engine']})"
        last = ours
    if last is None:
        return []
    table = render([words["family"], "headrace", words["best_rival"]], rows)
    found = origin(words, {**last, "n": last["new"]["n"]}, "tokenizers.jsonl")
    return [f"**{words['tokenizers']}**", table, found]


def _new_and_repeated(line: Line) -> str:
    return f"{line['new']['median']:.0f} / {line['repeated']['median']:.0f}"


def predict_section(words: dict[str, str]) -> list[str]:
    lines = newest_run(
        "predict",
        lambda line: line["task"] in ("dense", "dense v2", "function"),
        with_rival("server", 6),  # all of them: a run with a few says less
    )
    if not lines:
        return []
    rates = _rates(lines)
    rows = [
        [server, *(rates.get((server, task), "-") for task in ("dense", "function"))]
        for server in dict.fromkeys(line["server"] for line in lines)
    ]
    title = words["predict"].format(connections=lines[0]["connections"])
    table = render([words[name] for name in ("server", "dense", "function")], rows)
    section = [f"**{title}**", table, origin(words, lines[0], "predict.jsonl")]
    costly = newest_run("predict", lambda line: line["task"].startswith("cnn"), with_rival("server"))
    if costly:
        table = render(
            [words["server"], words["rate"]], [[s, rate] for (s, _), rate in _rates(costly).items()]
        )
        section += [f"**{words['cnn']}**", table, origin(words, costly[0], "predict.jsonl")]
    return section


def _rates(lines: list[Line]) -> dict[tuple[str, str], str]:
    """By server and task; of the protocols that one answers (v2 is the Open Inference Protocol), the fastest."""
    rates: dict[tuple[str, str], float] = {}
    for line in lines:
        case = line["server"], line["task"].removesuffix(" v2")
        rates[case] = max(line["median"], rates.get(case, 0))
    return {case: f"{rate:.0f}" for case, rate in rates.items()}


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
    sections = (
        embed_section,
        generate_section,
        tokenizers_section,
        predict_section,
        http_section,
        overload_section,
    )
    return "\n\n".join(part for section in sections for part in section(words))


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
