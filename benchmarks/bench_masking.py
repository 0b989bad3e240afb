"""MB/s of masking personal data: headrace, Python's `re` with the same kinds, presidio-analyzer where it is installed.

Workloads: documents of a corpus, mostly without personal data, the same without digits and '@', and labelled sentences
full of it, from tests/python/personal_data_sentences.py. Before anything is timed, what is found in them is held to
their labels, texts in pieces are compared with whole ones, and placeholders are put back. Rounds interleave the
engines.

    python benchmarks/bench_masking.py --corpus .../workloads/corpus.txt.gz
    pip install presidio-analyzer && python benchmarks/bench_masking.py --rounds 9

`found` is the share of the labelled values that an engine marks at the right place; for presidio of the kinds that it
has rules for (e-mail, telephone, card, IBAN, IP), by its own recognisers without a language model.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
from bench_tokenizers import documents

sys.path.insert(0, str(harness.ROOT / "tests" / "python"))
from personal_data_sentences import KINDS, Sentence, sentences

Span = tuple[int, int]
Find = Callable[[str], list[Span]]
PRESIDIO_KINDS = {
    "email": "EMAIL_ADDRESS",
    "phone": "PHONE_NUMBER",
    "card": "CREDIT_CARD",
    "iban": "IBAN_CODE",
    "ip": "IP_ADDRESS",
}
# What the kinds look like, without their checks: the least that a service would write by itself.
_PATTERN = re.compile(
    r"""
    [\w.%+-]{1,64}@[\w-]+(?:\.[\w-]+)+                                     # email
  | (?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])                             # ip
  | (?<!\w)[0-9a-f]{1,4}:(?:[0-9a-f]{0,4}:){1,6}[0-9a-f]{1,4}(?!\w)
  | (?<!\w)[A-Z]{2}\d{2}(?:[ -]?[A-Z\d]{4}){2,7}(?:[ -]?[A-Z\d]{1,4})?(?!\w)     # iban
  | (?<!\w)\d{6}[ -]?(?:19|20)\d{2}[ -]?\d{4}[ -]?\d{3}[\dXx](?!\w)        # cn_resident_id
  | (?<!\w)[0-9A-Y]{2}\d{6}[0-9A-Y]{10}(?!\w)                              # cn_uscc
  | (?<!\w)\d{4}(?:[ -]?\d{4}){2,3}(?:[ -]?\d{1,4})?(?!\w)                 # card
  | (?<!\w)\d{4}[ -]?\d{6}[ -]?\d{4,5}(?!\w)
  | (?:\(?\+86\)?[ -]?)?(?<!\d)1[3-9]\d[ -]?\d{4}[ -]?\d{4}(?!\w)          # cn_mobile
  | \+\d{1,3}(?:[ -]?\(?\d{1,4}\)?){2,5}(?!\w)                             # phone
  | (?<!\w)\(?0?\d{2,3}\)?[ -]\d{3,4}[ -]?\d{4}(?!\w)
  | (?<!\w)[A-Z]{1,2}[ ]?\d{6}[ ]?\([\dA]\)                                # hk_id
  | (?<!\w)[157]\d{6}\(\d\)                                                # macau_id
  | (?<!\w)[A-Z]{1,2}[ ]?\d{7,10}(?!\w)                                    # passport, permits, tw_id
  | [\u4e00-\u9fff][A-Z]\u00b7?[A-Z\d]{5,6}(?!\w)                          # cn_plate
  | [\u4e00-\u9fff]{2,20}[\u8def\u8857\u9053]\d+\u53f7(?:[\dA-Z]+[\u4e00-\u9fff]{1,2}[\dA-Z]*[\u5ba4]?)?  # cn_address
    """,
    re.VERBOSE,
)


def with_re(text: str) -> list[Span]:
    return [match.span() for match in _PATTERN.finditer(text)]


def presidio() -> Find | None:
    """presidio's recognisers of those kinds over a blank English pipeline; None where it is not installed."""
    try:
        import spacy
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer.nlp_engine import SpacyNlpEngine
        from presidio_analyzer.predefined_recognizers import (
            CreditCardRecognizer,
            EmailRecognizer,
            IbanRecognizer,
            IpRecognizer,
            PhoneRecognizer,
        )
    except ImportError:
        return None
    nlp = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": "blank"}])
    nlp.nlp = {"en": spacy.blank("en")}
    chosen = (CreditCardRecognizer, EmailRecognizer, IbanRecognizer, IpRecognizer, PhoneRecognizer)
    registry = RecognizerRegistry(recognizers=[kind() for kind in chosen])
    engine = AnalyzerEngine(registry=registry, nlp_engine=nlp, supported_languages=["en"])
    entities = list(PRESIDIO_KINDS.values())
    logging.getLogger(
        "tldextract"
    ).disabled = True  # it asks the network for a list first, then takes its own

    def find(text: str) -> list[Span]:
        return [(one.start, one.end) for one in engine.analyze(text, language="en", entities=entities)]

    return find


def share_found(find: Find, labelled: list[Sentence], kinds: set[str]) -> float:
    there = right = 0
    for sentence in labelled:
        found = set(find(sentence.text))
        spans = [(begin, end) for kind, begin, end in sentence.spans if kind in kinds]
        there += len(spans)
        right += sum(span in found for span in spans)
    return right / there


def check(labelled: list[Sentence]) -> None:
    from headrace.security.masking import Masker

    masker = Masker(mode="reversible")
    for sentence in labelled[:500]:
        masked = masker.mask(sentence.text)
        stream = masker.stream()
        pieces = [stream.feed(sentence.text[at : at + 7]) for at in range(0, len(sentence.text), 7)]
        if "".join(pieces) + stream.finish() != masked.text or masker.unmask(masked) != sentence.text:
            raise SystemExit(f"wrong answer on {sentence.text!r}")
    share = share_found(
        lambda text: [(one.begin, one.end) for one in masker.mask(text).findings], labelled, set(KINDS)
    )
    if share < 0.99:
        raise SystemExit(f"only {share:.1%} of the labelled values are found")


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--corpus", type=Path, help="a gzipped text; default: the sentences alone")
    made.add_argument("--rounds", type=int, default=7)
    made.add_argument("--out", type=Path, help="file to append to; default: benchmarks/results/masking.jsonl")
    arguments = made.parse_args()
    from headrace.security.masking import Masker

    masker = Masker()
    labelled = list(sentences(seed=2026))
    check(labelled)
    texts = [sentence.text for sentence in labelled]
    workloads = {"sentences": texts}
    if arguments.corpus is not None:
        workloads["corpus"] = documents(arguments.corpus)
        workloads["corpus without digits"] = [re.sub("[0-9@]", "", text) for text in workloads["corpus"]]

    def with_headrace(text: str) -> list[Span]:
        return [(finding.begin, finding.end) for finding in masker.mask(text).findings]

    def in_pieces(text: str) -> list[Span]:
        stream = masker.stream()
        for at in range(0, len(text), 16):
            stream.feed(text[at : at + 16])
        stream.finish()
        return [(finding.begin, finding.end) for finding in stream.findings]

    # the work, and the share of what is read in a round: the slow ones take part of it
    engines: dict[str, tuple[Find, float]] = {
        "headrace": (with_headrace, 1),
        "headrace, pieces of 16 characters": (in_pieces, 0.3),
        "re": (with_re, 0.3),
    }
    if (analyzer := presidio()) is not None:
        engines["presidio-analyzer"] = (analyzer, 0.02)
    lines: list[dict[str, Any]] = []
    for workload, all_texts in workloads.items():
        rates: dict[str, list[float]] = {name: [] for name in engines}
        for find, _ in engines.values():  # warm-up
            for text in all_texts[:100]:
                find(text)
        for number in range(arguments.rounds):
            order = list(engines)
            for name in order[number % len(order) :] + order[: number % len(order)]:
                find, share = engines[name]
                chosen = all_texts[: max(1, int(len(all_texts) * share))]
                size = sum(len(text.encode()) for text in chosen)
                start = time.perf_counter()
                for text in chosen:
                    find(text)
                rates[name].append(size / (time.perf_counter() - start) / 1e6)
        for name, (find, _) in engines.items():
            kinds = set(PRESIDIO_KINDS) if name.startswith("presidio") else set(KINDS)
            lines.append(
                {
                    "engine": name,
                    "workload": workload,
                    "texts": len(all_texts),
                    "bytes": sum(len(text.encode()) for text in all_texts),
                    "unit": "MB/s",
                    **harness.spread(rates[name], 2),
                    "found": round(
                        share_found(find, labelled if kinds == set(KINDS) else labelled[:500], kinds), 4
                    ),
                    "threads": 1,
                    "versions": harness.versions("headrace", "presidio-analyzer"),
                }
            )
    harness.write("masking", lines, arguments.out)


if __name__ == "__main__":
    main()
