"""Writes cpp/text/unicode_properties.inc: named sets of characters, case folding and scripts.

    python3.11 tools/make_unicode_properties.py            # writes the file
    python3.11 tools/make_unicode_properties.py --check    # fails when the file is not what would be written

The reference matches regular expressions with Oniguruma, whose tables are those of Unicode 16. Categories and
case foldings start from Python's unicodedata (Unicode 14) and are corrected by unicode_properties.txt, which
also holds what unicodedata does not know. There a line is

    category C: ranges          the code points whose general category is C, where Unicode 14 has another
    property NAME: ranges       the code points with a property
    script NAMES: ranges        the code points of a script
    reference_script NAME: ...  where the pre-tokenizer UnicodeScripts, which has older tables, differs

The lists were found by asking the reference about all 1,112,064 scalar values.
"""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from make_unicode_tables import LOWER_ADDED, UNICODE_VERSION, array

HERE = Path(__file__).resolve().parent
DATA = HERE / "unicode_properties.txt"
OUTPUT = HERE.parent / "cpp" / "text" / "unicode_properties.inc"

SURROGATES = range(0xD800, 0xE000)
SCRIPT_BLOCK_BITS = 7

# What the pre-tokenizer UnicodeScripts takes for Han, the prolonged sound mark included.
HAN = ("han", "hiragana", "katakana")
SOUND_MARK = 0x30FC

# Letters of Unicode 15 and 16 whose folding is not their lower case, or that fold and are no capitals.
FOLDING_ADDED = ((0x1C89, 0x1C8A),)
# Folds since later versions than Oniguruma's.
FOLDING_TOO_NEW = frozenset({0xA7CE, 0xA7D2, 0xA7D4, *range(0x16EA0, 0x16EB9)})


def _scalars() -> Iterable[int]:
    return (c for c in range(0x110000) if c not in SURROGATES)


def _ranges(points: Iterable[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for c in sorted(points):
        if found and found[-1][1] == c - 1:
            found[-1] = (found[-1][0], c)
        else:
            found.append((c, c))
    return found


def _points(text: str) -> set[int]:
    found: set[int] = set()
    for item in text.split():
        first, _, last = item.partition("-")
        found.update(range(int(first, 16), int(last or first, 16) + 1))
    return found


def read_data() -> list[tuple[str, list[str], set[int]]]:
    """(kind, names, code points) of each line."""
    rows = []
    for line in DATA.read_text(encoding="ascii").splitlines():
        if not line or line.startswith("#"):
            continue
        head, _, ranges = line.partition(":")
        kind, *names = head.split()
        rows.append((kind, names, _points(ranges)))
    return rows


def foldings() -> tuple[list[str], list[str]]:
    """Rows of kSimpleFoldings and kLongFoldings."""
    folded = {c: chr(c).casefold() for c in _scalars() if chr(c).casefold() != chr(c)}
    for first, last, distance in LOWER_ADDED:
        folded.update({c: chr(c + distance) for c in range(first, last + 1) if c not in FOLDING_TOO_NEW})
    folded.update({c: chr(to) for c, to in FOLDING_ADDED})
    simple = [f"{{{c},{ord(text)}}}" for c, text in sorted(folded.items()) if len(text) == 1]
    long = []
    for c, text in sorted(folded.items()):
        if len(text) > 1:
            parts = [*map(ord, text), 0][:3]
            long.append(f"{{{c},{{{','.join(map(str, parts))}}}}}")
    return simple, long


def properties(rows: list[tuple[str, list[str], set[int]]]) -> tuple[list[str], list[str]]:
    """Rows of kProperties and kPropertyRanges."""
    category = {c: unicodedata.category(chr(c)) for c in _scalars()}
    for kind, names, points in rows:
        if kind == "category":
            category.update(dict.fromkeys(points, names[0]))
    sets: dict[str, set[int]] = {}
    for c, name in category.items():
        sets.setdefault(name.lower(), set()).add(c)
    named = [([name], points) for name, points in sets.items()]
    named += [(names, points) for kind, names, points in rows if kind in ("property", "script")]
    ranges: list[str] = []
    table: dict[str, str] = {}
    for names, points in named:
        begin = len(ranges)
        ranges += [f"{{{first},{last}}}" for first, last in _ranges(points)]
        for name in names:
            key = name.replace("_", "")
            table[key] = f'{{"{key}",{begin},{len(ranges)}}}'
    if len(ranges) > 65535:
        sys.exit("the table of ranges no longer fits its element type")
    return [table[key] for key in sorted(table)], ranges


def scripts(rows: list[tuple[str, list[str], set[int]]]) -> tuple[list[int], list[int]]:
    """kScriptIndex and kScriptBlocks."""
    script_of: dict[int, str] = {}
    for kind, names, points in rows:
        if kind == "script":
            script_of.update(dict.fromkeys(points, names[0]))
    for kind, names, points in rows:
        if kind == "reference_script":
            script_of.update(dict.fromkeys(points, names[0]))
    script_of[SOUND_MARK] = "han"
    script_of[ord(" ")] = "none"
    numbers = {"none": 0}
    values = []
    for c in range(0x110000):
        name = script_of.get(c, "none")
        values.append(numbers.setdefault("han" if name in HAN else name, len(numbers)))
    size = 1 << SCRIPT_BLOCK_BITS
    blocks: dict[tuple[int, ...], int] = {}
    index = [
        blocks.setdefault(tuple(values[start : start + size]), len(blocks))
        for start in range(0, len(values), size)
    ]
    if max(index) > 255 or len(numbers) > 256:
        sys.exit("the table of scripts no longer fits its element types")
    return index, [value for block in blocks for value in block]


def make() -> str:
    """The text of the generated file."""
    if unicodedata.unidata_version != UNICODE_VERSION:
        sys.exit(f"unicodedata is {unicodedata.unidata_version}; needed is {UNICODE_VERSION} (Python 3.11)")
    rows = read_data()
    table, ranges = properties(rows)
    simple, long = foldings()
    index, blocks = scripts(rows)

    def rows_of(type_name: str, name: str, values: Sequence[object]) -> str:
        return array(f"constexpr {type_name}", name, values).replace(" const ", " ", 1)

    parts = [
        "// Generated by tools/make_unicode_properties.py; do not edit. Unicode 16.0.",
        "// clang-format off",
        rows_of("CharRange", "kPropertyRanges", ranges),
        "// Sorted by name.",
        rows_of("NamedRanges", "kProperties", table),
        "// Sorted by character.",
        rows_of("SimpleFolding", "kSimpleFoldings", simple),
        rows_of("LongFolding", "kLongFoldings", long),
        f"constexpr int kScriptBlockBits = {SCRIPT_BLOCK_BITS};",
        rows_of("uint8_t", "kScriptIndex", index),
        rows_of("uint8_t", "kScriptBlocks", blocks),
        "// clang-format on",
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Writes the file, or compares it."""
    parser = argparse.ArgumentParser(description="Writes cpp/text/unicode_properties.inc.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    text = make()
    if not arguments.check:
        OUTPUT.write_text(text, encoding="ascii")
    elif not OUTPUT.exists() or OUTPUT.read_text(encoding="ascii") != text:
        sys.exit(f"{OUTPUT} is not what this script writes; run it without --check")


if __name__ == "__main__":
    main()
