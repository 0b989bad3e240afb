"""Pictures against Pillow: resizing bit for bit, every kind of file, orientation, boxes; and what must be refused."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image, ImageOps

import headrace
from headrace import pictures

FILTERS = {"bilinear": 2, "bicubic": 3, "lanczos": 1}
side = st.integers(1, 300) | st.sampled_from([1, 2, 3, 1000])


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(st.integers(0, 2**32 - 1), side, side, side, side, st.sampled_from(sorted(FILTERS)))
def test_resize_equals_pillow(
    seed: int, width: int, height: int, new_width: int, new_height: int, name: Any
) -> None:
    random = np.random.default_rng(seed)
    picture = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if seed % 3 == 0:  # black and white: what overshoots is cut at each pass
        picture = (picture & 128) // 128 * np.uint8(255)
    expected = np.asarray(Image.fromarray(picture).resize((new_width, new_height), FILTERS[name]))
    np.testing.assert_array_equal(pictures.resize(picture, (new_width, new_height), filter=name), expected)


def smooth(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    planes = [x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)]
    return Image.fromarray(np.stack(planes, axis=2).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_every_format_decodes_as_pillow_does(kind: str, tmp_path: Path) -> None:
    data = encoded(smooth(61, 47), kind)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    header = pictures.read_header(data)
    assert (header.format, header.width, header.height) == (kind.lower(), 61, 47)
    path = tmp_path / "picture"
    path.write_bytes(data)
    url = f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}"
    for source in (data, bytearray(data), path, str(path), url, Image.open(io.BytesIO(data))):
        np.testing.assert_array_equal(pictures.decode(source), expected)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = smooth(20, 10)
    if mode == "I;16":
        grey = np.arange(200, dtype=np.uint16).reshape(10, 20) * 300
        found = pictures.decode(encoded(Image.fromarray(grey), "PNG"))
        np.testing.assert_array_equal(found[:, :, 1], (grey >> 8).astype(np.uint8))
        return
    image = image.quantize(16) if mode == "P" else image.convert(mode)
    data = encoded(image, "JPEG" if mode == "CMYK" else "PNG")
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    np.testing.assert_array_equal(pictures.decode(data), np.asarray(expected))


def test_transparency_lies_on_the_background() -> None:
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = [200, 100, 0, 255]
    rgba[0, 1] = [200, 100, 0, 128]
    data = encoded(Image.fromarray(rgba), "PNG")
    found = pictures.decode(data)
    assert found[0, 0].tolist() == [200, 100, 0]
    assert found[0, 1].tolist() == [227, 177, 127]
    assert found[1, 1].tolist() == [255, 255, 255]
    assert pictures.decode(data, background=None)[0, 1].tolist() == [200, 100, 0]
    palette = Image.fromarray(rgba[:, :, :3]).quantize(4)
    assert (
        pictures.decode(encoded(palette, "PNG", transparency=palette.getpixel((1, 1))))[1, 1].tolist()
        == [255] * 3
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(smooth(32, 16), kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert pictures.read_header(data).orientation == orientation
    np.testing.assert_array_equal(pictures.decode(data), np.asarray(expected))
    np.testing.assert_array_equal(pictures.decode(Image.open(io.BytesIO(data))), np.asarray(expected))


def test_large_jpegs_are_decoded_at_a_fraction() -> None:
    data = encoded(smooth(1600, 1200), "JPEG", quality=95)
    small = pictures.decode(data, at_least=(200, 100))
    assert small.shape == (300, 400, 3)  # a quarter; an eighth would leave less than twice what is wanted
    whole = pictures.decode(data)
    assert whole.shape == (1200, 1600, 3)
    ours = pictures.resize(small, (200, 100)).astype(int)
    assert np.abs(ours - pictures.resize(whole, (200, 100))).max() <= 3


def test_prepare_is_resize_crop_and_scale() -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    [planes] = pictures.prepare(
        [picture], resize=24, crop=(20, 16), mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3)
    )
    cut = np.asarray(Image.fromarray(picture).resize((32, 24), 2))[4:20, 6:26].astype(np.float32)
    expected = (cut * np.float32(1 / 255) - np.float32([0.5, 0.4, 0.3])) / np.float32([0.1, 0.2, 0.3])
    np.testing.assert_allclose(planes, expected.transpose(2, 0, 1), rtol=1e-6, atol=1e-6)
    [patches] = pictures.prepare([picture], resize=(16, 8), patch=4)
    [planes] = pictures.prepare([picture], resize=(16, 8))
    ordered = planes.reshape(3, 2, 4, 4, 4).transpose(1, 3, 0, 2, 4).reshape(8, 48)
    np.testing.assert_array_equal(patches, ordered)
    many = pictures.prepare([picture] * 5, resize=(16, 8), threads=2)
    assert all((each == planes).all() for each in many)


def test_letterbox_and_back() -> None:
    picture = np.asarray(smooth(300, 100))
    boxed = pictures.letterbox(picture, (64, 64), fill=9)
    assert boxed.picture.shape == (64, 64, 3)
    assert (boxed.picture[:21] == 9).all()
    assert (boxed.picture[42:] == 9).all()
    boxes = boxed.to_original(np.float32([[0, 21, 64, 42], [-10, 0, 32, 70]]))
    np.testing.assert_allclose(boxes, [[0, 0, 300, 100], [0, 0, 150, 100]], atol=0.01)


def test_detectors_and_drawing() -> None:
    output = np.zeros((6, 50), np.float32)
    output[:, 0] = [50, 40, 20, 10, 0.9, 0.1]
    output[:, 1] = [51, 40, 20, 10, 0.8, 0.1]
    output[:, 2] = [20, 20, 10, 10, 0.1, 0.7]
    found = pictures.detect_yolo(output, ["wheel", "mill"])
    assert [(each.label, each.box) for each in found] == [
        ("wheel", (40, 35, 60, 45)),
        ("mill", (15, 15, 25, 25)),
    ]
    assert pictures.detect_yolo(np.ascontiguousarray(output.T)[None], ["wheel", "mill"]) == found
    before = np.asarray(smooth(100, 80))
    image = headrace.draw_boxes(before, found)
    changed = (np.asarray(image) != before).any(axis=2)
    assert changed[35, 40:60].all()
    assert not changed[60:, :].any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pictures.decode("https://example.org/a.png"), "not fetched"),
        (lambda: pictures.decode("data:image/png,abc"), "base64"),
        (lambda: pictures.decode("data:image/png;base64,!!"), "base64"),
        (lambda: pictures.decode(b"%PDF-1.4"), "JPEG, PNG, WebP and GIF"),
        (lambda: pictures.decode(b"BM" + bytes(100)), "JPEG, PNG, WebP and GIF"),
        (lambda: pictures.decode(np.zeros((2, 2), np.float32)), "no picture"),
        (lambda: pictures.decode(7), "type int"),  # type: ignore[arg-type]
        (lambda: pictures.resize(np.zeros((2, 2, 3), np.uint8), (0, 5)), "resize_size"),
        (lambda: pictures.resize(np.zeros((2, 2, 3), np.uint8), (1 << 30, 5)), "resize_size"),
        (lambda: pictures.resize(np.zeros((2, 2), np.uint8), (3, 5)), "height, width, 3"),
        (lambda: pictures.resize(np.zeros((2, 2, 3), np.uint8), (3, 5), filter="box"), "bilinear"),  # type: ignore[arg-type]
        (lambda: pictures.prepare([np.zeros((9, 9, 3), np.uint8)], patch=4), "multiples"),
        (lambda: pictures.nms(np.zeros((2, 3), np.float32), np.zeros(2, np.float32)), "n, 4"),
        (lambda: pictures.nms(np.full((1, 4), np.nan, np.float32), np.zeros(1, np.float32)), "infinite"),
        (lambda: pictures.detect_yolo(np.zeros((7, 50), np.float32), ["a"]), "must be 5"),
    ],
)  # fmt: skip
def test_errors_say_what_is_wrong(call: Any, message: str) -> None:
    with pytest.raises(headrace.Error, match=message):
        call()
