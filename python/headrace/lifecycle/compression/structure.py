"""Where the parts of a layer are in transformers' models, and how a linear layer is cut down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import UnsupportedError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Structure:
    """Names of modules from the model without its head (`layers`) and from a layer (the others); keys of config.json.

    `query`, `key`, `value` are empty where heads cannot go: they share keys, or have numbers of their own elsewhere.
    """

    layers: str
    attended: str
    ups: tuple[str, ...]
    down: str
    query: str = ""
    key: str = ""
    value: str = ""
    heads_key: str = "num_attention_heads"
    neurons_key: str = "intermediate_size"
    layers_key: str = "num_hidden_layers"


_BERT = Structure(
    layers="encoder.layer",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attended="attention.output.dense",
    ups=("intermediate.dense",),
    down="output.dense",
)
_LLAMA = Structure(
    layers="layers",
    attended="self_attn.o_proj",
    ups=("mlp.gate_proj", "mlp.up_proj"),
    down="mlp.down_proj",
)
_FAMILIES = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra"), _BERT),
    "distilbert": Structure(
        layers="transformer.layer",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        attended="attention.out_lin",
        ups=("ffn.lin1",),
        down="ffn.lin2",
        heads_key="n_heads",
        neurons_key="hidden_dim",
        layers_key="n_layers",
    ),
    "mpnet": Structure(
        layers="encoder.layer", attended="attention.attn.o", ups=("intermediate.dense",), down="output.dense"
    ),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), _LLAMA),
}


def structure_of(model: Any, method: str) -> Structure:
    """The parts of the model's family. UnsupportedError for one whose parts are not known here, or without heads that
    may go."""
    family = model.config.model_type
    found = _FAMILIES.get(family)
    if found is None:
        raise UnsupportedError(
            f"{method}: of {', '.join(_FAMILIES)}, not of {family}; int8 and bf16 are of all"
        )
    if method == "prune-heads" and not found.query:
        raise UnsupportedError(
            f"{method}: not of {family}, whose heads share keys or have positions of their own: prune-neurons and "
            "prune-layers are"
        )
    return found


def layers_of(model: Any, structure: Structure) -> Any:
    """The ModuleList of layers."""
    return _bare(model).get_submodule(structure.layers)


def set_layers(model: Any, structure: Structure, layers: Any) -> None:
    """Puts other layers in their place."""
    parent, _, name = structure.layers.rpartition(".")
    setattr(_bare(model).get_submodule(parent) if parent else _bare(model), name, layers)


def _bare(model: Any) -> Any:
    """Without the head, and without what peft wraps around it."""
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    return model.base_model


def cut(parent: torch.nn.Module, name: str, kept: Sequence[int], *, inputs: bool = False) -> None:
    """Of the linear layer `name` in `parent` only these outputs stay, or these inputs."""
    import torch

    layer = parent.get_submodule(name)
    assert isinstance(layer, torch.nn.Linear)
    places = torch.as_tensor(kept)
    weight = layer.weight.detach().index_select(1 if inputs else 0, places).contiguous()
    made = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=layer.bias is not None)
    made.weight = torch.nn.Parameter(weight)
    if layer.bias is not None:
        bias = layer.bias.detach() if inputs else layer.bias.detach().index_select(0, places)
        made.bias = torch.nn.Parameter(bias.clone())
    before, _, last = name.rpartition(".")
    setattr(parent.get_submodule(before) if before else parent, last, made)


def kept_count(total: int, removed: float, *, unit: int = 1) -> int:
    """How many of `total` stay: at least one, in whole units where there are two of them or more.

    >>> kept_count(12, 0.5), kept_count(1536, 0.4, unit=32), kept_count(3, 0.9)
    (6, 928, 1)
    """
    unit = unit if total >= 2 * unit else 1
    return max(unit, round(total * (1 - removed) / unit) * unit)
