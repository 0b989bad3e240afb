"""Strings that look for trouble: all scripts, marks, controls, runs, code, broken bytes repaired, added tokens."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "ABC xyz abc aab bca cab",
    "0123456789 .,;:!?'\"()[]{}<>#@$%^&*-_=+|\\/~`",
    " \t\n\r\u00a0\u2003\u3000\u0085\x0b\x0c\u1680\u180e\u2028\u2029\u202f\u205f",
    "\x00\x01\x1f\x7f\u00ad\u200b\u200c\u200d\u200e\ufeff\ufffd\ue000\ufffe\U0010ffff",
    "éèêëàçñöüßøåÉÀÇİıŁǅΣςσſKÅ",
    "\u0300\u0301\u0308\u0323\u0327\u0345\u0344\u0f71\u0f72\u0f73\u0f74\u05b0\u05b1\u0591",
    "\u302e\u302f\U0001d165\U0001d16d\U0001d157\U0001d15e\u1715\U00016ff0\u0898\U0001e8d0",
    "中文測試漢字かなカナ한국어각\uf900\U0002f800\U00020000ㄱㅏ\u1100\u1161\u11a8",
    "مرحبا שלום नमस्ते สวัสดี Привет Γειά კართული አማርኛ ትግርኛ",
    "😀👩\u200d👩\u200d👧🏳️\u200d🌈🇨🇳✨👍🏽\U0001fae8",
    "ﬁﬀ①²½Ⅷ㎏ｱﾞ％ａＢ\u2126\u212b™…‥«»“”‘’—–",
    "٠١٢३४五Ⅻ𝟘𝟙𝐀𝐛௧௰",
    "\u2581\u0120\u010a\u00c4\u0100",
)
WORDS = [
    "hello",
    "Hello",
    "HELLO",
    "tokenization",
    "unbelievable",
    "don't",
    "DON'T",
    "it's",
    "we'LL",
    "I'm",
    "they've",
    "o'clock",
    "'s",
    "'S",
    "'ſ",
    "'RE",
    "é",
    "https://example.com/a?b=c&d=1",
    "user@example.org",
    "def",
    "f(x):\n\treturn",
    "x+1",
    "\r\n\r\n",
    "{{}}",
    "<|im_start|>",
    "<|endoftext|>",
    "<s>",
    "</s>",
    "<unk>",
    "<0x0A>",
    "<0xE4>",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "<bos>",
    "▁a",
    "▁▁",
    "##",
    "##a",
    "camelCaseWord",
    "HTTPServer",
    "1234567",
    "3.14159",
    "10,000",
    "日本語の文章",
    "北京大学",
    "안녕하세요",
    "Здравствуйте",
    "ภาษาไทย",
]


def generated(seed: int, count: int, words: Sequence[str] = ()) -> Iterator[str]:
    """`count` strings; `words`, such as a tokenizer's added tokens, occur among them."""
    chance = random.Random(seed)
    vocabulary = [*WORDS, *words]
    for _ in range(count):
        parts = []
        for _ in range(chance.randrange(1, 12)):
            kind = chance.randrange(12)
            if kind < 3:
                parts.append(chance.choice(vocabulary))
            elif kind < 6:
                parts.append(chance.choice((" ", "  ", "", " \t", "\n", "\n\n", "   ", "\r\n")))
            elif kind < 7:
                parts.append(chance.choice(chance.choice(ALPHABETS)) * chance.randrange(1, 40))
            elif kind < 8:
                parts.append(chance.randbytes(chance.randrange(1, 9)).decode("utf-8", "replace"))
            elif kind < 9:
                code = chance.randrange(0x110000)
                parts.append(chr(code) if not 0xD800 <= code < 0xE000 else "?")
            else:
                alphabet = chance.choice(ALPHABETS)
                parts.append("".join(chance.choices(alphabet, k=chance.randrange(1, 8))))
        yield "".join(parts)
