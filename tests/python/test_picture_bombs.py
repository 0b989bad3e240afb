"""Files that lie about their size, or unpack to far more than they are: refused at once, in little memory."""

from __future__ import annotations

import io
import json
import random
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headrace
from headrace import pictures

Chunks = list[tuple[bytes, bytes]]


def png(chunks: Chunks, width: int = 8, height: int = 8) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, data in [(b"IHDR", head), *chunks]:
        parts.append(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
    return b"".join(parts)


def zeros(megabytes: int) -> bytes:
    return zlib.compress(bytes(megabytes << 20), 9)


PIXELS: Chunks = [(b"IDAT", zlib.compress(bytes(8 * 25))), (b"IEND", b"")]

NOISE: Chunks = [(b"IDAT", zlib.compress(random.Random(0).randbytes(8 * 25 * 4))), (b"IEND", b"")]


def jpeg(width: int = 16, height: int = 16, **options: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(stream, "JPEG", **options)
    return stream.getvalue()


def claimed(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose frame says another size."""
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def gif_with_large_frame() -> bytes:
    canvas = struct.pack("<HHBBB", 1, 1, 0, 0, 0)
    return b"GIF89a" + canvas + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x00"


def many_scans() -> bytes:
    data = jpeg(64, 64, progressive=True)
    at = data.rfind(b"\xff\xda")
    scan = data[at:-2]
    return data[:-2] + scan * 5000 + b"\xff\xd9"


def webp(width: int, height: int) -> bytes:
    canvas = b"".join((side - 1).to_bytes(3, "little") for side in (width, height))
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    return b"RIFF" + struct.pack("<I", len(chunk) + 4) + b"WEBP" + chunk


BOMBS: dict[str, Callable[[], bytes]] = {
    "png of 2^62 pixels": lambda: png(PIXELS, 2**31 - 1, 2**31 - 1),
    "png of zeros, 30000 x 30000": lambda: png([(b"IDAT", zeros(16)), (b"IEND", b"")], 30000, 30000),
    "jpeg of 65535 x 65535": lambda: claimed(jpeg(), 65535, 65535),
    "jpeg of 5000 scans": many_scans,
    "gif with a frame larger than its canvas": gif_with_large_frame,
    "webp of 2^28 pixels": lambda: webp(16384, 16384),
    "no size": lambda: png(PIXELS, 0, 5),
    "cut off in the header": lambda: png(PIXELS)[:20],
    "png cut off in its pixels": lambda: png(NOISE)[:300],
    "jpeg cut off": lambda: jpeg(300, 300)[:400],
    "pixels that are no zlib": lambda: png([(b"IDAT", b"abcdef" * 10), (b"IEND", b"")]),
    "postscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n",
    "tiff": lambda: b"II*\x00" + bytes(200),
    "svg": lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "empty": lambda: b"",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_at_once(name: str) -> None:
    data = BOMBS[name]()
    pictures.decode(jpeg())  # the decoders are there
    start = time.perf_counter()
    with pytest.raises(headrace.Error):
        pictures.decode(data)
    assert time.perf_counter() - start < 0.05


_PROBE = """
import json, resource, sys
from pathlib import Path
import headrace
from headrace import pictures
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
idle_file, *files = sys.argv[1:]
pictures.decode(Path(idle_file).read_bytes())
idle, grown = peak(), {}
for file in files:
    data = Path(file).read_bytes()
    try: pictures.decode(data)
    except headrace.Error: pass
    grown[file] = peak() - idle
print(json.dumps(grown))
"""


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    bombs = {**BOMBS, "texts": lambda: png([*_TEXTS, *PIXELS]), "profile": lambda: png([*_PROFILE, *PIXELS])}
    files = []
    for number, make in enumerate([jpeg, *bombs.values()]):
        files.append(tmp_path / str(number))
        files[-1].write_bytes(make())
    told = subprocess.run(
        [sys.executable, "-c", _PROBE, *map(str, files)], capture_output=True, text=True, check=True
    )
    grown = json.loads(told.stdout)
    assert len(grown) == len(bombs)
    assert max(grown.values()) < 64 << 10, grown  # KiB


_TEXTS: Chunks = [(b"zTXt", b"k%d\0\0" % i + zeros(20)) for i in range(8)]
_TEXTS += [(b"iTXt", b"k%d\0\x01\0\0\0" % i + zeros(20)) for i in range(8)]
_PROFILE: Chunks = [(b"iCCP", b"p\0\0" + zeros(200))]


@pytest.mark.parametrize("chunks", [_TEXTS, _PROFILE], ids=["texts", "profile"])
def test_what_stands_beside_the_pixels_is_not_unpacked(chunks: Chunks) -> None:
    data = png([*chunks, *PIXELS])
    start = time.perf_counter()
    assert pictures.decode(data).shape == (8, 8, 3)
    assert time.perf_counter() - start < 0.05


def test_animations_give_their_first_frame() -> None:
    frames = [Image.new("RGB", (9, 7), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    for kind in ("GIF", "WEBP", "PNG"):
        stream = io.BytesIO()
        frames[0].save(stream, kind, save_all=True, append_images=frames[1:], lossless=True)
        assert pictures.decode(stream.getvalue())[3, 3].tolist() == [255, 0, 0]


def test_damage_of_any_kind_is_an_error_of_ours() -> None:
    chance = random.Random(1)
    stream = io.BytesIO()
    Image.fromarray(np.arange(27 * 31 * 3, dtype=np.uint32).astype(np.uint8).reshape(27, 31, 3)).save(
        stream, "WEBP"
    )
    whole = [
        png(PIXELS),
        jpeg(40, 30),
        jpeg(40, 30, progressive=True),
        stream.getvalue(),
        gif_with_large_frame(),
    ]
    for _ in range(400):
        data = bytearray(chance.choice(whole))
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        try:
            assert pictures.decode(bytes(data), max_pixels=100_000).dtype == np.uint8
        except headrace.Error:
            continue
