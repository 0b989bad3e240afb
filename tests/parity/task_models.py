"""Tiny random checkpoints with a task's head, as transformers writes them: 2 layers of 32, and a tokenizer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

# Those of which transformers has every kind of head, and the others.
FAMILIES = (
    "bert", "roberta", "distilbert", "electra", "mpnet", "albert", "modernbert", "deberta-v2", "jina_embeddings_v3"
)  # fmt: skip
WITHOUT_ANSWERS = ("nomic_bert", "gte")
_CORPUS = [
    "A headrace leads the water to the wheel of the mill. The mill stands still, the water turns the wheel.",
    "Maria Smith, of Paris (France), runs Mill No. 5! Tokenization is unbelievably long-winded: é, ü, 水车.",
    "Where is the mill? Who runs it? It stands in Paris, in France, and Maria runs it since 1987.",
]
_POSITIONS = 96
_UNTYPED = ["input_ids", "attention_mask"]
_TYPED = ["input_ids", "token_type_ids", "attention_mask"]


_BERT_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_MPNET_SPECIAL = [
    "[UNK]",
    "[PAD]",
    "<s>",
    "</s>",
    "<mask>",
]  # its positions count from behind that of the padding


def _wordpiece(names: list[str], special: list[str]) -> Any:
    # A trainer breaks ties by chance, so the pieces are listed: characters, and the beginnings of words.
    words = sorted(set(re.findall(r"\w+", " ".join(_CORPUS))))
    letters = sorted(set("".join(_CORPUS)) - {" "})
    pieces = [word[: 2 + len(word) // 2] for word in words[::2]] + [f"##{word[-3:]}" for word in words]
    first, last, mask = special[2:]
    tokens = dict.fromkeys([*special, *letters[1:], *(f"##{letter}" for letter in letters), *pieces])
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B:1 {last}:1",
        special_tokens=[(first, 2), (last, 3)],
    )
    tokenizer.decoder = decoders.WordPiece()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token=first,
        sep_token=last, mask_token=mask, model_max_length=_POSITIONS, model_input_names=names,
    )  # fmt: skip


def _byte_level(names: list[str]) -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(
        _CORPUS,
        trainers.BpeTrainer(
            vocab_size=330,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", cls_token="<s>",
        sep_token="</s>", bos_token="<s>", eos_token="</s>", model_max_length=_POSITIONS, model_input_names=names,
        mask_token=transformers.AddedToken("<mask>", lstrip=True, special=True, normalized=False),
    )  # fmt: skip


_SIZES = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
_DISTILBERT_SIZES = {"n_layers": 2, "dim": 32, "n_heads": 2, "hidden_dim": 64}
# The class's name, its tokenizer, its sizes; RoBERTa's positions begin at 2.
_MAKERS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "bert": (
        "Bert",
        lambda: _wordpiece(_TYPED, _BERT_SPECIAL),
        {**_SIZES, "max_position_embeddings": _POSITIONS},
    ),
    "electra": (
        "Electra",
        lambda: _wordpiece(_TYPED, _BERT_SPECIAL),
        {**_SIZES, "embedding_size": 16, "max_position_embeddings": _POSITIONS},
    ),
    "distilbert": (
        "DistilBert",
        lambda: _wordpiece(_UNTYPED, _BERT_SPECIAL),
        {**_DISTILBERT_SIZES, "max_position_embeddings": _POSITIONS},
    ),
    "roberta": (
        "Roberta",
        lambda: _byte_level(_UNTYPED),
        {**_SIZES, "max_position_embeddings": _POSITIONS + 2, "type_vocab_size": 1, "pad_token_id": 1},
    ),
    "mpnet": (
        "MPNet",
        lambda: _wordpiece(_UNTYPED, _MPNET_SPECIAL),
        {**_SIZES, "max_position_embeddings": _POSITIONS + 2, "pad_token_id": 1},
    ),
    # Three layers of two groups; an embedding as wide as the layers would hide the one that joins them.
    "albert": (
        "Albert",
        lambda: _wordpiece(_TYPED, _BERT_SPECIAL),
        {
            **_SIZES,
            "num_hidden_layers": 3,
            "num_hidden_groups": 2,
            "embedding_size": 16,
            "max_position_embeddings": _POSITIONS,
        },
    ),
    # Four layers, of which the first and the last look at everything; a window of three tokens to either side.
    "modernbert": (
        "ModernBert",
        lambda: _byte_level(_UNTYPED),
        {
            **_SIZES,
            "num_hidden_layers": 4,
            "local_attention": 6,
            "max_position_embeddings": _POSITIONS,
            "pad_token_id": 1,
        },
    ),
    "nomic_bert": (
        "NomicBert",
        lambda: _wordpiece(_TYPED, _BERT_SPECIAL),
        {**_SIZES, "max_position_embeddings": _POSITIONS},
    ),
    "gte": (
        "Gte",
        lambda: _byte_level(_UNTYPED),
        {**_SIZES, "max_position_embeddings": _POSITIONS, "pad_token_id": 1},
    ),
    "jina_embeddings_v3": (
        "JinaEmbeddingsV3",
        lambda: _byte_level(_UNTYPED),
        {**_SIZES, "max_position_embeddings": _POSITIONS, "pad_token_id": 1},
    ),
    # As DeBERTa-v3 has it, with so few buckets that distances share them.
    "deberta-v2": (
        "DebertaV2",
        lambda: _wordpiece(_TYPED, _BERT_SPECIAL),
        {
            **_SIZES,
            "max_position_embeddings": _POSITIONS,
            "relative_attention": True,
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
    ),
}


def make(directory: Path, family: str, kind: str, **settings: Any) -> Path:
    """The directory of a checkpoint of `kind`, such as "MaskedLM"; made once for each family, kind and settings."""
    name, tokenizer_of, sizes = _MAKERS[family]
    told = re.sub(r"[^\w.-]+", "-", "-".join(str(settings[key]) for key in sorted(settings)))
    path = directory / f"{family}-{kind}-{told}"
    if path.exists():
        return path
    tokenizer = tokenizer_of()
    labels = settings.pop("num_labels", None)
    if labels is not None and "id2label" not in settings:
        settings["id2label"] = {i: f"label {i}" for i in range(labels)}
        settings["label2id"] = {f"label {i}": i for i in range(labels)}
    config = getattr(transformers, f"{name}Config")(
        **{**sizes, "vocab_size": len(tokenizer), **{k: v for k, v in settings.items() if v is not None}}
    )
    torch.manual_seed(len(told) + len(kind))
    model = getattr(transformers, f"{name}For{kind}")(config)
    with torch.no_grad():
        # Random weights of 0.02 leave all logits alike; larger ones tell the labels apart. Biases and norms move too.
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.15 if parameter.dim() > 1 else 0.05))
    model.eval().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
