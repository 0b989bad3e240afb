"""Photographs to tensors beside Pillow with torchvision, and what stands behind a detector, on one core.

    python benchmarks/bench_pictures.py [--seconds 0.5] [--no-write]

The photographs are scikit-image's, one also enlarged up to 4k, as JPEG and PNG; all end as float32 [3, 224, 224].
Answers are checked first: from the same pixels ours are within one level of Pillow's, from a file that is decoded at a
fraction of its size within eight; boxes that stay are those of the plain algorithm in numpy. Where torchvision is
missing, torch alone does what it does with a tensor.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data

import harness
from headrace import _core, pictures

try:
    import torchvision
except (ImportError, RuntimeError):  # RuntimeError: it is built for another torch
    torchvision = None

SIZE = (224, 224)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PLACES, CLASSES, SIDE = 8400, 80, 640  # of YOLOv8 with pictures of 640 x 640


def in_turns(calls: dict[str, Callable[[], Any]], seconds: float) -> dict[str, list[float]]:
    """Milliseconds of each call, by name; one after the other until each had `seconds`, and 5 times at least."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds * len(calls)
    while time.perf_counter() < end or min(map(len, times.values())) < 5:
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    return times


def photographs() -> dict[str, bytes]:
    """Files by what they are."""
    coffee = Image.fromarray(data.coffee())
    found = {
        "astronaut 512x512": Image.fromarray(data.astronaut()),
        "cat 451x300": Image.fromarray(data.chelsea()),
        **{
            f"{name} {width}x{height}": coffee.resize((width, height), Image.Resampling.BICUBIC)
            for name, width, height in (("vga", 640, 480), ("hd", 1920, 1080), ("4k", 3840, 2160))
        },
    }
    files = {f"{name} jpeg": _file(image, "JPEG", quality=90) for name, image in found.items()}
    files |= {f"{name} png": _file(found[name], "PNG") for name in ("vga 640x480", "hd 1920x1080")}
    return files


def _file(image: Image.Image, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def ours(file: bytes) -> Any:
    return pictures.prepare([pictures.decode(file, at_least=SIZE)], resize=SIZE, mean=MEAN, std=STD)[0]


def with_pillow(file: bytes) -> Any:
    """Decoded and resized by Pillow, the rest by torchvision, as its own reference scripts do."""
    image = Image.open(io.BytesIO(file)).convert("RGB").resize(SIZE, Image.Resampling.BILINEAR)
    if torchvision is None:
        return _normalised(torch.from_numpy(np.array(image)).permute(2, 0, 1).float())
    functional = torchvision.transforms.functional
    return functional.normalize(functional.to_tensor(image), MEAN, STD).numpy()


def with_tensors(file: bytes) -> Any:
    """Decoded by Pillow, the rest on tensors."""
    whole = torch.from_numpy(np.array(Image.open(io.BytesIO(file)).convert("RGB"))).permute(2, 0, 1)
    if torchvision is not None:
        functional = torchvision.transforms.v2.functional
        small = functional.resize(whole, list(SIZE), antialias=True)
        return functional.normalize(functional.to_dtype(small, torch.float32, scale=True), MEAN, STD).numpy()
    small = torch.nn.functional.interpolate(
        whole[None].float(), SIZE, mode="bilinear", antialias=True, align_corners=False
    )
    return _normalised(small[0])


def _normalised(planes: torch.Tensor) -> Any:
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, STD))
    return ((planes / 255 - mean) / std).numpy()


def decoded(file: bytes) -> Any:
    """What of that is Pillow's decoding, in full size."""
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def picture_lines(seconds: float) -> list[dict[str, Any]]:
    rival = "torch" if torchvision is None else "torchvision"
    ways: dict[str, Callable[[bytes], Any]] = {
        "headrace": ours,
        f"Pillow resizes, {rival}": with_pillow,
        f"{rival} resizes": with_tensors,
        "Pillow decodes, no more": decoded,
    }
    levels = 255 * np.float32(STD)[:, None, None]
    lines = []
    for name, file in photographs().items():
        expected = with_pillow(file)
        whole = pictures.prepare([pictures.decode(file)], resize=SIZE, mean=MEAN, std=STD)[0]
        assert np.abs((whole - expected) * levels).max() <= 1.001, name
        assert np.abs((ours(file) - expected) * levels).max() <= 8, name
        assert np.abs((with_tensors(file) - expected) * levels).max() <= 2, name
        times = in_turns({way: partial(call, file) for way, call in ways.items()}, seconds)
        base = harness.percentile(times["headrace"], 0.5)
        lines += [
            _line("decode, resize, normalise", name, way, found)
            | {"ours_times": round(harness.percentile(found, 0.5) / base, 2)}
            for way, found in times.items()
        ]
    return lines


def plain_suppression(boxes: Any, scores: Any, classes: Any, max_overlap: float, most: int) -> list[int]:
    """The algorithm as it is written down."""
    zero = np.float32(0)
    left, top, right, bottom = np.ascontiguousarray(boxes.T)
    area = np.maximum(zero, right - left) * np.maximum(zero, bottom - top)
    order = np.argsort(-scores, kind="stable")
    stays = np.ones(len(scores), bool)
    kept: list[int] = []
    for i in order:
        if len(kept) == most:
            break
        if not stays[i]:
            continue
        kept.append(int(i))
        width = np.maximum(zero, np.minimum(right, right[i]) - np.maximum(left, left[i]))
        height = np.maximum(zero, np.minimum(bottom, bottom[i]) - np.maximum(top, top[i]))
        inter = width * height
        with np.errstate(invalid="ignore"):
            stays &= ~((inter / (area + area[i] - inter) > np.float32(max_overlap)) & (classes == classes[i]))
    return kept


def head(random: np.random.Generator, sure: int, spread: float, classes: int) -> Any:
    """What a detector gives, [84, 8400]: `sure` places above the threshold, boxes within a share of the picture."""
    output = random.random((4 + CLASSES, PLACES), dtype=np.float32) * np.float32(0.2)
    output[:2] = SIDE / 2 + (random.random((2, PLACES), dtype=np.float32) - 0.5) * SIDE * spread
    output[2:4] = 16 + random.random((2, PLACES), dtype=np.float32) * 96
    places = random.choice(PLACES, sure, replace=False)
    output[4 + random.integers(classes, size=sure), places] = 0.3 + 0.7 * random.random(sure)
    return output


def stuck(most: int) -> Any:
    """The most pairs that there can be: most - 1 boxes that stay, and behind them all others upon the last of these."""
    output = np.zeros((4 + CLASSES, PLACES), np.float32)
    places = np.minimum(np.arange(PLACES), most - 2)
    output[0], output[1] = 16 * (places % 40) + 8, 16 * (places // 40) + 8
    output[2:4] = 15
    output[4] = np.linspace(0.99, 0.3, PLACES)
    return output


def detection_lines(seconds: float) -> list[dict[str, Any]]:
    random = np.random.default_rng(0)
    heads = {
        "400 of 8,400 boxes": head(random, 400, 1.0, CLASSES),
        "8,400 boxes": head(random, PLACES, 1.0, CLASSES),
        "8,400 boxes of one class": head(random, PLACES, 1.0, 1),
        "8,400 boxes that overlap": head(random, PLACES, 0.02, CLASSES),
        "8,400 boxes of one class that overlap": head(random, PLACES, 0.02, 1),
        "8,400 boxes, the most pairs": stuck(300),
    }
    lines = []
    for (name, output), most in itertools.product(heads.items(), (300, PLACES)):
        if most == PLACES and name != "8,400 boxes":
            continue
        rows = np.ascontiguousarray(output.T)
        found = _core.decode_yolo(output, threshold=0.25, objectness=False, transposed=True)
        same = _core.decode_yolo(rows, threshold=0.25, objectness=False, transposed=False)
        assert all(np.array_equal(*pair) for pair in zip(found, same, strict=True))
        assert len(found[1]) == (400 if name.startswith("400") else PLACES), name

        def suppress(found: Any = found, most: int = most) -> Any:
            return _core.suppress_boxes(*found, max_overlap=0.45, across_classes=False, max_detections=most)

        def decode(output: Any = output, is_turned: bool = True) -> Any:
            return _core.decode_yolo(output, threshold=0.25, objectness=False, transposed=is_turned)

        def both(output: Any = output, most: int = most) -> Any:
            found = _core.decode_yolo(output, threshold=0.25, objectness=False, transposed=True)
            return _core.suppress_boxes(*found, max_overlap=0.45, across_classes=False, max_detections=most)

        kept = suppress().tolist()
        assert kept == plain_suppression(*found, 0.45, most), name
        calls = {"decode [84, 8400]": decode, "decode [8400, 84]": partial(decode, rows, False),
                 "suppress": suppress, "decode [84, 8400], suppress": both}  # fmt: skip
        if torchvision is not None:
            tensors = [torch.from_numpy(each) for each in found]
            calls["torchvision.ops.batched_nms"] = partial(torchvision.ops.batched_nms, *tensors, 0.45)
        lines += [
            _line("detection", name, way, times) | {"max_detections": most, "stay": len(kept)}
            for way, times in in_turns(calls, seconds).items()
        ]
    return lines


def _line(case: str, what: str, way: str, times: list[float]) -> dict[str, Any]:
    return {
        "case": case, "input": what, "way": way, "threads": 1, "unit": "ms", **harness.spread(times, 4),
        "isa": _core.isa(), "versions": harness.versions("headrace", "pillow", "torch", "torchvision", "numpy"),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="of each way of each input (default %(default)s)"
    )
    parser.add_argument("--only", choices=("pictures", "detections"), help="one half")
    parser.add_argument("--no-write", action="store_true", help="only show the lines")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/pictures.jsonl")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    lines = [] if options.only == "detections" else picture_lines(options.seconds)
    lines += [] if options.only == "pictures" else detection_lines(options.seconds)
    if options.no_write:
        for line in lines:
            print({key: line[key] for key in ("case", "input", "way", "median", "p90", "n")})
        return
    harness.write("pictures", lines, options.out)


if __name__ == "__main__":
    main()
