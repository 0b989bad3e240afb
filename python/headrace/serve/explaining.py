"""The option `explain` of classify and predict: what it may hold, and how explanations are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from ..attributions.explanation import MAX_EVALUATIONS, MAX_REQUEST, Options

if TYPE_CHECKING:
    from ..attributions.explanation import Explanation

MAX_SEGMENTS = 1024


class ExplainOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How to explain, or `true` for the defaults. Bounded: what a request may cost is known before it begins."""

    method: Literal["auto", "shap", "occlusion"] = "auto"
    target: str | int | None = None
    max_evaluations: Annotated[int, msgspec.Meta(ge=2, le=MAX_REQUEST)] = MAX_EVALUATIONS
    segments: Annotated[int, msgspec.Meta(ge=1, le=MAX_SEGMENTS)] | None = None
    baseline: Any = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)] = 0


def options_of(wanted: bool | ExplainOptions) -> Options | None:
    """What was asked for; None for no explanation."""
    if wanted is False:
        return None
    given = ExplainOptions() if wanted is True else wanted
    return Options(
        given.method, given.target, given.max_evaluations, given.segments, given.baseline, given.seed
    )


def written(explanation: Explanation) -> dict[str, Any]:
    """As JSON has it; of a picture with the patch of each pixel left to a grid's rows and columns."""
    found = explanation.to_dict()
    if explanation.groups is not None and explanation.groups.ndim == 2:
        columns = int(explanation.groups[0].max()) + 1
        found["grid"] = [len(explanation.names) // columns, columns]
    return found
