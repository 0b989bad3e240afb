"""Tools in chats: a tiny random model whose template knows them must call them, by openai's own client."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
import transformers
from conftest import Server
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from llguidance import LLMatcher
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from headrace.serve.errors import HttpError
from headrace.serve.tool_calls import Call, Tools, ToolStream, read_tools

TEMPLATE = """{%- if tools %}<|im_start|>system
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}Answer with <tool_call>...</tool_call>.<|im_end|>
{% endif %}{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}{% for call in message.tool_calls or [] %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a town",
        "parameters": {
            "type": "object",
            "properties": {
                "town": {"enum": ["Paris", "Oslo"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 9},
            },
            "required": ["town", "days"],
            "additionalProperties": False,
        },
    },
}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "clock"}}
QUESTION: list[dict[str, Any]] = [{"role": "user", "content": "How is the weather in Paris?"}]


def make_model(directory: Path) -> Path:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([TEMPLATE, json.dumps(WEATHER)], trainer)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(directory)
    torch.manual_seed(1)
    config = transformers.Qwen2Config(
        vocab_size=len(fast), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2048, eos_token_id=2, tie_word_embeddings=True,
    )  # fmt: skip
    transformers.Qwen2ForCausalLM(config).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = make_model(tmp_path_factory.mktemp("tools") / "caller")
    with Server(f"caller={path}", "demo:smollm2") as server:
        yield server
        assert server.stop() == 0


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def check_call(call: Any) -> dict[str, Any]:
    assert call.type == "function"
    assert call.id
    arguments: dict[str, Any] = json.loads(call.function.arguments)
    if call.function.name == "get_weather":
        assert set(arguments) == {"town", "days"}
        assert arguments["town"] in ("Paris", "Oslo")
        assert 1 <= arguments["days"] <= 9
    return arguments


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_named_tool_is_called(client: openai.OpenAI, seed: int) -> None:
    settings: dict[str, Any] = {
        "model": "caller", "messages": QUESTION, "tools": [WEATHER, CLOCK], "seed": seed, "max_tokens": 200,
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
    }  # fmt: skip
    choice = client.chat.completions.create(**settings).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    [call] = choice.message.tool_calls or []
    assert call.function.name == "get_weather"
    check_call(call)

    name, arguments, text, reason = "", "", "", None
    for chunk in client.chat.completions.create(**settings, stream=True):
        delta, reason = chunk.choices[0].delta, chunk.choices[0].finish_reason
        text += delta.content or ""
        for part in delta.tool_calls or []:
            assert part.index == 0
            name += part.function.name or ""
            arguments += part.function.arguments or ""
    assert (name, arguments, text, reason) == ("get_weather", call.function.arguments, "", "tool_calls")


def test_some_tool_must_be_called(client: openai.OpenAI) -> None:
    tool = {**WEATHER, "function": {**WEATHER["function"], "name": "forecast"}}
    answer = client.chat.completions.create(
        model="caller", messages=QUESTION, tools=[WEATHER, tool], tool_choice="required", seed=4, max_tokens=200,
        parallel_tool_calls=False, n=2,
    )  # fmt: skip
    for choice in answer.choices:
        [call] = choice.message.tool_calls or []
        assert call.function.name in ("get_weather", "forecast")
        assert set(json.loads(call.function.arguments)) == {"town", "days"}


def test_a_call_and_its_result_go_on(client: openai.OpenAI) -> None:
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"town": "Oslo"}'},
    }
    messages: list[Any] = [
        *QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    answer = client.chat.completions.create(
        model="caller", messages=messages, tools=[WEATHER], max_tokens=5, seed=1
    )
    assert answer.usage is not None
    alone = client.chat.completions.create(
        model="caller", messages=QUESTION, tools=[WEATHER], max_tokens=5, seed=1
    )
    assert alone.usage is not None
    assert answer.usage.prompt_tokens > alone.usage.prompt_tokens + 10


def test_langchain_binds_tools(server: Server) -> None:
    def get_weather(town: str) -> str:
        """The weather of a town."""
        return town

    chat = ChatOpenAI(base_url=f"{server.url}/v1", api_key="none", model="caller", seed=1, max_tokens=400)  # type: ignore[arg-type]
    schema = {**WEATHER["function"], "name": get_weather.__name__}
    bound = chat.bind_tools([{"type": "function", "function": schema}], tool_choice="get_weather")
    answer = bound.invoke("How is the weather?")
    assert isinstance(answer, AIMessage)
    [call] = answer.tool_calls
    assert call["name"] == "get_weather"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tools": [WEATHER, WEATHER]}, "two tools"),
        ({"tools": [{"type": "function"}]}, "function"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "letters"),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": {"type": "array"}}}]},
            "object",
        ),
        ({"tools": [CLOCK] * 129}, "at most 128"),
        ({"tool_choice": "required"}, "without tools"),
        ({"tools": [CLOCK], "tool_choice": "sometimes"}, "tool_choice must be"),
        (
            {"tools": [CLOCK], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "not among tools",
        ),
        (
            {"tools": [CLOCK], "tool_choice": "required", "response_format": {"type": "json_object"}},
            "tool_choice asks for a call",
        ),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "tool_calls must be"),
    ],
)
def test_what_is_refused(client: openai.OpenAI, fields: dict[str, Any], message: str) -> None:
    body = {"messages": QUESTION, **fields}
    with pytest.raises(openai.BadRequestError, match=message):
        client.chat.completions.create(model="caller", messages=body.pop("messages"), extra_body=body)


def test_a_template_without_tools_is_said(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="knows no tools"):
        client.chat.completions.create(model="smollm2", messages=QUESTION, tools=[WEATHER])


TEMPLATES = {
    "tags": "{{ tools }} <tool_call>",
    "bare": '{{ tools }} {"name": ..., "parameters": ...}',
    "list": "{{ tools }} [TOOL_CALLS] [...]",
}


def offered(
    choice: Any = "auto", *, style: str = "tags", parallel: bool | None = None, mark: int | None = None
) -> Tools:
    tools = read_tools([WEATHER, CLOCK], choice, parallel, TEMPLATES[style], mark)
    assert tools is not None
    return tools


CLOCK_CALL = '<tool_call>{"name": "clock", "arguments": {}}</tool_call>'
WEATHER_CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"town": "Köln"}}\n</tool_call>'
BOTH = [Call("clock", "{}"), Call("get_weather", '{"town": "Köln"}')]
# What a model writes, and what of it is content and calls; what looks like a call and is none stays as it is.
FOUND: list[tuple[str, str, list[Call]]] = [
    (f"Let me see.\n{CLOCK_CALL}", "Let me see.", BOTH[:1]),
    (f"{CLOCK_CALL}\n{WEATHER_CALL}", "", BOTH),
]
NOT_FOUND = [
    "Nothing to call here <tool",
    '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>',
    '<tool_call>{"name": "clock", "arguments": {',
    '<tool_call>{"name": "clock", "arguments": 3}</tool_call>',
    "a <tool_call>b</tool_call> c",
    "1 < 2, and <tool> is no call",
]
TEXTS = FOUND + [(text, text, []) for text in NOT_FOUND]


@pytest.mark.parametrize(("text", "content", "calls"), TEXTS)
def test_calls_are_found_whole_and_in_pieces(text: str, content: str, calls: list[Call]) -> None:
    tools = offered()
    assert tools.find(text) == (content, calls)
    for size in (1, 3, 7, 1000):
        stream = ToolStream(tools)
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        told = [stream.push(piece, is_last=i == len(pieces) - 1) for i, piece in enumerate(pieces)]
        assert "".join(part for part, _ in told) == content, size
        assert [call for _, found in told for call in found] == calls


def test_calls_of_llama() -> None:
    tools = offered(style="bare")
    text = '{"name": "get_weather", "parameters": {"town": "Oslo"}}'
    for size in (1, 5, 1000):
        stream = ToolStream(tools)
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        told = [stream.push(piece, is_last=i == len(pieces) - 1) for i, piece in enumerate(pieces)]
        assert "".join(part for part, _ in told) == ""
        assert [call for _, found in told for call in found] == [Call("get_weather", '{"town": "Oslo"}')]
    stream = ToolStream(tools)
    assert stream.push("It is ", is_last=False) == ("It is ", [])
    assert stream.push("sunny", is_last=True) == ("sunny", [])
    stream = ToolStream(tools)
    assert stream.push("So: ", is_last=False) == ("So: ", [])
    assert stream.push(text, is_last=True) == (text, []), "a text stays one"
    grammar = offered("required", style="bare").grammar()
    assert grammar is not None
    assert "tool_call" not in grammar


TWO = '[{"name": "clock", "arguments": {}}, {"name": "get_weather", "arguments": {"town": "Köln"}, "id": "a1B2c3D4e"}]'


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        (f" {TWO}", BOTH),
        (f"[TOOL_CALLS] {TWO}", BOTH),
        ('[{"name": "clock"}]', BOTH[:1]),
        ('[{"name": "clock"}, {"name": "unknown"}]', []),
        ('[{"name": "clock", "arguments": {', []),
        ("[]", []),
        ("[1] says the same", []),
        (f"Well: {TWO}", []),
    ],
)
def test_calls_of_mistral(text: str, calls: list[Call]) -> None:
    tools = offered(style="list")
    content = "" if calls else text
    assert tools.find(text) == (content, calls)
    for size in (1, 5, 1000):
        stream = ToolStream(tools)
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        told = [stream.push(piece, is_last=i == len(pieces) - 1) for i, piece in enumerate(pieces)]
        assert "".join(part for part, _ in told) == content
        assert [call for _, found in told for call in found] == calls


def test_calls_that_mistral_must_make() -> None:
    """A model with the control token begins with it; identities are what its templates take."""
    tools = offered("required", style="list", mark=5)
    assert re.fullmatch("[A-Za-z0-9]{9}", tools.identity())
    assert offered().identity().startswith("call_")
    assert len(offered(style="list", parallel=False).find(TWO)[1]) == 1
    for mark, begin in ((5, "start: <[5]> "), (None, 'start: "[TOOL_CALLS]" ')):
        grammar = offered("required", style="list", mark=mark).grammar()
        assert grammar is not None
        assert grammar.startswith(begin)
        assert not LLMatcher.validate_grammar(grammar)


def test_a_way_of_calling_that_is_not_known_is_said() -> None:
    with pytest.raises(HttpError, match="does not read"):
        read_tools([CLOCK], "auto", None, "{{ tools }} <function=name>")
    with pytest.raises(HttpError, match="does not read"):
        read_tools([CLOCK], "auto", None, "{{ tools }} [TOOL_CALLS]name[ARGS]")
