"""Writes tests/golden/tiny_bert: a random two-layer BERT with a small vocabulary, and what transformers makes of it.

    python tests/golden/make_golden.py

expected.txt has one line per sequence: its token ids, a colon, and the pooled and normalised vector. Run it again only
when the format changes: other versions of torch may give other random weights.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

HERE = Path(__file__).parent / "tiny_bert"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [
    *"abcdefghijklmnopqrstuvwxyz0123456789.,!?'-",
    *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz0123456789"),
]
WORDS = [
    "the",
    "head",
    "##race",
    "water",
    "wheel",
    "lead",
    "##s",
    "to",
    "mill",
    "a",
    "river",
    "runs",
    "##ing",
]
SEQUENCES = [
    [2, 3],
    [2, 50, 3],
    [2, 85, 86, 87, 3],
    list(range(2, 26)),
    [7] * 16,
    [2, 60, 61, 62, 63, 64, 65, 66, 3],
]


def main() -> None:
    HERE.mkdir(exist_ok=True)
    torch.manual_seed(20261122)
    vocabulary = list(dict.fromkeys([*SPECIAL, *PIECES, *WORDS]))
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=24,
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for (
            parameter
        ) in model.parameters():  # transformers' own start is too close to zero to show a wrong formula
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.save_pretrained(HERE)

    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.save(str(HERE / "tokenizer.json"))

    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (HERE / "modules.json").write_text(json.dumps(modules, indent=1) + "\n")
    (HERE / "1_Pooling").mkdir(exist_ok=True)
    pooling = {
        "word_embedding_dimension": 24,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
    }
    (HERE / "1_Pooling" / "config.json").write_text(json.dumps(pooling, indent=1) + "\n")

    lines = []
    for ids in SEQUENCES:
        with torch.no_grad():
            hidden = model(torch.tensor([ids])).last_hidden_state[0]
        vector = torch.nn.functional.normalize(hidden.mean(0), dim=0)
        lines.append(f"{' '.join(map(str, ids))} : {' '.join(f'{v:.9g}' for v in vector.tolist())}\n")
    (HERE / "expected.txt").write_text("".join(lines))


if __name__ == "__main__":
    main()
