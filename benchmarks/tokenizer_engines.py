"""The tokenizers that are compared: each family's rivals on the package index, behind one call.

An engine is made for one vocabulary folder and encodes a list of texts without special tokens on the threads the
process was given. `encode` is what is timed; `ids` turns its answer into lists, untimed, to be checked.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


class Engine:
    """One tokenizer; `package` is what pip knows it as."""

    package = ""

    def __init__(self, folder: Path, threads: int) -> None:
        raise NotImplementedError

    def encode(self, texts: list[str]) -> Any:
        raise NotImplementedError

    def one(self, text: str) -> Any:
        """One text alone, by the library's call for that."""
        return self.encode([text])

    def ids(self, answer: Any) -> list[list[int]]:
        return [list(map(int, row)) for row in answer]


class Unfit(Exception):
    """The engine does not know this family."""


class Headrace(Engine):
    package = "headrace"

    def __init__(self, folder: Path, threads: int) -> None:
        import headrace

        self._tokenizer = headrace.Tokenizer.from_file(folder / "tokenizer.json")
        self._threads = threads

    def encode(self, texts: list[str]) -> Any:
        return self._tokenizer.encode_batch(
            texts, add_special_tokens=False, allow_special=True, threads=self._threads
        )

    def one(self, text: str) -> Any:
        return self._tokenizer.encode_ids(text, add_special_tokens=False, allow_special=True)

    def ids(self, answer: Any) -> list[list[int]]:
        return [answer[i].tolist() for i in range(len(answer))]


class Tokenizers(Engine):
    package = "tokenizers"

    def __init__(self, folder: Path, threads: int) -> None:
        import tokenizers

        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def encode(self, texts: list[str]) -> Any:
        return self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)

    def one(self, text: str) -> Any:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def ids(self, answer: Any) -> list[list[int]]:
        return [encoding.ids for encoding in answer]


class Gigatoken(Engine):
    package = "gigatoken"

    def __init__(self, folder: Path, threads: int) -> None:
        import gigatoken

        self._backend = gigatoken.Tokenizer(str(folder / "tokenizer.json"))
        self._parallel = threads > 1

    def encode(self, texts: list[str]) -> Any:
        return self._backend.encode_batch(texts, parallel=self._parallel)

    def one(self, text: str) -> Any:
        return self._backend.encode(text)

    def ids(self, answer: Any) -> list[list[int]]:
        return list(answer.to_list())


class Fastokens(Engine):
    package = "fastokens"

    def __init__(self, folder: Path, threads: int) -> None:
        from fastokens._native import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def encode(self, texts: list[str]) -> Any:
        return self._tokenizer.encode_batch_flat(texts)

    def one(self, text: str) -> Any:
        return self._tokenizer.encode(text)

    def ids(self, answer: Any) -> list[list[int]]:
        ids, offsets = np.frombuffer(answer[0], np.uint32), np.frombuffer(answer[1], np.uint64)
        return [ids[int(a) : int(b)].tolist() for a, b in itertools.pairwise(offsets)]


class Tokie(Engine):
    package = "tokie"

    def __init__(self, folder: Path, threads: int) -> None:
        import tokie

        self._tokenizer = tokie.Tokenizer.from_json(str(folder / "tokenizer.json"))

    def encode(self, texts: list[str]) -> Any:
        return self._tokenizer.encode_batch(texts, add_special_tokens=False)

    def one(self, text: str) -> Any:
        return self._tokenizer.encode(text, add_special_tokens=False)

    def ids(self, answer: Any) -> list[list[int]]:
        return [encoding.ids for encoding in answer]


class Tuetoken(Engine):
    package = "tuetoken"

    def __init__(self, folder: Path, threads: int) -> None:
        import tuetoken

        self._tokenizer = tuetoken.Tokenizer(str(folder / "tokenizer.json"))
        self._threads = threads

    def encode(self, texts: list[str]) -> Any:
        return self._tokenizer.encode_ordinary_to_buffer(texts, num_threads=self._threads)

    def one(self, text: str) -> Any:
        return self._tokenizer.encode_ordinary(text)

    def ids(self, answer: Any) -> list[list[int]]:
        data, offsets = answer["data"], answer["offsets"]
        return [data[a:b].tolist() for a, b in itertools.pairwise(offsets)]


class Kitoken(Engine):
    package = "kitoken"

    def __init__(self, folder: Path, threads: int) -> None:
        import kitoken

        self._tokenizer = kitoken.Kitoken.from_tokenizers_file(str(folder / "tokenizer.json"))

    def encode(self, texts: list[str]) -> Any:
        return self._tokenizer.encode_all(texts, True)

    def one(self, text: str) -> Any:
        return self._tokenizer.encode(text, True)


class Tiktoken(Engine):
    package = "tiktoken"

    def __init__(self, folder: Path, threads: int) -> None:
        import base64
        import gzip

        import tiktoken

        ranks = next(folder.glob("*.tiktoken.gz"), None)
        if ranks is None:
            raise Unfit("no rank file")
        meta = json.loads(next(folder.glob("*.meta.json")).read_text("utf-8"))
        lines = gzip.decompress(ranks.read_bytes()).splitlines()
        pairs = (line.split() for line in lines if line)
        self._encoding = tiktoken.Encoding(
            folder.name,
            pat_str=meta["pat_str"],
            mergeable_ranks={base64.b64decode(token): int(rank) for token, rank in pairs},
            special_tokens=meta["special_tokens"],
        )
        self._threads = threads

    def encode(self, texts: list[str]) -> Any:
        if self._threads > 1:
            return self._encoding.encode_ordinary_batch(texts, num_threads=self._threads)
        return [self._encoding.encode_ordinary(text) for text in texts]

    def one(self, text: str) -> Any:
        return self._encoding.encode_ordinary(text)


class SentencePiece(Engine):
    package = "sentencepiece"

    def __init__(self, folder: Path, threads: int) -> None:
        import sentencepiece

        path = next(folder.glob("*.model"), None)
        if path is None:
            raise Unfit("no SentencePiece model")
        self._processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        # XLM-R's ids are SentencePiece's shifted by one, with four tokens of its own in front.
        self._shift = 1 if folder.name.startswith("xlmr") else 0
        self._threads = threads

    def encode(self, texts: list[str]) -> Any:
        return self._processor.encode(texts, num_threads=self._threads)

    def one(self, text: str) -> Any:
        return self._processor.encode(text)

    def ids(self, answer: Any) -> list[list[int]]:
        if not self._shift:
            return list(answer)
        return [[3 if number == 0 else number + 1 for number in row] for row in answer]


class BpeOpenai(Engine):
    package = "bpe-openai"

    def __init__(self, folder: Path, threads: int) -> None:
        import bpe_openai

        name = {"cl100k": "cl100k_base", "gptoss": "o200k_base"}.get(folder.name)
        if name is None:
            raise Unfit("only cl100k and o200k")
        self._encoding = bpe_openai.get_encoding(name)

    def encode(self, texts: list[str]) -> Any:
        return [self._encoding.encode(text) for text in texts]

    def one(self, text: str) -> Any:
        return self._encoding.encode(text)


class RsBpe(Engine):
    package = "rs-bpe"

    def __init__(self, folder: Path, threads: int) -> None:
        from rs_bpe import openai

        make = {"cl100k": openai.cl100k_base, "gptoss": openai.o200k_base}.get(folder.name)
        if make is None:
            raise Unfit("only cl100k and o200k")
        self._encoding = make()

    def encode(self, texts: list[str]) -> Any:
        return [self._encoding.encode(text) for text in texts]

    def one(self, text: str) -> Any:
        return self._encoding.encode(text)


class BlingFire(Engine):
    package = "blingfire"

    def __init__(self, folder: Path, threads: int) -> None:
        import blingfire

        name = {"minilm": "bert_base_tok.bin", "xlmr_unigram": "xlm_roberta_base.bin"}.get(folder.name)
        if name is None:
            raise Unfit("no model of this family in the package")
        self._module = blingfire
        self._model = blingfire.load_model(str(Path(blingfire.__file__).parent / name))

    def encode(self, texts: list[str]) -> Any:
        return [self.one(text) for text in texts]

    def one(self, text: str) -> Any:
        # The length must be guessed; every byte may become a token.
        return self._module.text_to_ids(self._model, text, len(text.encode()) + 1, 100, no_padding=True)


ENGINES: dict[str, Callable[[Path, int], Engine]] = {
    engine.package: engine
    for engine in (
        Headrace,
        Tokenizers,
        Gigatoken,
        Fastokens,
        Tokie,
        Tuetoken,
        Kitoken,
        Tiktoken,
        SentencePiece,
        BpeOpenai,
        RsBpe,
        BlingFire,
    )
}
_MODULES = {"bpe-openai": "bpe_openai", "rs-bpe": "rs_bpe"}


def installed() -> list[str]:
    """The engines whose package is here."""
    return [name for name in ENGINES if importlib.util.find_spec(_MODULES.get(name, name)) is not None]
