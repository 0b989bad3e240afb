"""Files of pictures in, boxes out, by the network in the folder that network.txt names; detector.py writes both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import headrace
from headrace import pictures

HERE = Path(__file__).parent
SIDE = 416
MOST = 100  # boxes of a picture

INPUTS = {"image": "bytes"}  # a JPEG, PNG, WebP or GIF
# Rows behind the last box that was found are zeros, and their class is -1.
OUTPUTS = {"boxes": f"float32[{MOST}, 4]", "scores": f"float32[{MOST}]", "classes": f"int64[{MOST}]"}


def boxed(image: bytes) -> pictures.Letterbox:
    return pictures.letterbox(pictures.decode(image), (SIDE, SIDE), fill=128)


def detections(output: Any, labels: Any, letterbox: pictures.Letterbox, threshold: float = 0.005) -> Any:
    """Of the network's output [places, 5 + classes]."""
    return pictures.detect_yolo(
        output, labels, threshold=threshold, max_overlap=0.45, max_detections=MOST, objectness=True,
        letterbox=letterbox,
    )  # fmt: skip


@headrace.model(max_batch=8, inputs=INPUTS, outputs=OUTPUTS)
class Detector:
    def __init__(self) -> None:
        network = (HERE / (HERE / "network.txt").read_text(encoding="utf-8").strip()).resolve()
        self.model = headrace.load(network)
        self.labels = self.model.info.labels

    def __call__(self, image: Any) -> dict[str, Any]:
        letterboxes = [boxed(each) for each in image]
        output = self.model.predict(picture=np.stack([each.picture for each in letterboxes]))["output"]
        found = {
            "boxes": np.zeros((len(image), MOST, 4), np.float32),
            "scores": np.zeros((len(image), MOST), np.float32),
            "classes": np.full((len(image), MOST), -1, np.int64),
        }
        for row, letterbox in enumerate(letterboxes):
            for place, each in enumerate(detections(output[row], self.labels, letterbox)):
                found["boxes"][row, place] = each.box
                found["scores"][row, place] = each.score
                found["classes"][row, place] = self.labels.index(each.label)
        return found
