"""explain of both clients: what a Model's method of the same name gives, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeAlias

from .errors import InvalidArgumentError

if TYPE_CHECKING:
    from .attributions.explanation import Explanation
    from .client_predict import PredictSteps

    Base: TypeAlias = PredictSteps
else:
    Base = object

_Steps: TypeAlias = "Generator[Any, Any, Any]"


class ExplainSteps(Base):
    """What both clients do."""

    def _explain(self, item: Any, image: Any, model: str, options: dict[str, Any]) -> _Steps:
        from .attributions.explanation import Explanation

        if (item is None) == (image is None):
            raise InvalidArgumentError("explain: give an item, or image=, one of the two")
        wanted: Any = {key: value for key, value in options.items() if value is not None} or True
        text = item if isinstance(item, str) else None
        if image is not None:
            rows = yield from self._each_image(image, "/v1/classify", model=model, top_k=1, explain=wanted)
            return Explanation.from_dict(rows[0]["explanation"])
        if text is not None:
            body: Any = {"model": model, "input": text, "top_k": 1, "explain": wanted}
            try:
                answer = json.loads((yield from self._exchange(self._prediction(body, "/v1/classify"))))
                return Explanation.from_dict(answer["data"][0]["explanation"], text)
            except InvalidArgumentError as error:
                if error.code != "wrong_task":
                    raise
        body = {"model": model, "input": item, "explain": wanted}
        answer = json.loads((yield from self._exchange(self._prediction(body))))
        return Explanation.from_dict(answer["explanation"], text)


class ExplainCalls(ExplainSteps):
    """The methods of Client."""

    if TYPE_CHECKING:

        def _run(self, steps: _Steps) -> Any: ...

    def explain(
        self,
        item: Any = None,
        *,
        model: str,
        image: Any = None,
        target: str | int | None = None,
        method: str | None = None,
        max_evaluations: int | None = None,
        segments: int | None = None,
        baseline: Any = None,
        seed: int | None = None,
    ) -> Explanation:
        """What each word, patch or feature of a text, picture or item did for the answer of `model`, which
        classifies or predicts. Of a picture the explanation has no pixels."""
        options = {"target": target, "method": method, "max_evaluations": max_evaluations, "segments": segments,
                   "baseline": baseline, "seed": seed}  # fmt: skip
        return self._run(self._explain(item, image, model, options))  # type: ignore[no-any-return]


class AsyncExplainCalls(ExplainSteps):
    """The same for AsyncClient."""

    if TYPE_CHECKING:

        async def _run(self, steps: _Steps) -> Any: ...

    async def explain(
        self,
        item: Any = None,
        *,
        model: str,
        image: Any = None,
        target: str | int | None = None,
        method: str | None = None,
        max_evaluations: int | None = None,
        segments: int | None = None,
        baseline: Any = None,
        seed: int | None = None,
    ) -> Explanation:
        """As Client.explain."""
        options = {"target": target, "method": method, "max_evaluations": max_evaluations, "segments": segments,
                   "baseline": baseline, "seed": seed}  # fmt: skip
        return await self._run(self._explain(item, image, model, options))  # type: ignore[no-any-return]
