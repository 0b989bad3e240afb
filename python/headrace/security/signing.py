"""Signatures of a model's files, sealed or open: who published them, which a checksum cannot tell.

The signature is in the OpenSSF's format for models, by model-signing: SHA-256 of every file in an in-toto statement,
signed by an elliptic key of yours, without any service. It stands beside the files as model.sig.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..errors import CorruptFileError, InvalidArgumentError, ModelNotFoundError

SIGNATURE = "model.sig"


def _modules() -> tuple[Any, Any, Any]:
    try:
        from model_signing import hashing, signing, verifying
    except ImportError:
        raise ImportError("signatures need model-signing: pip install 'headrace[sign]'") from None
    return hashing, signing, verifying


def _hashing(hashing: Any) -> Any:
    # Download caches hold models as links to files.
    return hashing.Config().set_ignored_paths(paths=[SIGNATURE]).set_allow_symlinks(True)


def sign(model: str | os.PathLike[str], private_key: str | os.PathLike[str]) -> None:
    """Writes model.sig. `private_key`: the PEM file of an elliptic key (`openssl ecparam -name prime256v1 -genkey`).

    Raises InvalidArgumentError for a key that is none, ModelNotFoundError without a model.
    """
    hashing, signing, _ = _modules()
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise ModelNotFoundError(f"{folder}: no such model directory")
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=Path(private_key))
    except (OSError, ValueError, TypeError) as error:
        raise InvalidArgumentError(f"{os.fspath(private_key)}: not a private key in PEM: {error}") from None
    signer.set_hashing_config(_hashing(hashing)).sign(folder, folder / SIGNATURE)


def check_signature(model: str | os.PathLike[str], public_key: str | os.PathLike[str]) -> None:
    """Proves that every file is as whoever has the private key signed it, that none is missing and none was added.

    Raises CorruptFileError when that is not so, ModelNotFoundError without a signature, InvalidArgumentError for a key
    that is none.
    """
    hashing, _, verifying = _modules()
    folder = Path(model).expanduser()
    signature = folder / SIGNATURE
    if not signature.is_file():
        raise ModelNotFoundError(f"{signature}: no such file: make one by headrace seal --sign-key")
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=Path(public_key))
    except (OSError, ValueError, TypeError) as error:
        raise InvalidArgumentError(f"{os.fspath(public_key)}: not a public key in PEM: {error}") from None
    try:
        verifier.set_hashing_config(_hashing(hashing)).verify(folder, signature)
    except Exception as error:  # what a damaged signature raises is not promised
        reason = str(error).splitlines()[:1] or [type(error).__name__]
        raise CorruptFileError(f"{signature}: does not fit the files or the key: {reason[0][:500]}") from None
