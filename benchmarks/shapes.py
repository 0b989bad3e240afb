"""Models of a given shape with random weights of a fixed seed: speed does not depend on what weights say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import harness

# Of transformers.BertConfig; NAME-8k has positions for 8,192 tokens.
SHAPES = {
    "bert-base": {"num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
    "bert-base-8k": {
        "num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
        "max_position_embeddings": 8192,
    },
}  # fmt: skip


def folder(name: str) -> Path:
    """A sentence-transformers folder of that shape, made if it is not there, with the demo model's tokenizer."""
    path = harness.CACHE / "shapes" / name
    if (path / "modules.json").exists():
        return path
    import torch
    from transformers import BertConfig, BertModel

    demo = harness.model_path(None)
    torch.manual_seed(0)
    # Said, since ctranslate2's converter asks for it.
    config = BertConfig(position_embedding_type="absolute", **SHAPES[name])
    model = BertModel(config).eval()
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.ndim > 1:  # larger than fresh ones, which leave all texts alike
                tensor.mul_(2)
    model.save_pretrained(path)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (demo / file).exists():
            shutil.copy(demo / file, path)
    longest = model.config.max_position_embeddings
    texts = 256 if longest == 512 else longest
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": texts}))
    (path / "1_Pooling").mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": model.config.hidden_size, "pooling_mode_mean_tokens": True}
    (path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (path / "2_Normalize").mkdir(exist_ok=True)
    (path / "modules.json").write_text(json.dumps(modules))
    return path
