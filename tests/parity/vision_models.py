"""Tiny random ViT, CLIP and SigLIP checkpoints as transformers writes them, with their preprocessors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

_SIZES = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}
_TEXT = ["a photo of a mill", "the wheel turns in the water", "Maria Smith, of Paris (France)", "水车 é"]


def _save(model: Any, processor: Any, path: Path) -> Path:
    # Weights large enough that every part of the model matters: fresh ones are near zero.
    torch.manual_seed(7)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.ndim > 1:
                tensor.normal_(0, 0.7 / tensor[0].numel() ** 0.5 if "embedding" not in name else 0.3)
            elif "norm" in name or "layrnorm" in name:
                tensor.add_(torch.randn_like(tensor) * 0.1)
            else:
                tensor.normal_(0, 0.1)
    model.eval().save_pretrained(path)
    processor.save_pretrained(path)
    return path


def vit(path: Path, *, labels: int = 5, size: int = 48, patch: int = 8, **settings: Any) -> Path:
    """With a classifier, or bare where there are no labels."""
    config = transformers.ViTConfig(**_SIZES, image_size=size, patch_size=patch, **settings)
    processor = transformers.ViTImageProcessorPil(size={"height": size, "width": size}, do_resize=True)
    if labels == 0:
        return _save(transformers.ViTModel(config), processor, path)
    config.num_labels = labels
    return _save(transformers.ViTForImageClassification(config), processor, path)


def _clip_processor(size: int) -> Any:
    return transformers.CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    )


def _clip_tokenizer(longest: int) -> Any:
    tokenizer = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|startoftext|>", "<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    start, end = (tokenizer.token_to_id(token) for token in special)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>",
        special_tokens=[("<|startoftext|>", start), ("<|endoftext|>", end)],
    )
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=special[0], eos_token=special[1], model_max_length=longest
    )


def clip(path: Path, part: str = "", *, size: int = 40, patch: int = 8, eos: int | None = None) -> Path:
    """Both towers, or `part` "vision" or "text" alone."""
    longest = 20
    tokenizer = _clip_tokenizer(longest)
    text = {
        **_SIZES, "vocab_size": len(tokenizer), "max_position_embeddings": longest,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id if eos is None else eos,
    }  # fmt: skip
    vision = {**_SIZES, "hidden_size": 32, "image_size": size, "patch_size": patch}
    config = transformers.CLIPConfig(
        text_config={**text, "projection_dim": 24},
        vision_config={**vision, "projection_dim": 24},
        projection_dim=24,
    )
    model: Any = transformers.CLIPModel(config)
    if part == "vision":
        model = transformers.CLIPVisionModelWithProjection(config.vision_config)
    elif part == "text":
        model = transformers.CLIPTextModelWithProjection(config.text_config)
    _save(model, _clip_processor(size), path)
    if part != "vision":
        tokenizer.save_pretrained(path)
    return path


def _siglip_tokenizer(folder: Path, longest: int) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    sentences = [text.lower() for text in _TEXT] + [
        "two cats sit",
        "a dog on the grass",
        "the sea and the sky",
    ]
    with (folder / "spiece.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences * 4),
            model_writer=file,
            vocab_size=80,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    return transformers.SiglipTokenizer(str(folder / "spiece.model"), model_max_length=longest)


def siglip(
    path: Path, part: str = "", *, size: int = 40, patch: int = 8, labels: int = 0, **sizes: int
) -> Path:
    """Both towers, or `part` "vision" or "text" alone; or, with labels, a classifier of pictures."""
    longest = 16
    tokenizer = _siglip_tokenizer(path, longest)
    text = {
        **_SIZES, **sizes, "vocab_size": tokenizer.vocab_size, "max_position_embeddings": longest,
        "bos_token_id": None, "eos_token_id": 1,
    }  # fmt: skip
    vision = {**_SIZES, **sizes, "image_size": size, "patch_size": patch}
    config = transformers.SiglipConfig(text_config=text, vision_config=vision)
    if part == "vision":
        model: Any = transformers.SiglipVisionModel(config.vision_config)
    elif part == "text":
        model = transformers.SiglipTextModel(config.text_config)
    elif labels:
        config.num_labels = labels
        model = transformers.SiglipForImageClassification(config)
    else:
        model = transformers.SiglipModel(config)
    _save(model, transformers.SiglipImageProcessorPil(size={"height": size, "width": size}), path)
    if part != "vision":
        tokenizer.save_pretrained(path)
    return path


def photographs(count: int = 6) -> list[np.ndarray]:
    """Gradients with noise, of different sizes and proportions, some smaller than what models take."""
    random = np.random.default_rng(3)
    made = []
    for i in range(count):
        width, height = (int(side) for side in random.integers(20, 150, 2))
        y, x = np.mgrid[:height, :width]
        planes = [x * 200 // width, y * 200 // height, (x * (i + 1) + y) % 200]
        made.append((np.stack(planes, 2) + random.integers(0, 50, (height, width, 3))).astype(np.uint8))
    return made


def reference(path: Path, kind: str, call: Any) -> np.ndarray:
    """What `call` makes of transformers' model of that kind."""
    model = getattr(transformers, kind).from_pretrained(path).eval()
    with torch.no_grad():
        return call(model).numpy()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The least of the rows'."""
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())
