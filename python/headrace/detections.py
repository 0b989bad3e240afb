"""What object detectors' numbers mean, and drawing it. Public as headrace.pictures has it.

Decoding and suppression are C++ (cpp/media/detections.h).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from . import _core
from .errors import InvalidArgumentError
from .results import Detection

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from .pictures import Floats, Letterbox, Source


def detect_yolo(
    output: Floats,
    labels: Sequence[str],
    *,
    threshold: float = 0.25,
    max_overlap: float = 0.45,
    across_classes: bool = False,
    max_detections: int = 300,
    objectness: bool = False,
    letterbox: Letterbox | None = None,
) -> list[Detection]:
    """What a detector of the YOLO family found, best first.

    Args:
        output: float32 [4 + classes, boxes] (YOLOv8 and later) or [boxes, 4 + classes]: centre x, y, width, height,
            with `objectness` a score that there is anything (YOLOv5), then a score for each class.
        labels: the names of the classes, by whose number the layout is told.
        threshold: scores at or below are dropped.
        max_overlap: intersection over union above which the box with the lower score is dropped.
        across_classes: also where the classes differ.
        letterbox: what the picture went through; boxes are then those of the original.

    Raises InvalidArgumentError for an array that does not fit the labels and for numbers out of range.

    >>> import headrace.pictures, numpy
    >>> output = numpy.array([[50, 50, 20, 10, 0.9, 0.1], [51, 50, 20, 10, 0.8, 0.1]], numpy.float32)
    >>> [(d.label, d.box) for d in headrace.pictures.detect_yolo(output, ["wheel", "mill"])]
    [('wheel', (40.0, 45.0, 60.0, 55.0))]
    """
    import numpy as np

    numbers = np.ascontiguousarray(output[0] if output.ndim == 3 and len(output) == 1 else output, np.float32)
    columns = 4 + int(objectness) + len(labels)
    if numbers.ndim != 2 or columns not in numbers.shape:
        raise InvalidArgumentError(
            f"output has the shape {list(numbers.shape)}: with {len(labels)} labels one side must be {columns}"
        )
    transposed = numbers.shape[1] != columns
    found = _core.decode_yolo(numbers, threshold=threshold, objectness=objectness, transposed=transposed)
    return _suppressed(found, labels, max_overlap, across_classes, max_detections, letterbox)


def detect_ssd(
    locations: Floats,
    scores: Floats,
    anchors: Floats,
    labels: Sequence[str],
    *,
    variances: tuple[float, float] = (0.1, 0.2),
    threshold: float = 0.5,
    max_overlap: float = 0.45,
    across_classes: bool = False,
    max_detections: int = 300,
    letterbox: Letterbox | None = None,
) -> list[Detection]:
    """What a Single Shot Detector found, best first.

    Args:
        locations: float32 [boxes, 4], relative to the anchors.
        scores: float32 [boxes, classes], probabilities; the first class is the background.
        anchors: float32 [boxes, 4]: centre x, y, width, height.
        labels: the names of all classes, that of the background first.
        variances: by what locations and sizes are multiplied.

    Other arguments and errors as `detect_yolo`.

    >>> import headrace.pictures, numpy
    >>> f = lambda *rows: numpy.array(rows, numpy.float32)
    >>> headrace.pictures.detect_ssd(f([0, 0, 0, 0]), f([0.1, 0.75]), f([10, 10, 4, 8]), ["-", "mill"])
    [Detection(label='mill', score=0.75, box=(8.0, 6.0, 12.0, 14.0))]
    """
    import numpy as np

    if scores.ndim != 2 or scores.shape[1] != len(labels):
        raise InvalidArgumentError(
            f"scores has the shape {list(scores.shape)}: must be [boxes, {len(labels)}]"
        )
    arrays = (np.ascontiguousarray(each, np.float32) for each in (locations, scores, anchors))
    found = _core.decode_ssd(*arrays, threshold=threshold, variances=variances)
    return _suppressed(found, labels, max_overlap, across_classes, max_detections, letterbox)


def nms(
    boxes: Floats,
    scores: Floats,
    classes: NDArray[Any] | None = None,
    *,
    max_overlap: float = 0.5,
    max_detections: int = 300,
) -> NDArray[np.int32]:
    """Greedy non-maximum suppression: int32 places of the boxes that stay, best first, of equal scores the first.

    Args:
        boxes: float32 [n, 4]: x1, y1, x2, y2.
        scores: float32 [n].
        classes: int [n]: boxes of different classes do not suppress each other; None: all do.

    Raises InvalidArgumentError for other shapes, numbers that are not finite, or a limit out of its range.

    >>> import headrace.pictures, numpy
    >>> boxes = numpy.array([[0, 0, 10, 10], [1, 0, 10, 10], [20, 0, 30, 10]], numpy.float32)
    >>> headrace.pictures.nms(boxes, numpy.array([0.5, 0.9, 0.7], numpy.float32)).tolist()
    [1, 2]
    """
    import numpy as np

    kinds = np.zeros(len(boxes), np.int32) if classes is None else np.ascontiguousarray(classes, np.int32)
    return _core.suppress_boxes(
        np.ascontiguousarray(boxes, np.float32), np.ascontiguousarray(scores, np.float32), kinds,
        max_overlap=max_overlap, across_classes=classes is None, max_detections=max_detections,
    )  # fmt: skip


def _suppressed(
    found: tuple[Floats, Floats, NDArray[np.int32]],
    labels: Sequence[str],
    max_overlap: float,
    across_classes: bool,
    max_detections: int,
    box: Letterbox | None,
) -> list[Detection]:
    boxes, scores, classes = found
    kept = _core.suppress_boxes(
        boxes, scores, classes,
        max_overlap=max_overlap, across_classes=across_classes, max_detections=max_detections,
    )  # fmt: skip
    boxes = boxes[kept]
    if box is not None:
        boxes = box.to_original(boxes)
    rows = zip(classes[kept].tolist(), scores[kept].tolist(), boxes.tolist(), strict=True)
    return [Detection(labels[label], score, tuple(corners)) for label, score, corners in rows]


def draw_boxes(picture: Source, detections: Iterable[Detection], *, width: int | None = None) -> Image.Image:
    """The picture as an image of Pillow, which a notebook shows, with each detection's box, label and score on it.

    Args:
        picture: as `decode` takes it.
        detections: boxes in the picture's own pixels; each label has a colour of its own.
        width: of the lines in pixels; by default a 300th of the longer side, and at least 2.

    >>> import headrace, numpy
    >>> found = [headrace.Detection("mill", 0.9, (10.0, 10.0, 50.0, 40.0))]
    >>> headrace.draw_boxes(numpy.zeros((60, 80, 3), numpy.uint8), found).size
    (80, 60)
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise ImportError("drawing needs Pillow: pip install 'headrace[pictures]'") from None

    from .pictures import decode

    image = Image.fromarray(decode(picture))
    draw = ImageDraw.Draw(image)
    side = max(image.size)
    line = width or max(2, side // 300)
    font: Any = ImageFont.load_default(max(10, side // 60))
    colours: dict[str, tuple[int, int, int]] = {}
    for found in sorted(detections, key=lambda each: each.score):  # the best on top
        colour = colours.setdefault(found.label, _PALETTE[len(colours) % len(_PALETTE)])
        x1, y1, x2, y2 = found.box
        draw.rectangle((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), outline=colour, width=line)
        text = f"{found.label} {found.score:.2f}"
        left, top, right, bottom = draw.textbbox((x1 + line, y1), text, font=font)
        over = min(bottom - y1 + line, max(0.0, y1))  # above the box where there is room
        draw.rectangle((left - line, top - over - line, right + line, bottom - over + line), fill=colour)
        draw.text((x1 + line, y1 - over), text, fill=(0, 0, 0), font=font)
    return image


# Okabe and Ito's, which are told apart by those who do not see every colour; without black.
_PALETTE = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
