"""Sealing: the files of a model encrypted on disk, and decrypted into memory only when the model is loaded.

A sealed model is a folder with each file as NAME.sealed (segments.py) beside sealed.json (seal_manifest.py). Its files
are encrypted under a random data key, which the manifest holds wrapped by a key of yours (seal_keys.py).

    from headrace.security.seal_keys import LocalKey, new_key
    from headrace.security.sealing import seal

    seal("e5-small", "e5-small-sealed", new_key("seal.key"))
    model = headrace.load("e5-small-sealed")       # the key from HEADRACE_SEAL_KEY_FILE, for example
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .. import _core
from ..errors import CorruptFileError, InvalidArgumentError, ModelNotFoundError
from .seal_keys import WrappingKey, find_key
from .seal_manifest import (
    CHECKSUMS,
    ENDING,
    SEALED,
    Entry,
    Manifest,
    is_safe_name,
    path_on_disk,
    read_manifest,
    size_on_disk,
)
from .segments import KEY_BYTES, SealedFile, seal_file
from .signing import SIGNATURE

Progress = Callable[[int], object]

_MAX_THREADS = 4
_SEGMENTS_A_TASK = 16
_OPEN_FILES = 128
_READ_BYTES = 1 << 20
# What the core reads; a sealed folder's other files are checked and not kept in memory.
_READ_ENDINGS = (".safetensors", ".gguf", ".json", ".jinja", ".txt", ".model", ".tiktoken")


def _nothing(_: int) -> None:
    pass


def is_sealed(folder: str | os.PathLike[str]) -> bool:
    return Path(folder, SEALED).is_file()


def _need_cryptography() -> None:
    try:
        import cryptography.hazmat.primitives.ciphers.aead  # noqa: F401
    except ImportError:
        raise ImportError("sealed models need cryptography: pip install 'headrace[seal]'") from None


def _found_files(folder: Path) -> dict[str, Path]:
    """The files of a folder by their path inside it, hidden ones left out; a .gguf file is a folder of itself."""
    if folder.is_file():
        return {folder.name: folder}
    if not folder.is_dir():
        raise ModelNotFoundError(f"{folder}: no such model directory")
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            inside = path.relative_to(folder).as_posix()
            if name.startswith(".") or inside in (SEALED, CHECKSUMS, SIGNATURE) or not path.is_file():
                continue
            if not is_safe_name(inside):
                raise InvalidArgumentError(f"{path}: a name with such characters cannot be sealed")
            found[inside] = path
    if not found:
        raise ModelNotFoundError(f"{folder}: there is no file in it")
    return found


@contextlib.contextmanager
def _new_folder(path: Path, mode: int = 0o777) -> Iterator[Path]:
    """A folder that has its name only once everything is in it."""
    if path.exists():
        raise InvalidArgumentError(f"{path}: is there already; give the name of a new folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    partial.mkdir(mode=mode)
    try:
        yield partial
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def total_bytes(folder: str | os.PathLike[str]) -> int:
    """What sealing, opening or verifying a folder has to read, for progress bars."""
    return sum(path.stat().st_size for path in _found_files(Path(folder)).values())


def seal(
    model: str | os.PathLike[str],
    sealed: str | os.PathLike[str],
    key: WrappingKey,
    *,
    progress: Progress = _nothing,
) -> Manifest:
    """Encrypts every file of `model`, a folder or a .gguf file, to the new folder `sealed`.

    Raises InvalidArgumentError when `sealed` is there or `model` is sealed already, ModelNotFoundError without `model`.
    """
    _need_cryptography()
    source, target = Path(model).expanduser(), Path(sealed).expanduser()
    if is_sealed(source):
        raise InvalidArgumentError(f"{source}: is sealed already")
    found = _found_files(source)
    data_key = secrets.token_bytes(KEY_BYTES)
    manifest = Manifest((), secrets.token_hex(16), key.wrap(data_key))
    entries = []
    with _new_folder(target) as folder:
        for name, path in found.items():
            out_path = folder / (name + ENDING)
            out_path.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with open(path, "rb") as file, open(out_path, "xb") as out:
                size = os.fstat(file.fileno()).st_size
                for part in seal_file(file, size, data_key, manifest.associated(name)):
                    digest.update(part)
                    out.write(part)
                    progress(len(part))
            entries.append(Entry(name, size, digest.hexdigest()))
        manifest = Manifest(tuple(entries), manifest.model, manifest.key)
        (folder / SEALED).write_bytes(manifest.encoded(data_key))
    return read_manifest(target / SEALED)


def write_checksums(model: str | os.PathLike[str], *, progress: Progress = _nothing) -> Manifest:
    """Writes checksums.json into an unsealed model's folder, for `verify`. Without a key it tells damage only."""
    folder = Path(model).expanduser()
    if is_sealed(folder) or not folder.is_dir():
        raise InvalidArgumentError(f"{folder}: give the directory of a model that is not sealed")
    manifest = Manifest(
        tuple(
            Entry(name, path.stat().st_size, _sha256(path, progress))
            for name, path in _found_files(folder).items()
        )
    )
    (folder / CHECKSUMS).write_bytes(manifest.encoded())
    return manifest


def _sha256(path: Path, progress: Progress) -> str:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_READ_BYTES))
    with open(path, "rb", buffering=0) as file:
        while size := file.readinto(buffer):
            digest.update(buffer[:size])
            progress(size)
    return digest.hexdigest()


class _Opened:
    """A sealed folder whose manifest is proven to be the one that was sealed."""

    def __init__(self, folder: Path, key: WrappingKey | None) -> None:
        _need_cryptography()
        self.folder = folder
        path = folder / SEALED
        self.manifest = read_manifest(path)
        assert self.manifest.key is not None
        try:
            self._data_key = (key or find_key()).unwrap(self.manifest.key)
        except (InvalidArgumentError, CorruptFileError) as error:
            raise type(error)(f"{path}: {error}") from None
        self.manifest.check_mac(self._data_key, path)

    def file(self, entry: Entry) -> SealedFile:
        path = path_on_disk(self.folder, self.manifest, entry)
        try:
            return SealedFile(path, entry.size, self._data_key, self.manifest.associated(entry.name))
        except FileNotFoundError:
            raise ModelNotFoundError(
                f"{path}: no such file, though {SEALED} names it (is the copy complete?)"
            ) from None


def open_model(
    folder: str | os.PathLike[str],
    *,
    only: Callable[[str], bool] | None = None,
    key: WrappingKey | None = None,
    threads: int | None = None,
) -> dict[str, _core.MemoryFile]:
    """Decrypts a sealed folder into memory: what the core reads, by path inside the folder.

    Every file is proven to be the one that was sealed, those too that are not kept; with `only`, the files that it
    picks by name and no others. The key is the environment's by default, the threads one a processor and at most 4.

    Raises:
        ModelNotFoundError: no manifest, or a file that it names is missing.
        CorruptFileError: a file was damaged, cut, or put in another's place.
        InvalidArgumentError: there is no key, or it is not the one that the model was sealed under.
    """
    opened = _Opened(Path(folder), key)
    entries = [entry for entry in opened.manifest.files if only is None or only(entry.name)]
    names = {entry.name for entry in entries}
    kept: dict[str, _core.MemoryFile] = {}
    # A part of the files at a time, since a process may hold few of them open.
    for begin in range(0, len(entries), _OPEN_FILES):
        with contextlib.ExitStack() as stack:
            tasks: list[tuple[SealedFile, memoryview | None, int]] = []
            for entry in entries[begin : begin + _OPEN_FILES]:
                file = opened.file(entry)
                stack.callback(file.close)
                view = None
                if only is not None or _is_read(entry.name, names):
                    kept[entry.name] = _core.MemoryFile(entry.size)
                    view = kept[entry.name].view()
                tasks += [(file, view, first) for first in range(0, file.count, _SEGMENTS_A_TASK)]
            _run_all(tasks, threads or min(_MAX_THREADS, len(os.sched_getaffinity(0))))
    return kept


def _is_read(name: str, names: set[str]) -> bool:
    """Whether the core may read the file of that name, when the folder has files of those names."""
    if not name.endswith(_READ_ENDINGS):
        return False
    if name.endswith(".safetensors"):  # one file of all weights is taken before others
        single = name[: name.rfind("/") + 1] + "model.safetensors"
        return name == single or single not in names
    return not name.endswith(".gguf") or "config.json" not in names


def _run_all(tasks: list[tuple[SealedFile, memoryview | None, int]], threads: int) -> None:
    def run(task: tuple[SealedFile, memoryview | None, int]) -> None:
        file, view, first = task
        file.open_segments(view, first, first + _SEGMENTS_A_TASK)

    if min(threads, len(tasks)) <= 1:
        for task in tasks:
            run(task)
        return
    # cryptography lets go of the GIL while it decrypts, and so does reading.
    with ThreadPoolExecutor(threads, thread_name_prefix="headrace-unseal") as pool:
        try:
            for _ in pool.map(run, tasks):
                pass
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def unseal(
    sealed: str | os.PathLike[str],
    model: str | os.PathLike[str],
    key: WrappingKey | None = None,
    *,
    progress: Progress = _nothing,
) -> Manifest:
    """Decrypts `sealed` to the new folder `model`, which only its owner can read. Raises what open_model does."""
    opened = _Opened(Path(sealed).expanduser(), key)
    with _new_folder(Path(model).expanduser(), 0o700) as folder:
        for entry in opened.manifest.files:
            path = folder / entry.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(opened.file(entry)) as file, open(path, "xb") as out:
                for part in file.stream():
                    out.write(part)
                    progress(len(part))
    return opened.manifest


def verify(
    model: str | os.PathLike[str],
    key: WrappingKey | None = None,
    *,
    progress: Progress = _nothing,
) -> list[str]:
    """What is wrong with a folder that has sealed.json or checksums.json, a line for each problem; [] when nothing is.

    Every file is compared with the manifest; with a key, the manifest and every segment are also proven to be what was
    sealed. Raises ModelNotFoundError without a manifest, CorruptFileError when the manifest itself is damaged,
    InvalidArgumentError when the key is not the one.
    """
    folder = Path(model).expanduser()
    has_seal = is_sealed(folder)
    if not has_seal and not Path(folder, CHECKSUMS).is_file():
        raise ModelNotFoundError(
            f"{folder}: neither {SEALED} nor {CHECKSUMS} is in it: make one by headrace seal"
        )
    opened = _Opened(folder, key) if has_seal and key is not None else None
    manifest = opened.manifest if opened else read_manifest(folder / (SEALED if has_seal else CHECKSUMS))
    problems = []
    for entry in manifest.files:
        path = path_on_disk(folder, manifest, entry)
        try:
            if not path.is_file():
                problems.append(f"{path}: no such file")
            elif path.stat().st_size != size_on_disk(manifest, entry):
                problems.append(
                    f"{path}: {path.stat().st_size} bytes; the manifest has {size_on_disk(manifest, entry)}"
                )
            elif _sha256(path, progress) != entry.sha256:
                problems.append(_damage(opened, entry) or f"{path}: its SHA-256 is not the manifest's")
            elif problem := _damage(opened, entry):
                problems.append(problem)
        except OSError as error:
            problems.append(f"{path}: cannot be read: {error.strerror}")
    known = {path_on_disk(folder, manifest, entry) for entry in manifest.files}
    problems += [
        f"{path}: is not in the manifest" for path in _found_files(folder).values() if path not in known
    ]
    return problems


def _damage(opened: _Opened | None, entry: Entry) -> str | None:
    if opened is None:
        return None
    try:
        with contextlib.closing(opened.file(entry)) as file:
            file.open_segments(None)
    except CorruptFileError as error:
        return str(error)
    return None
