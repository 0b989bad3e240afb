"""Decoding, resizing and scaling photographs beside Pillow with numpy and with torch, on one core; detectors' boxes.

    python benchmarks/bench_pictures.py [--seconds 1]

The photographs are scikit-image's, one also enlarged up to 4k. All end as float32 [3, 224, 224]. Answers are checked
first: from the same pixels ours are within one level of Pillow's; from a file that is decoded at a fraction of its size
within eight.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data

from headrace import _core, pictures

SIZE = (224, 224)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def best(call: Callable[[], Any], seconds: float) -> float:
    """Median milliseconds."""
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e3


def photographs() -> dict[str, bytes]:
    found = {}
    for name, picture in (
        ("astronaut", data.astronaut()),
        ("coffee", data.coffee()),
        ("cat", data.chelsea()),
    ):
        found[f"{name} {picture.shape[1]}x{picture.shape[0]}"] = Image.fromarray(picture)
    found["vga 640x480"] = found["coffee 600x400"].resize((640, 480), 3)
    found["hd 1920x1080"] = found["coffee 600x400"].resize((1920, 1080), 3)
    found["4k 3840x2160"] = found["coffee 600x400"].resize((3840, 2160), 3)
    return {name: _jpeg(image) for name, image in found.items()}


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=90)
    return stream.getvalue()


def ours(file: bytes) -> Any:
    return pictures.prepare([pictures.decode(file, at_least=SIZE)], resize=SIZE, mean=MEAN, std=STD)[0]


def with_numpy(file: bytes) -> Any:
    image = Image.open(io.BytesIO(file)).convert("RGB").resize(SIZE, Image.Resampling.BILINEAR)
    values = np.asarray(image, np.float32) / 255
    return ((values - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1).copy()


def with_torch(file: bytes) -> Any:
    """What torchvision does with a tensor."""
    pixels = (
        torch.from_numpy(np.array(Image.open(io.BytesIO(file)).convert("RGB"))).permute(2, 0, 1)[None].float()
    )
    small = torch.nn.functional.interpolate(
        pixels, SIZE, mode="bilinear", antialias=True, align_corners=False
    )
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (MEAN, STD))
    return ((small / 255 - mean) / std)[0].numpy()


def decoded(file: bytes) -> Any:
    """What of that is Pillow's decoding, in full size."""
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def check(file: bytes) -> None:
    levels = 255 * np.float32(STD)[:, None, None]
    whole = pictures.prepare([pictures.decode(file)], resize=SIZE, mean=MEAN, std=STD)[0]
    assert np.abs((whole - with_numpy(file)) * levels).max() <= 1.001
    assert np.abs((ours(file) - with_numpy(file)) * levels).max() <= 8


def detections(seconds: float) -> dict[str, float]:
    random = np.random.default_rng(0)
    output = random.random((84, 8400), dtype=np.float32) * np.float32(0.2)
    output[:4] = random.random((4, 8400), dtype=np.float32) * 640
    for place in random.choice(8400, 400, replace=False):  # as many as a crowded street gives
        output[4 + random.integers(80), place] = 0.3 + 0.7 * random.random()
    found = _core.decode_yolo(output, threshold=0.25, objectness=False, transposed=True)

    def suppress() -> Any:
        return _core.suppress_boxes(*found, max_overlap=0.45, across_classes=False, max_detections=300)

    def decode() -> Any:
        return _core.decode_yolo(output, threshold=0.25, objectness=False, transposed=True)

    assert len(found[1]) == 400
    return {"decode 8400 x 80": best(decode, seconds), "suppress 400": best(suppress, seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    for name, file in photographs().items():
        check(file)
        ways = (ours, with_numpy, with_torch, decoded)
        row = {each.__name__: round(best(partial(each, file), options.seconds), 3) for each in ways}
        print(json.dumps({"picture": name, "unit": "ms", **row}))
    row = {name: round(value, 3) for name, value in detections(options.seconds).items()}
    print(json.dumps({"unit": "ms", **row}))


if __name__ == "__main__":
    main()
