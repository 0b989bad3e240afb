"""Writes cpp/text/unicode_forms.inc: normalization forms and grapheme clusters.

    python3.11 tools/make_unicode_forms.py            # writes the file
    python3.11 tools/make_unicode_forms.py --check    # fails when the file is not what would be written

The reference tokenizer normalizes with the data of Unicode 9 and finds grapheme clusters with those of
Unicode 17. Each table below starts from Python's unicodedata (Unicode 14) and is corrected by a list of
the code points where the reference differs. The lists were found by asking the reference about all 1,112,064
scalar values, alone and beside characters that tell one grapheme property from another. Combining classes and
canonical decompositions are those of make_unicode_tables.py.
"""

from __future__ import annotations

import argparse
import sys
import unicodedata
from pathlib import Path
from typing import Literal

import make_unicode_tables as tables
from make_unicode_tables import array, class_of, decomposition_of, two_stage

OUTPUT = Path(__file__).resolve().parent.parent / "cpp" / "text" / "unicode_forms.inc"

# Compatibility decompositions that came after Unicode 9.
NOT_COMPATIBLE = tables._ranges("32FF A7F2-A7F4 AB69 10781-10785 10787-107B0 107B2-107BA 1F16C 1FBF0-1FBF9")

# Marks (category M) that came after Unicode 9, and what was one then.
NOT_MARK = tables._ranges(
    """7FD 898-89F 8CA-8D3 9FE AFA-AFF B55 C04 C3C D00 D3B-D3C D81 EBA 1715 180F 1ABF-1ACE 1CF7 1DF6-1DFA
    A82C A8FF 10D24-10D27 10EAB-10EAC 10F46-10F50 10F82-10F85 11070 11073-11074 110C2 11145-11146 111C9
    111CE-111CF 1133B 1145E 1182C-1183A 11930-11935 11937-11938 1193B-1193E 11940 11942-11943
    119D1-119D7 119DA-119E0 119E4 11A01-11A0A 11A33-11A39 11A3B-11A3E 11A47 11A51-11A5B 11A8A-11A99
    11D31-11D36 11D3A 11D3C-11D3D 11D3F-11D45 11D47 11D8A-11D8E 11D90-11D91 11D93-11D97 11EF3-11EF6
    16F4F 16F7F-16F87 16FE4 16FF0-16FF1 1CF00-1CF2D 1CF30-1CF46 1E130-1E136 1E2AE 1E2EC-1E2EF"""
)
FORMER_MARK = tables._ranges("1CF2-1CF3")

# Grapheme classes, in the order of the enumeration in cpp/text/unicode_forms.h.
GRAPHEMES = [
    "other",
    "control",
    "extend",
    "linker",
    "non_joiner",
    "zero_width_joiner",
    "spacing_mark",
    "prepend",
    "leading",
    "vowel",
    "trailing",
    "pictograph",
    "consonant",
]

# Where general categories do not give the grapheme class.
GRAPHEME_EXCEPTIONS: dict[str, str] = {
    "consonant": """
        915-939 958-95F 978-97F 995-9A8 9AA-9B0 9B2 9B6-9B9 9DC-9DD 9DF 9F0-9F1 A95-AA8 AAA-AB0 AB2-AB3
        AB5-AB9 AF9 B15-B28 B2A-B30 B32-B33 B35-B39 B5C-B5D B5F B71 C15-C28 C2A-C39 C58-C5A D15-D3A
        1000-102A 103F 1050-1055 105A-105D 1061 1065-1066 106E-1070 1075-1081 108E 1780-17B3 1A20-1A54
        1B0B-1B0C 1B13-1B33 1B45-1B4C 1B83-1BA0 1BAE-1BAF 1BBB-1BBD A989-A98B A98F-A9B2 A9E0-A9E4
        A9E7-A9EF A9FA-A9FE AA60-AA6F AA71-AA73 AA7A AA7E-AA7F AAE0-AAEA ABC0-ABDA 10A00 10A10-10A13
        10A15-10A17 10A19-10A35 11103-11126 11144 11147 11380-11389 1138B 1138E 11390-113B5 11900-11906
        11909 1190C-11913 11915-11916 11918-1192F 11A00 11A0B-11A32 11A50 11A5C-11A83 11F04-11F10
        11F12-11F33""",
    "control": "2065 FFF0-FFF8 13439-1343F E0000 E0002-E001F E0080-E00FF E01F0-E0FFF",
    "extend": """
        897 9BE 9D7 B3E B57 BBE BD7 CC0 CC2 CC7-CC8 CCA-CCB CD5-CD6 D3E D57 DCF DDF ECE 1715 1734
        1ACF-1ADD 1AE0-1AEB 1B35 1B3B 1B3D 1B43 1BAA 1BF2-1BF3 302E-302F A953 FF9E-FF9F 10D69-10D6D
        10EFA-10EFF 111C0 11235 11241 1133E 1134D 11357 113B8 113BB-113C0 113C2 113C5 113C7-113C9
        113CE-113CF 113D2 113E1-113E2 114B0 114BD 115AF 116B6 11930 1193D 11B60 11B62-11B64 11B66
        11F00-11F01 11F36-11F3A 11F40-11F41 11F5A 13440 13447-13455 1611E-16129 1612D-1612F 16FF0-16FF1
        1D165-1D166 1D16D-1D172 1E08F 1E4EC-1E4EF 1E5EE-1E5EF 1E6E3 1E6E6 1E6EE-1E6EF 1E6F5 1F3FB-1F3FF
        E0020-E007F""",
    "leading": "1100-115F A960-A97C",
    "linker": """
        94D 9CD ACD B4D C4D D4D 1039 17D2 1A60 1B44 1BAB A9C0 AAF6 10A3F 11133 113D0 1193E 11A47 11A99
        11F42""",
    "non_joiner": "200C",
    "other": """
        102B-102C 1038 1062-1064 1067-106D 1083 1087-108C 108F 109A-109C 1A61 1A63-1A64 AA7B AA7D
        11720-11721""",
    "pictograph": """
        A9 AE 203C 2049 2122 2139 2194-2199 21A9-21AA 231A-231B 2328 23CF 23E9-23F3 23F8-23FA 24C2
        25AA-25AB 25B6 25C0 25FB-25FE 2600-2604 260E 2611 2614-2615 2618 261D 2620 2622-2623 2626 262A
        262E-262F 2638-263A 2640 2642 2648-2653 265F-2660 2663 2665-2666 2668 267B 267E-267F 2692-2697
        2699 269B-269C 26A0-26A1 26A7 26AA-26AB 26B0-26B1 26BD-26BE 26C4-26C5 26C8 26CE-26CF 26D1
        26D3-26D4 26E9-26EA 26F0-26F5 26F7-26FA 26FD 2702 2705 2708-270D 270F 2712 2714 2716 271D 2721
        2728 2733-2734 2744 2747 274C 274E 2753-2755 2757 2763-2764 2795-2797 27A1 27B0 27BF 2934-2935
        2B05-2B07 2B1B-2B1C 2B50 2B55 3030 303D 3297 3299 1F004 1F02C-1F02F 1F094-1F09F 1F0AF-1F0B0
        1F0C0 1F0CF-1F0D0 1F0F6-1F0FF 1F170-1F171 1F17E-1F17F 1F18E 1F191-1F19A 1F1AE-1F1E5 1F201-1F20F
        1F21A 1F22F 1F232-1F23A 1F23C-1F23F 1F249-1F25F 1F266-1F321 1F324-1F393 1F396-1F397 1F399-1F39B
        1F39E-1F3F0 1F3F3-1F3F5 1F3F7-1F3FA 1F400-1F4FD 1F4FF-1F53D 1F549-1F54E 1F550-1F567 1F56F-1F570
        1F573-1F57A 1F587 1F58A-1F58D 1F590 1F595-1F596 1F5A4-1F5A5 1F5A8 1F5B1-1F5B2 1F5BC 1F5C2-1F5C4
        1F5D1-1F5D3 1F5DC-1F5DE 1F5E1 1F5E3 1F5E8 1F5EF 1F5F3 1F5FA-1F64F 1F680-1F6C5 1F6CB-1F6D2
        1F6D5-1F6E5 1F6E9 1F6EB-1F6F0 1F6F3-1F6FF 1F7DA-1F7FF 1F80C-1F80F 1F848-1F84F 1F85A-1F85F
        1F888-1F88F 1F8AE-1F8AF 1F8BC-1F8BF 1F8C2-1F8CF 1F8D9-1F8FF 1F90C-1F93A 1F93C-1F945 1F947-1F9FF
        1FA58-1FA5F 1FA6E-1FAFF 1FC00-1FFFD""",
    "prepend": """
        600-605 6DD 70F 890-891 8E2 D4E 110BD 110CD 111C2-111C3 113D1 1193F 11941 11A84-11A89 11D46
        11F02""",
    "spacing_mark": """
        CF3 E33 EB3 113B9-113BA 113CA 113CC-113CD 1171E 11B61 11B65 11B67 11F03 11F34-11F35 11F3E-11F3F
        1612A-1612C""",
    "trailing": "11A8-11FF D7CB-D7FB",
    "vowel": "1160-11A7 D7B0-D7C6 16D63 16D67-16D6A",
    "zero_width_joiner": "200D",
}

FORMS = ("NFC", "NFKC", "NFD", "NFKD")  # the order of the enumeration Form
MARK, COMPATIBLE = 1, 2
VOWELS, TRAILING = range(0x1161, 0x1176), range(0x11A8, 0x11C3)

EXCEPTIONS = {c: name for name, text in GRAPHEME_EXCEPTIONS.items() for c in tables._ranges(text)}


def grapheme_of(c: int) -> str:
    """The grapheme class."""
    if c in EXCEPTIONS:
        return EXCEPTIONS[c]
    category = unicodedata.category(chr(c))
    if category in ("Mn", "Me"):
        return "extend"
    if category == "Mc":
        return "spacing_mark"
    return "control" if category in ("Cc", "Cf", "Zl", "Zp") else "other"


def canonical_of(c: int) -> tuple[int, ...]:
    """The full canonical decomposition, or the character itself."""
    if c in tables.HANGUL:
        return tuple(map(ord, unicodedata.normalize("NFD", chr(c))))
    return decomposition_of(c) or (c,)


def compatible_of(c: int) -> tuple[int, ...]:
    """The full compatibility decomposition, or the canonical one."""
    if c in NOT_COMPATIBLE or c in tables.NOT_DECOMPOSED or 0xD800 <= c < 0xE000:
        return canonical_of(c)
    return tuple(map(ord, unicodedata.normalize("NFKD", chr(c))))


def make_compositions() -> dict[tuple[int, int], int]:
    """The primary composites but Hangul syllables."""
    found = {}
    for c in range(0x110000):
        parts = unicodedata.decomposition(chr(c)).split()
        if len(parts) != 2 or parts[0].startswith("<") or c in tables.NOT_DECOMPOSED:
            continue
        if unicodedata.normalize("NFC", chr(c)) == chr(c):
            found[int(parts[0], 16), int(parts[1], 16)] = c
    return found


def is_stable(c: int, form: str) -> bool:
    """Whether the form leaves the character alone."""
    if 0xD800 <= c < 0xE000:
        return True
    if form == "NFD" or (form == "NFKD" and c in NOT_COMPATIBLE):
        return canonical_of(c) == (c,)
    if form == "NFKD":
        return compatible_of(c) == (c,)
    if c in tables.NOT_DECOMPOSED:
        return True
    actual: Literal["NFC", "NFKC"] = "NFC" if form == "NFC" or c in NOT_COMPATIBLE else "NFKC"
    return unicodedata.normalize(actual, chr(c)) == chr(c)


def record_of(c: int, seconds: frozenset[int]) -> tuple[int, int, int, int, int]:
    """A FormInfo."""
    changes = joins = 0
    for bit, form in enumerate(FORMS):
        first = (compatible_of(c) if "K" in form else canonical_of(c))[0]
        composes = form.endswith("C")
        if not is_stable(c, form) or (composes and c in seconds):
            changes |= 1 << bit
        if class_of(first) or class_of(c) or (composes and (first in seconds or c in seconds)):
            joins |= 1 << bit
    flags = 0
    if (unicodedata.category(chr(c))[0] == "M" and c not in NOT_MARK) or c in FORMER_MARK:
        flags |= MARK
    if compatible_of(c) != canonical_of(c):
        flags |= COMPATIBLE
    return changes, joins, class_of(c), GRAPHEMES.index(grapheme_of(c)), flags


def make() -> str:
    """The text of the generated file."""
    if unicodedata.unidata_version != tables.UNICODE_VERSION:
        sys.exit(f"unicodedata is {unicodedata.unidata_version}; needed is {tables.UNICODE_VERSION}")
    compositions = make_compositions()
    seconds = frozenset(second for _, second in compositions) | frozenset(VOWELS) | frozenset(TRAILING)
    records: dict[tuple[int, int, int, int, int], int] = {}
    numbers, compatible_at, pool = [], [], [0]
    for c in range(0x110000):
        record = record_of(c, seconds)
        numbers.append(records.setdefault(record, len(records)))
        compatible_at.append(len(pool) if record[4] & COMPATIBLE else 0)
        if record[4] & COMPATIBLE:
            parts = compatible_of(c)
            pool += [len(parts), *parts]
    index, blocks = two_stage(numbers)
    compatible_index, compatible_blocks = two_stage(compatible_at)
    if max(len(records), *compatible_index) > 255 or len(pool) > 65535:
        sys.exit("the tables no longer fit their element types")
    rows = [f"{{{a},{b},{ccc},Grapheme({g}),{flags}}}" for a, b, ccc, g, flags in records]
    triples = [f"{{{a},{b},{c}}}" for (a, b), c in sorted(compositions.items())]
    lines = [
        "// Generated by tools/make_unicode_forms.py; do not edit. Unicode 14.0 with the reference",
        "// tokenizer's deviations, which that script lists.",
        "// clang-format off",
        f"static_assert(FormTables::kBlockBits == {tables.BLOCK_BITS});",
        array("FormInfo", "FormTables::kRecords", rows),
        array("uint16_t", "FormTables::kIndex", index),
        array("uint8_t", "FormTables::kBlocks", blocks),
        array("static uint8_t", "kCompatibleIndex", compatible_index),
        array("static uint16_t", "kCompatibleBlocks", compatible_blocks),
        "// Length, then that many code points.",
        array("static char32_t", "kCompatible", pool),
        array("static Composition", "kCompositions", triples),
        "// clang-format on",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes the file, or compares it."""
    parser = argparse.ArgumentParser(description="Writes cpp/text/unicode_forms.inc.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    text = make()
    if not parser.parse_args().check:
        OUTPUT.write_text(text, encoding="ascii")
    elif not OUTPUT.exists() or OUTPUT.read_text(encoding="ascii") != text:
        sys.exit(f"{OUTPUT} is not what this script writes; run it without --check")


if __name__ == "__main__":
    main()
