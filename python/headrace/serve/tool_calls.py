"""Tools in chats, as OpenAI's API has them: what a request offers, the form of a call, and calls found in a text.

A model writes calls as its chat template taught it. Known are `<tool_call>{"name": ..., "arguments": ...}</tool_call>`
(Hermes, Qwen2.5, Qwen3), a bare `{"name": ..., "parameters": ...}` (Llama 3.1) and `[TOOL_CALLS] [{"name": ...,
"arguments": ...}, ...]` (Mistral 7B v0.3, Nemo). The template says which it is.
"""

from __future__ import annotations

import json
import re
import secrets
import string
from dataclasses import dataclass
from typing import Any

import msgspec

from .errors import HttpError, invalid

MAX_TOOLS = 128
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
_BEGIN, _END = "<tool_call>", "</tool_call>"
MARK = "[TOOL_CALLS]"  # a control token in Mistral's vocabularies, which decoded texts do not show
_LETTERS = string.ascii_letters + string.digits
_ANYTHING: dict[str, Any] = {"type": "object"}


@dataclass(frozen=True)
class Call:
    """One call: the name of a tool, and its arguments as JSON."""

    name: str
    arguments: str

    def described(self, identity: str) -> dict[str, Any]:
        return {
            "id": identity,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }


@dataclass(frozen=True)
class Tools:
    """What a request offers, checked.

    Args:
        tools: as they came, for the chat template.
        schemas: name -> JSON schema of the arguments.
        is_required: the answer must be a call.
        is_parallel: there may be several calls.
        style: how the model writes calls: "tags" (Hermes), "bare" (JSON alone, Llama 3.1) or "list" (Mistral).
        mark: the token that begins a list, where it is one.
    """

    tools: list[dict[str, Any]]
    schemas: dict[str, dict[str, Any]]
    is_required: bool
    is_parallel: bool
    style: str
    mark: int | None = None

    @property
    def is_bare(self) -> bool:
        """Calls are all of an answer, with no tag that says where they end."""
        return self.style != "tags"

    def identity(self) -> str:
        """A new call's; Mistral's templates refuse other than nine letters and digits."""
        size, prefix = (9, "") if self.style == "list" else (24, "call_")
        return prefix + "".join(secrets.choice(_LETTERS) for _ in range(size))

    def grammar(self) -> str | None:
        """The form of an answer that must be a call, in Lark's syntax; None where it may be a text."""
        if not self.is_required:
            return None
        key = "parameters" if self.style == "bare" else "arguments"
        calls = [
            {
                "type": "object",
                "properties": {"name": {"const": name}, key: schema},
                "required": ["name", key],
                "additionalProperties": False,
            }
            for name, schema in self.schemas.items()
        ]
        body = f"call: %json {json.dumps({'anyOf': calls})}"
        if self.style == "bare":
            return f"start: call\n{body}"
        if self.style == "list":
            mark = json.dumps(MARK) if self.mark is None else f"<[{self.mark}]>"
            more = ' (", " call)*' if self.is_parallel else ""
            return f'start: {mark} " "? "[" call{more} "]"\n{body}'
        more = ' ("\\n" one)*' if self.is_parallel else ""
        return f'start: one{more}\none: "<tool_call>\\n" call "\\n</tool_call>"\n{body}'

    def find(self, text: str) -> tuple[str, list[Call]]:
        """The text before the first call, and the calls; what looks like a call and is none stays text."""
        if self.style == "list":
            return self._find_list(text)
        if self.style == "bare":
            call = self._read(text)
            return ("", [call]) if call else (text, [])
        calls = [call for found in _CALL.finditer(text) if (call := self._read(found[1]))]
        if not calls:
            return text, []
        return text[: text.index(_BEGIN)].rstrip(), calls if self.is_parallel else calls[:1]

    def _find_list(self, text: str) -> tuple[str, list[Call]]:
        listed = _decoded(text.strip().removeprefix(MARK))
        calls = [self._call(item) for item in listed] if isinstance(listed, list) else []
        found = [call for call in calls if call is not None]
        if not found or len(found) < len(calls):
            return text, []
        return "", found if self.is_parallel else found[:1]

    def _read(self, text: str) -> Call | None:
        return self._call(_decoded(text))

    def _call(self, call: Any) -> Call | None:
        if not isinstance(call, dict) or call.get("name") not in self.schemas:
            return None
        given = call.get("arguments", call.get("parameters", {}))
        if not isinstance(given, dict):
            return None
        return Call(call["name"], json.dumps(given, ensure_ascii=False))


def _decoded(text: str) -> Any:
    """JSON, or None where it is none."""
    try:
        return msgspec.json.decode(text.strip())
    except (msgspec.DecodeError, RecursionError):
        return None


class ToolStream:
    """The pieces of one streamed text as content and calls: what may become a call is not handed out as text."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._held = ""
        self._is_text = False  # a text began where a bare call would have
        self.count = 0  # calls found

    def push(self, text: str, *, is_last: bool) -> tuple[str, list[Call]]:
        """Content and calls that are certain after another piece."""
        self._held += text
        if self._tools.is_bare:
            return self._finish() if is_last and not self._is_text else self._bare_text()
        content = ""
        calls: list[Call] = []
        while True:
            begin = self._held.find(_BEGIN)
            end = self._held.find(_END, begin) if begin >= 0 else -1
            if end < 0:
                break
            before, found = self._tools.find(self._held[: end + len(_END)])
            self._held = self._held[end + len(_END) :]
            content += before if self.count + len(calls) == 0 else ""
            calls += found if self._tools.is_parallel or self.count + len(calls) == 0 else []
        if is_last:
            more, _ = self._finish()
            content += more
        elif begin < 0 and self.count + len(calls) == 0:
            safe = len(self._held) - _overlap(self._held.rstrip(), self._held)
            content, self._held = content + self._held[:safe], self._held[safe:]
        self.count += len(calls)
        return content, calls

    def _bare_text(self) -> tuple[str, list[Call]]:
        begins = self._held.lstrip()[:1]
        if not self._is_text and begins in ("", "[" if self._tools.style == "list" else "{"):
            return "", []
        self._is_text = True
        text, self._held = self._held, ""
        return text, []

    def _finish(self) -> tuple[str, list[Call]]:
        text, self._held = self._held, ""
        if not self._tools.is_bare:
            return (text if self.count == 0 else ""), []
        content, calls = self._tools.find(text)
        self.count += len(calls)
        return content, calls


def _overlap(stripped: str, text: str) -> int:
    """How much of the end of `text` may be the beginning of a call: white space, and a part of its first tag."""
    for size in range(min(len(_BEGIN) - 1, len(stripped)), 0, -1):
        if stripped.endswith(_BEGIN[:size]) and len(stripped) == len(text):
            before = stripped[:-size]
            return size + len(before) - len(before.rstrip())
    return len(text) - len(stripped)


def read_tools(
    tools: list[dict[str, Any]] | None,
    choice: Any,
    is_parallel: bool | None,
    template: str,
    mark: int | None = None,
) -> Tools | None:
    """The tools of a request; None where there are none, or none may be called. HttpError 400 that says what is wrong.

    Args:
        template: the model's chat template, which must know tools.
        mark: the model's token `[TOOL_CALLS]`, if it has one.
    """
    if not tools:
        if choice not in (None, "none", "auto"):
            raise invalid("tool_choice without tools: give the tools that may be called", param="tool_choice")
        return None
    if len(tools) > MAX_TOOLS:
        raise invalid(f"tools has {len(tools)} items: at most {MAX_TOOLS}", param="tools")
    schemas: dict[str, dict[str, Any]] = {}
    for i, tool in enumerate(tools):
        name, schema = _function(i, tool)
        if name in schemas:
            raise invalid(f"tools[{i}]: there are two tools {name!r}: give each its own name", param="tools")
        schemas[name] = schema
    wanted = _wanted(choice, schemas)
    if choice == "none":
        return None
    if "tools" not in template:
        raise invalid("this model's chat template knows no tools: send the chat without them", param="tools")
    style = _style(template)
    if style is None:
        raise invalid(
            "this model writes calls in a way that this server does not read: known are those of Hermes, Llama 3.1 and "
            "Mistral 7B v0.3",
            param="tools",
        )
    if wanted is not None:
        schemas = {wanted: schemas[wanted]}
    is_required = choice not in (None, "auto")
    return Tools(tools, schemas, is_required, is_parallel is not False and wanted is None, style, mark)


def _style(template: str) -> str | None:
    """How a template says that calls are written; None for a way that is not known."""
    if _BEGIN in template:
        return "tags"
    if MARK in template:
        return (
            None if "[ARGS]" in template else "list"
        )  # Mistral's later models name the tool before its arguments
    return "bare" if '"parameters"' in template else None


def _function(index: int, tool: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    function = tool.get("function")
    if tool.get("type") != "function" or not isinstance(function, dict):
        raise invalid(
            f"tools[{index}] must be {{'type': 'function', 'function': {{'name': ...}}}}", param="tools"
        )
    name, schema = function.get("name"), function.get("parameters") or _ANYTHING
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise invalid(
            f"tools[{index}].function.name must have 1 to 64 letters, digits, '_' or '-'", param="tools"
        )
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise invalid(f"tools[{index}].function.parameters must be the schema of an object", param="tools")
    return name, schema


def _wanted(choice: Any, schemas: dict[str, Any]) -> str | None:
    """The one tool that must be called, if the choice names one."""
    if choice in (None, "none", "auto", "required"):
        return None
    function = (
        choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    )
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise invalid(
            "tool_choice must be 'none', 'auto', 'required' or {'type': 'function', 'function': {'name': ...}}",
            param="tool_choice",
        )
    if name not in schemas:
        raise invalid(
            f"tool_choice names {name[:64]!r}, which is not among tools: {', '.join(schemas)}",
            param="tool_choice",
        )
    return name


def read_earlier_calls(index: int, message: dict[str, Any]) -> dict[str, Any]:
    """An assistant's message with calls, as templates want it: arguments as an object, not as JSON in a string."""
    wrong: HttpError = invalid(
        f"messages[{index}].tool_calls must be a list of {{'id': ..., 'type': 'function', 'function': "
        "{'name': ..., 'arguments': '{...}'}}",
        param="messages",
    )
    given = message["tool_calls"]
    if not isinstance(given, list):
        raise wrong
    calls = []
    for call in given:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise wrong
        try:
            arguments = msgspec.json.decode(function.get("arguments") or "{}")
        except (msgspec.DecodeError, RecursionError, TypeError):
            raise wrong from None
        calls.append({**call, "function": {**function, "arguments": arguments}})
    return {**message, "content": message.get("content") or "", "tool_calls": calls}
