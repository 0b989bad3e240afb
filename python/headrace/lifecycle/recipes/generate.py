"""A language model that answers as the data do: a low-rank adapter (LoRA, Hu et al. 2021, arXiv:2106.09685) by peft.

The weights of the model stay as they are; what is written is the adapter, which is served beside its base.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import bases
from ..batches import Sequences
from ..cells import as_text
from ..inspection import Inspected
from ..settings import TrainSettings
from .encoder import in_portions

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_IGNORED = -100
_TARGETS = (
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
    "qkv_proj",
    "gate_up_proj",
)
Encoded = tuple[Sequences, Sequences]  # tokens, how many of them are the prompt
Part = tuple[Encoded, "NDArray[Any]", "NDArray[np.int64]"]


class GenerateRecipe:
    """Texts, or prompts with the answers to them; of a prompt's tokens nothing is learned."""

    task = "generate"
    kind = "AutoModelForCausalLM"
    metric = "loss"

    def __init__(self, base: str | Path, names: list[str], settings: TrainSettings) -> None:
        import peft
        import torch

        self.folder, self.base = bases.base_folder(base), str(base)
        self.names, self.settings = names, settings
        self.tokenizer = bases.load_tokenizer(self.folder)
        torch.manual_seed(settings.seed)
        model = bases.load_model(self.kind, self.folder)
        present = {name.rpartition(".")[2] for name, _ in model.named_modules()}
        config = peft.LoraConfig(
            r=settings.lora_rank,
            lora_alpha=settings.lora_alpha,
            target_modules=[name for name in _TARGETS if name in present],
            task_type="CAUSAL_LM",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # what peft asks transformers
            self.model = peft.get_peft_model(model, config)
        self.limit = bases.token_limit(self.folder, model.config, settings.max_tokens)
        self.lengths: NDArray[np.int64] = np.empty(0, np.int64)

    def _turns(self, prompt: str | None, text: str) -> tuple[list[int], list[int]]:
        """Tokens of the prompt, as a chat model is asked, and of the answer with the end behind it."""
        end = [] if self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]
        if prompt is None:
            return [], self.tokenizer(text)["input_ids"] + end
        if self.tokenizer.chat_template:
            asked = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
            )
            before = self.tokenizer(asked, add_special_tokens=False)["input_ids"]
        else:
            before = self.tokenizer(prompt)["input_ids"]
        return before, self.tokenizer(text, add_special_tokens=False)["input_ids"] + end

    def encode(self, data: Inspected) -> Encoded:
        """Token ids of each row and the length of its prompt; cut on the right."""
        prompts: list[list[int]] = []

        def ids() -> Iterator[list[int]]:
            for _, cells in data.texts():
                asked = cells.get("prompt", [None] * len(cells["text"]))
                for prompt, text in zip(asked, cells["text"], strict=True):
                    before, after = self._turns(None if prompt is None else as_text(prompt), as_text(text))
                    prompts.append([min(len(before), self.limit - 1)])
                    yield (before[: self.limit - 1] + after)[: self.limit]

        tokens = Sequences(ids())
        return tokens, Sequences(prompts)

    def use(self, train: Part, validation: Part | None) -> None:
        """Takes ((tokens, prompts), labels, places) of the rows that train and of those that choose."""
        self._encoded, _, self._places = train
        self._validation = validation
        self.lengths = self._encoded[0].lengths[self._places]

    def _loss(self, encoded: Encoded, rows: NDArray[np.int64], reduction: str = "mean") -> torch.Tensor:
        import torch

        tokens, prompts = encoded
        ids = torch.from_numpy(tokens.padded(rows, 0))
        places = torch.arange(ids.shape[1])
        mask = (places < torch.from_numpy(tokens.lengths[rows])[:, None]).long()
        before = torch.tensor([int(prompts[row][0]) for row in rows])
        labels = ids.masked_fill((mask == 0) | (places < before[:, None]), _IGNORED)
        # Of prompts nothing is learned; logits of the whole vocabulary there would be a good part of the work.
        first = max(1, int(before.min()))
        kept = ids.shape[1] - first + 1
        logits = self.model(input_ids=ids, attention_mask=mask, logits_to_keep=kept).logits[:, :-1].float()
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels[:, first:].flatten(), ignore_index=_IGNORED, reduction=reduction
        )

    def loss(self, places: NDArray[np.int64]) -> torch.Tensor:
        return self._loss(self._encoded, self._places[places])

    def validate(self) -> dict[str, float]:
        if self._validation is None or not len(self._validation[2]):
            return {}
        encoded, _, places = self._validation
        total, learned = 0.0, 0
        for part in in_portions(encoded[0].lengths[places], 16):
            rows = places[part]
            total += float(self._loss(encoded, rows, "sum"))
            learned += sum(int(encoded[0].lengths[row]) - max(1, int(encoded[1][row][0])) for row in rows)
        loss = total / max(1, learned)
        return {"loss": loss, "perplexity": math.exp(min(loss, 100.0))}

    def save(self, out: Path) -> None:
        """The adapter: `headrace serve BASE --adapter NAME=OUT`."""
        self.model.save_pretrained(str(out))
        for path in out.glob("*.safetensors"):  # written for their owner alone
            path.chmod((out / "adapter_config.json").stat().st_mode)
