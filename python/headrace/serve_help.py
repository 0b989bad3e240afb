"""What `headrace serve` and `headrace config show` say of themselves."""

from __future__ import annotations

from typing import Any

HELP = """\
examples:
  headrace serve                               the demo model at http://127.0.0.1:8000
  headrace serve models/e5-small               a folder of Hugging Face files, named e5-small
  headrace serve demo:smollm2                  a chat model, at /v1/chat/completions
  headrace serve models/llama.gguf             the same from one file
  headrace serve model.onnx                    a model for onnxruntime, at /v1/predict
  headrace serve functions.py:describe         a Python function that takes a batch
  headrace serve models                        every model in the folder models, named as its own folder
  headrace serve fast=models/a best=models/b   two models, by names of your own
  headrace serve --port 0 --json               any free port; the first line is JSON with the URL
  headrace serve --require-keys --audit        for several people: `headrace keys create` makes their keys
  headrace serve --config server.toml          port = 9000, require_keys = true, ... (HEADRACE_PORT=9000 does too)
then:
  curl http://127.0.0.1:8000/v1/embeddings -H 'content-type: application/json' \\
       -d '{"model": "minilm", "input": ["a mill wheel", "a water turbine"]}'
"""
CONFIG_HELP = """\
examples:
  headrace config show --origin                           each setting of `headrace serve`, and where it is from
  headrace config show --config server.toml --port 9000   with a file, and a flag that stands above it
Defaults come first, then the file, then the environment (HEADRACE_PORT and so on), then flags; the last one wins.
"""
# For each task its route and what a body holds besides the model's name.
EXAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "embed": ("/v1/embeddings", {"input": "a mill wheel"}),
    "classify": ("/v1/classify", {"input": "a fine mill"}),
    "rerank": ("/v1/rerank", {"query": "what turns the wheel?", "documents": ["the water", "the miller"]}),
    "tag": ("/v1/tag", {"input": "Maria Smith runs the mill in Paris."}),
    "answer": ("/v1/answer", {"question": "Who runs the mill?", "context": "Maria runs the mill."}),
    "fill_mask": ("/v1/fill-mask", {"input": "The [MASK] turns the wheel."}),
    "generate": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "Name the capital of France."}], "max_tokens": 50},
    ),
}
