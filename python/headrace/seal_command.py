"""`headrace seal`, `unseal` and `verify`: models encrypted on disk, and whether files are what they were."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .errors import CorruptFileError, InvalidArgumentError

if TYPE_CHECKING:
    from .security.seal_keys import WrappingKey
    from .security.sealing import Progress

_SEAL_HELP = """\
examples:
  headrace seal --new-key seal.key                             a key, in a file that only you can read
  headrace seal e5-small -o e5-sealed --key-file seal.key      every file encrypted; e5-small stays as it is
  HEADRACE_SEAL_KEY_FILE=seal.key headrace serve e5-sealed     decrypted into memory, never to disk
  headrace seal e5-small -o e5-sealed --key-id prod --kms-wrap 'my-kms encrypt'
  HEADRACE_SEAL_KMS='my-kms decrypt' headrace serve e5-sealed  the key stays in the KMS
  headrace seal e5-small --manifest-only                       SHA-256 of each file, for headrace verify
  headrace seal e5-small --manifest-only --sign-key my.pem     and model.sig, by your private key
A key that is lost cannot be replaced: keep a copy of it where the model is not.
"""
_UNSEAL_HELP = """\
examples:
  headrace unseal e5-sealed -o e5-small --key-file seal.key
Without --key-file, the key is HEADRACE_SEAL_KEY, in the file HEADRACE_SEAL_KEY_FILE, or from the command
HEADRACE_SEAL_KMS.
"""
_VERIFY_HELP = """\
examples:
  headrace verify e5-sealed --key-file seal.key     every segment and the manifest; exit code 1 if any is wrong
  headrace verify e5-sealed                         without the key: damage only, for whoever can write can forge
  headrace verify e5-small                          an unsealed model with checksums.json
  headrace verify e5-small --public-key my.pub.pem  and that its files are as the key's owner signed them
"""


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the commands; `command(name, run, text, epilog)` makes a parser."""
    seal = command("seal", _seal, "Encrypt a model's files.", _SEAL_HELP)
    seal.add_argument("model", nargs="?", metavar="DIR", help="folder, or a .gguf file")
    seal.add_argument("-o", "--out", metavar="SEALED", help="the new folder")
    seal.add_argument("--key-file", metavar="FILE", help="(default: what the environment names)")
    seal.add_argument("--new-key", metavar="FILE", help="make a key and nothing else")
    seal.add_argument("--kms-wrap", metavar="COMMAND", help="reads the data key, writes it wrapped")
    seal.add_argument("--key-id", metavar="ID", help="with --kms-wrap: what the KMS calls the key")
    seal.add_argument("--manifest-only", action="store_true", help="write checksums.json and encrypt nothing")
    seal.add_argument("--sign-key", metavar="PEM", help="private key: sign what was written, in model.sig")

    unseal = command("unseal", _unseal, "Decrypt a sealed model to a folder.", _UNSEAL_HELP)
    unseal.add_argument("sealed", metavar="SEALED")
    unseal.add_argument("-o", "--out", metavar="DIR", required=True, help="the new folder")
    unseal.add_argument("--key-file", metavar="FILE", help="(default: what the environment names)")

    verify = command("verify", _verify, "Compare a model's files with its manifest.", _VERIFY_HELP)
    verify.add_argument("model", metavar="DIR", help="sealed, or with checksums.json")
    verify.add_argument("--key-file", metavar="FILE", help="(default: what the environment names)")
    verify.add_argument("--public-key", metavar="PEM", help="check the signature in model.sig")
    verify.add_argument("--json", action="store_true", help="what a program can read")


@contextlib.contextmanager
def _bar(folder: str, text: str) -> Iterator[Progress]:
    """A bar in bytes on a terminal, where tqdm is there."""
    from .security.sealing import total_bytes

    try:
        from tqdm.auto import tqdm
    except ImportError:
        yield lambda _: None
        return
    with tqdm(
        total=total_bytes(folder),
        desc=text,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=None if sys.stderr.isatty() else True,
    ) as bar:
        yield bar.update


def _seal(options: argparse.Namespace) -> int:
    from .security import seal_keys, sealing

    if options.new_key is not None:
        if options.model is not None or options.out is not None:
            raise InvalidArgumentError("--new-key makes a key and seals nothing: leave the model out")
        key = seal_keys.new_key(options.new_key)
        print(f"{options.new_key}: a new key, its id {key.id}; keep a copy of it where the model is not")
        return 0
    if options.model is None:
        raise InvalidArgumentError("give the model to seal, or --new-key FILE to make a key")
    if options.manifest_only:
        with _bar(options.model, "hash") as progress:
            manifest = sealing.write_checksums(options.model, progress=progress)
        _sign(options, options.model)
        print(f"{options.model}: {len(manifest.files)} files in checksums.json")
        return 0
    if options.out is None:
        raise InvalidArgumentError("give the folder to write: -o SEALED")
    if (options.kms_wrap is None) != (options.key_id is None) or (options.kms_wrap and options.key_file):
        raise InvalidArgumentError("--kms-wrap and --key-id go together, without --key-file")
    wrapping: WrappingKey = (
        seal_keys.KmsCommand(wrap_command=options.kms_wrap, id=options.key_id)
        if options.kms_wrap
        else seal_keys.find_key(options.key_file)
    )
    with _bar(options.model, "seal") as progress:
        manifest = sealing.seal(options.model, options.out, wrapping, progress=progress)
    _sign(options, options.out)
    assert manifest.key is not None
    print(f"{options.out}: {len(manifest.files)} files, sealed under the key {manifest.key.id}")
    return 0


def _sign(options: argparse.Namespace, folder: str) -> None:
    if options.sign_key is not None:
        from .security.signing import sign

        sign(folder, options.sign_key)


def _unseal(options: argparse.Namespace) -> int:
    from .security import seal_keys, sealing

    key = seal_keys.find_key(options.key_file)
    if not sealing.is_sealed(options.sealed):
        raise InvalidArgumentError(f"{options.sealed}: not a sealed model: there is no sealed.json in it")
    with _bar(options.sealed, "unseal") as progress:
        manifest = sealing.unseal(options.sealed, options.out, key, progress=progress)
    print(f"{options.out}: {len(manifest.files)} files, not encrypted any more")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from .security import seal_keys, sealing

    key = None
    if options.key_file is not None or any(
        os.environ.get(name) for name in (seal_keys.KEY, seal_keys.KEY_FILE, seal_keys.KMS)
    ):
        key = seal_keys.find_key(options.key_file)
    sealed = sealing.is_sealed(options.model)
    with _bar(options.model, "verify") as progress:
        problems = sealing.verify(options.model, key, progress=progress)
    if options.public_key is not None:
        from .security.signing import check_signature

        try:
            check_signature(options.model, options.public_key)
        except CorruptFileError as error:
            problems.append(str(error))
    proven = sealed and key is not None and not problems
    if options.json:
        print(json.dumps({"ok": not problems, "authentic": proven, "problems": problems}))
    elif problems:
        print("\n".join(problems))
    elif proven:
        print(f"{options.model}: the manifest, every file and every segment are what was sealed")
    else:
        hint = "; without the key, a forger is not told" if sealed else ""
        print(f"{options.model}: every file is as its manifest says{hint}")
    return 1 if problems else 0
