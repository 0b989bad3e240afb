"""POST /v1/mask: personal data in texts, found and taken out, to try what --mask does or to mask without Python."""

from __future__ import annotations

import asyncio
import secrets
from typing import Annotated, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..errors import InvalidArgumentError
from ..security.masking import KINDS, Finding, Masked, Masker, SecondTier
from ..security.second_tier import findings_of
from ..tasks.tag import TagJob
from .access import current_call
from .answer import Answer
from .embeddings import find_model
from .errors import invalid
from .requests import Name, decode, read_body
from .service import DisconnectWatch, Endpoint, Service
from .status import NO_STORE

ROUTE = "/v1/mask"
MAX_TEXTS = 256
MAX_KEY = 256
_INLINE_CHARACTERS = 10_000  # about a millisecond where every word is personal data
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Texts = Annotated[list[_Text], msgspec.Meta(min_length=1, max_length=MAX_TEXTS)]
_Kinds = Annotated[list[str], msgspec.Meta(min_length=1, max_length=len(KINDS))]
_Key = Annotated[str, msgspec.Meta(min_length=16, max_length=MAX_KEY)]
_encode = msgspec.json.Encoder().encode


class MaskRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The body. `key` is the client's own: with the server's, codes of guessed values would tell what stands masked
    elsewhere."""

    input: _Text | _Texts
    mode: Literal["mask", "hash", "reversible", "drop"] = "mask"
    kinds: _Kinds | None = None
    key: _Key | None = None
    model: Name | None = None

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input

    def masker(self, second: SecondTier | None) -> Masker:
        """HttpError 400 for an unknown kind, or a key that is not for hash."""
        key = self.key
        if self.mode == "hash" and key is None:
            key = secrets.token_hex(32)
        unknown = [kind for kind in self.kinds or () if kind not in KINDS]
        if unknown:
            raise invalid(f"{unknown[0][:50]!r} is no kind: choose from {', '.join(KINDS)}", param="kinds")
        try:
            return Masker(self.kinds, self.mode, key, second)
        except InvalidArgumentError as error:
            raise invalid(str(error), param="key") from None


_decoder = msgspec.json.Decoder(MaskRequest)


def mask_endpoint(service: Service) -> Endpoint:
    """POST /v1/mask."""

    @service.endpoint(ROUTE)
    async def mask(request: Request) -> Response:
        call = current_call()
        if call is not None:
            call.need("infer")
        wanted = decode(_decoder, await read_body(request, service.max_body_bytes))
        texts = wanted.texts
        masker = wanted.masker(None)  # what is wrong with it is told before a model runs
        if wanted.model is not None:
            with DisconnectWatch(request):
                rows = iter(await _named(service, wanted.model, texts))
            masker = wanted.masker(lambda _: next(rows))  # of one text after the other
        if sum(map(len, texts)) <= _INLINE_CHARACTERS:
            found = masker.mask_many(texts)
        else:
            found = await asyncio.to_thread(masker.mask_many, texts)
        data = [_row(index, masked) for index, masked in enumerate(found)]
        return Answer(_encode({"object": "list", "mode": wanted.mode, "data": data}), headers=NO_STORE)

    return mask


async def _named(service: Service, name: str, texts: list[str]) -> list[list[Finding]]:
    """What a served model for tag finds in each text, under the queue's rules."""
    model = await find_model(service, name)
    try:
        read = findings_of(model)
    except InvalidArgumentError as error:
        raise invalid(str(error), param="model", code=error.code) from None
    entities, _ = await model._arun_request(TagJob(texts, aggregation="max"))
    return [read(each) for each in entities]


def _row(index: int, masked: Masked) -> dict[str, Any]:
    return {
        "object": "masked_text",
        "index": index,
        "text": masked.text,
        "findings": [{"kind": each.kind, "start": each.begin, "end": each.end} for each in masked.findings],
        "mapping": masked.mapping,
    }
