"""GB/s from a sealed file to its contents in memory: headrace with one thread and two, tink-py, reading alone.

One file of random bytes, sealed once and in the page cache; every engine reads the same sealed file. Memory is new in
each round, as it is when a model is loaded. Contents are compared before anything is timed; rounds interleave.

    pip install 'headrace[seal]' tink && python benchmarks/bench_sealing.py
    python benchmarks/bench_sealing.py --megabytes 2048 --rounds 9 --out trial.jsonl
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness

Open = Callable[[], Any]
NAME = "model.safetensors"


def tink_reader(data_key: bytes, path: Path, associated: bytes) -> Open | None:
    """Tink's decrypting stream over the same file and key; None where it is not installed."""
    try:
        from tink import json_proto_keyset_format, secret_key_access, streaming_aead
    except ImportError:
        return None
    streaming_aead.register()
    # AesGcmHkdfStreamingKey: params {segments of 2^20, derived keys of 32 bytes, SHA-256}, key
    value = base64.b64encode(bytes.fromhex("120808808040102018031a20") + data_key).decode()
    url = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey"
    data = {"typeUrl": url, "value": value, "keyMaterialType": "SYMMETRIC"}
    one = {"keyData": data, "status": "ENABLED", "keyId": 1, "outputPrefixType": "RAW"}
    keyset = json.dumps({"primaryKeyId": 1, "key": [one]})
    handle = json_proto_keyset_format.parse(keyset, secret_key_access.TOKEN)
    primitive = handle.primitive(streaming_aead.StreamingAead)

    def read() -> bytes:
        with open(path, "rb") as file, primitive.new_decrypting_stream(file, associated) as stream:
            return bytes(stream.read())

    return read


def plain_reader(path: Path, size: int) -> Open:
    from headrace import _core

    def read() -> Any:
        memory = _core.MemoryFile(size)
        with open(path, "rb", buffering=0) as file:
            done, view = 0, memory.view()
            while done < size:
                done += file.readinto(view[done : done + (1 << 20)])
        return memory.view()

    return read


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--megabytes", type=int, default=512)
    made.add_argument("--rounds", type=int, default=7)
    made.add_argument("--out", type=Path, help="file to append to; default: benchmarks/results/sealing.jsonl")
    arguments = made.parse_args()
    from headrace.security.seal_keys import LocalKey
    from headrace.security.sealing import open_model, seal

    size = arguments.megabytes * 10**6
    with tempfile.TemporaryDirectory() as scratch:
        plain, sealed = Path(scratch, "plain"), Path(scratch, "sealed")
        plain.mkdir()
        with open(plain / NAME, "wb") as file:
            for begin in range(0, size, 10**6):
                file.write(os.urandom(min(10**6, size - begin)))
        key = LocalKey(os.urandom(32))
        begin_seal = time.perf_counter()
        manifest = seal(plain, sealed, key)
        sealing = size / (time.perf_counter() - begin_seal) / 1e9
        assert manifest.key is not None

        def with_threads(threads: int) -> Open:
            return lambda: open_model(sealed, key=key, threads=threads)[NAME].view()

        engines: dict[str, tuple[Open, int]] = {
            "headrace": (with_threads(1), 1),
            "headrace, two threads": (with_threads(2), 2),
            "read without a cipher": (plain_reader(plain / NAME, size), 1),
        }
        path = sealed / f"{NAME}.sealed"
        reader = tink_reader(key.unwrap(manifest.key), path, manifest.associated(NAME))
        if reader is not None:
            engines["tink-py"] = (reader, 1)
        expected = (plain / NAME).read_bytes()
        for name, (work, _) in engines.items():
            if work() != expected:
                raise SystemExit(f"{name}: other contents")
        del expected
        rates: dict[str, list[float]] = {name: [] for name in engines}
        for number in range(arguments.rounds):
            order = list(engines)
            for name in order[number % len(order) :] + order[: number % len(order)]:
                begin = time.perf_counter()
                found = engines[name][0]()
                rates[name].append(size / (time.perf_counter() - begin) / 1e9)
                del found
    lines = [
        {
            "engine": name,
            "workload": "open",
            "bytes": size,
            "unit": "GB/s",
            **harness.spread(rates[name], 3),
            "threads": threads,
            "sealed_at": round(sealing, 3),
            "versions": harness.versions("headrace", "cryptography", "tink"),
        }
        for name, (_, threads) in engines.items()
    ]
    harness.write("sealing", lines, arguments.out)


if __name__ == "__main__":
    main()
