"""Writes cpp/text/unicode_tables.inc: what a BERT tokenizer must know about each code point.

    python3.11 tools/make_unicode_tables.py            # writes the file
    python3.11 tools/make_unicode_tables.py --check    # fails when the file is not what would be written

The reference tokenizer mixes Unicode versions: its character categories are those of Unicode 8, its combining
classes and decompositions those of Unicode 9, its lower case that of Unicode 17 and its word characters
those of Unicode 16. Ids must be equal for every code point, so each table below starts from Python's
unicodedata (Unicode 14) and is corrected by a list of the code points where the reference differs. The lists
were found by asking the reference about all 1,112,064 scalar values; tests/parity asks again.
"""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

UNICODE_VERSION = "14.0.0"
OUTPUT = Path(__file__).resolve().parent.parent / "cpp" / "text" / "unicode_tables.inc"


def _ranges(text: str) -> frozenset[int]:
    """The code points of "41 61-7A"."""
    found: set[int] = set()
    for item in text.split():
        first, _, last = item.partition("-")
        found.update(range(int(first, 16), int(last or first, 16) + 1))
    return frozenset(found)


# Format characters assigned after Unicode 8: kept by the reference as any unassigned code point is.
NOT_CONTROL = _ranges("890-891 8E2 110CD 13430-13438")

# Punctuation assigned after Unicode 8, and two code points that stopped being punctuation since.
NOT_PUNCTUATION = _ranges(
    """61D 9FD A76 C77 C84 1B7D-1B7E 2E43-2E4F 2E52-2E5D 10EAD 10F55-10F59 10F86-10F89 1144B-1144F
    1145A-1145B 1145D 11660-1166C 116B9 1183B 11944-11946 119E2 11A3F-11A46 11A9A-11A9C 11A9E-11AA2
    11C41-11C45 11C70-11C71 11EF7-11EF8 11FFF 12FF1-12FF2 16E97-16E9A 16FE2 1E95E-1E95F"""
)
FORMER_PUNCTUATION = _ranges("166D 111C9")

# Non-spacing marks assigned (or made so) after Unicode 8, and one that stopped being one since.
NOT_NONSPACING = _ranges(
    """7FD 898-89F 8CA-8E1 9FE AFA-AFF B55 C04 C3C D00 D3B-D3C D81 EBA 180F 1885-1886 1ABF-1ACE 1DF6-1DFB
    A82C A8C5 A8FF A9BD 10D24-10D27 10EAB-10EAC 10F46-10F50 10F82-10F85 11070 11073-11074 110C2 111C9
    111CF 1123E 1133B 11438-1143F 11442-11444 11446 1145E 1182F-11837 11839-1183A 1193B-1193C 1193E
    11943 119D4-119D7 119DA-119DB 119E0 11A01-11A0A 11A33-11A38 11A3B-11A3E 11A47 11A51-11A56
    11A59-11A5B 11A8A-11A96 11A98-11A99 11C30-11C36 11C38-11C3D 11C3F 11C92-11CA7 11CAA-11CB0
    11CB2-11CB3 11CB5-11CB6 11D31-11D36 11D3A 11D3C-11D3D 11D3F-11D45 11D47 11D90-11D91 11D95 11D97
    11EF3-11EF4 16F4F 16FE4 1CF00-1CF2D 1CF30-1CF46 1E000-1E006 1E008-1E018 1E01B-1E021 1E023-1E024
    1E026-1E02A 1E130-1E136 1E2AE 1E2EC-1E2EF 1E944-1E94A"""
)
FORMER_NONSPACING = _ranges("1734")

# Combining marks assigned after Unicode 9: class 0 in the reference.
CLASS_ZERO = _ranges(
    """7FD 898-89F 8CA-8D3 9FE C3C D3B-D3C EBA 1715 1ABF-1ACE 1DF6-1DFA A82C 10D24-10D27 10EAB-10EAC
    10F46-10F50 10F82-10F85 11070 1133B 1145E 11839-1183A 1193D-1193E 11943 119E0 11A34 11A47 11A99
    11D42 11D44-11D45 11D97 16FF0-16FF1 1E130-1E136 1E2AE 1E2EC-1E2EF"""
)

# Decomposes since Unicode 13.
NOT_DECOMPOSED = _ranges("11938")

# Word characters (UTS 18, annex C) that the categories L, M, Nd, Nl and Pc of Unicode 14 do not give: the
# alphabetic symbols among the enclosed letters, and what Unicode 15 to 16 assigned.
WORD = _ranges(
    """897 CF3 ECE 1C89-1C8A 24B6-24E9 A7CB-A7CD A7DA-A7DC 105C0-105F3 10D40-10D65 10D69-10D6D 10D6F-10D85
    10EC2-10EC4 10EFC-10EFF 1123F-11241 11380-11389 1138B 1138E 11390-113B5 113B7-113C0 113C2 113C5
    113C7-113CA 113CC-113D3 113E1-113E2 116D0-116E3 11BC0-11BE0 11BF0-11BF9 11F00-11F10 11F12-11F3A
    11F3E-11F42 11F50-11F5A 1342F 13440-13455 13460-143FA 16100-16139 16D40-16D6C 16D70-16D79 18CFF
    1B132 1B155 1CCF0-1CCF9 1DF25-1DF2A 1E030-1E06D 1E08F 1E4D0-1E4F9 1E5D0-1E5FA 1F130-1F149
    1F150-1F169 1F170-1F189 2B739 2EBF0-2EE5D 31350-323AF"""
)

# Capitals assigned in Unicode 15 to 17: (first, last, distance to the small letter).
LOWER_ADDED = (
    (0x1C89, 0x1C89, 1),
    (0xA7CB, 0xA7CB, 0x264 - 0xA7CB),
    (0xA7CC, 0xA7CC, 1),
    (0xA7CE, 0xA7CE, 1),
    (0xA7D2, 0xA7D2, 1),
    (0xA7D4, 0xA7D4, 1),
    (0xA7DA, 0xA7DA, 1),
    (0xA7DC, 0xA7DC, 0x19B - 0xA7DC),
    (0x10D50, 0x10D65, 0x20),
    (0x16EA0, 0x16EB8, 0x1B),
)

# Characters that end up between spaces; the blocks are fixed by the original BERT code.
IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)

WHITE_SPACE = _ranges("9-D 20 85 A0 1680 2000-200A 2028-2029 202F 205F 3000")

# The bits of CharInfo::flags in cpp/text/unicode.h.
CONTROL, SPACE, PUNCTUATION, NONSPACING, IDEOGRAPH, WORD_CHARACTER, DECOMPOSES = (1 << i for i in range(7))

HANGUL = range(0xAC00, 0xD7A4)
BLOCK_BITS = 7
DOTTED_I = 0x130  # the one character whose lower case is two characters; unicode.cc knows it


def flags_of(c: int) -> int:
    """The CharInfo flags of one code point."""
    category = unicodedata.category(chr(c))
    flags = 0
    if category in ("Cc", "Cf", "Co") and c not in NOT_CONTROL and c not in (9, 10, 13):
        flags |= CONTROL
    if c in (0, 0xFFFD):  # the replacement character is dropped with the controls
        flags |= CONTROL
    if c in WHITE_SPACE:
        flags |= SPACE
    ascii_symbol = 0x21 <= c <= 0x7E and not chr(c).isalnum()
    punctuation = category[0] == "P" and c not in NOT_PUNCTUATION
    if ascii_symbol or punctuation or c in FORMER_PUNCTUATION:
        flags |= PUNCTUATION
    if (category == "Mn" and c not in NOT_NONSPACING) or c in FORMER_NONSPACING:
        flags |= NONSPACING
    if any(first <= c <= last for first, last in IDEOGRAPHS):
        flags |= IDEOGRAPH
    word = category[0] in "LM" or category in ("Nd", "Nl", "Pc") or c in (0x200C, 0x200D)
    if word or c in WORD:
        flags |= WORD_CHARACTER
    if decomposition_of(c):
        flags |= DECOMPOSES
    return flags


def class_of(c: int) -> int:
    """The canonical combining class."""
    return 0 if c in CLASS_ZERO else unicodedata.combining(chr(c))


def lower_distance_of(c: int) -> int:
    """Small letter minus capital; 0 for the rest."""
    for first, last, distance in LOWER_ADDED:
        if first <= c <= last:
            return distance
    if c == DOTTED_I:
        return 0
    lower = chr(c).lower()
    if len(lower) != 1:
        sys.exit(f"U+{c:04X} has a lower case of several characters")
    return ord(lower) - c


def decomposition_of(c: int) -> tuple[int, ...]:
    """The full canonical decomposition; empty for Hangul syllables, which unicode.cc computes."""
    if c in HANGUL or c in NOT_DECOMPOSED or 0xD800 <= c < 0xE000:
        return ()
    full = unicodedata.normalize("NFD", chr(c))
    return () if full == chr(c) else tuple(map(ord, full))


def two_stage(values: Sequence[int]) -> tuple[list[int], list[int]]:
    """(index of each block, the distinct blocks one after the other)."""
    size = 1 << BLOCK_BITS
    blocks: dict[tuple[int, ...], int] = {}
    index = []
    for start in range(0, len(values), size):
        block = tuple(values[start : start + size])
        index.append(blocks.setdefault(block, len(blocks)))
    return index, [value for block in blocks for value in block]


def array(type_name: str, name: str, values: Sequence[object]) -> str:
    """A C++ array definition."""
    lines, line = [], ""
    for value in values:
        item = f"{value},"
        if len(line) + len(item) > 108:
            lines.append(line)
            line = ""
        line += item
    lines.append(line)
    return f"{type_name} const {name}[{len(values)}] = {{\n" + "\n".join(lines) + "\n};\n"


def make() -> str:
    """The text of the generated file."""
    if unicodedata.unidata_version != UNICODE_VERSION:
        sys.exit(f"unicodedata is {unicodedata.unidata_version}; needed is {UNICODE_VERSION} (Python 3.11)")
    records: dict[tuple[int, int, int], int] = {(0, 0, 0): 0}
    record_of, decomposition_at, pool = [], [], [0]
    for c in range(0x110000):
        record = (flags_of(c), class_of(c), lower_distance_of(c))
        record_of.append(records.setdefault(record, len(records)))
        decomposition = decomposition_of(c)
        decomposition_at.append(len(pool) if decomposition else 0)
        if decomposition:
            pool += [len(decomposition), *decomposition]
    info_index, info_blocks = two_stage(record_of)
    decomposition_index, decomposition_blocks = two_stage(decomposition_at)
    if max(len(records), *info_index, *decomposition_index) > 255 or len(pool) > 65535:
        sys.exit("the tables no longer fit their element types")
    rows = [f"{{{distance},{flags},{ccc}}}" for flags, ccc, distance in records]
    parts = [
        "// Generated by tools/make_unicode_tables.py; do not edit. Unicode 14.0 with the reference",
        "// tokenizer's deviations, which that script lists.",
        "// clang-format off",
        f"static_assert(UnicodeTables::kBlockBits == {BLOCK_BITS});",
        array("CharInfo", "UnicodeTables::kRecords", rows),
        array("uint8_t", "UnicodeTables::kInfoIndex", info_index),
        array("uint8_t", "UnicodeTables::kInfoBlocks", info_blocks),
        array("static uint8_t", "kDecompositionIndex", decomposition_index),
        array("static uint16_t", "kDecompositionBlocks", decomposition_blocks),
        "// Length, then that many code points.",
        array("static char32_t", "kDecompositions", pool),
        "// clang-format on",
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Writes the file, or compares it."""
    parser = argparse.ArgumentParser(description="Writes cpp/text/unicode_tables.inc.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    text = make()
    if not parser.parse_args().check:
        OUTPUT.write_text(text, encoding="ascii")
    elif not OUTPUT.exists() or OUTPUT.read_text(encoding="ascii") != text:
        sys.exit(f"{OUTPUT} is not what this script writes; run it without --check")


if __name__ == "__main__":
    main()
