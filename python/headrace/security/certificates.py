"""Client certificates as keys: by which names a verified certificate is known.

A certificate is known by the URIs among its alternative names, such as spiffe://example.org/search, and by the common
name of its subject. A name with :// in it is only ever one of the URIs, so that a common name cannot be taken for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import InvalidArgumentError

MAX_NAME = 255


def check_name(name: str) -> str:
    """`name` itself. InvalidArgumentError for what cannot be one of a certificate's."""
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        raise InvalidArgumentError(
            f"certificate_name={name[:80]!r}: must be the common name or a URI of a certificate, of 1 to {MAX_NAME} "
            "characters"
        )
    return name


def names_of(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Of a verified certificate as ssl.SSLSocket.getpeercert tells it: its URIs, then its common name.

    >>> from headrace.security.certificates import names_of
    >>> names_of({"subject": ((("commonName", "search"),),), "subjectAltName": (("URI", "spiffe://x/search"),)})
    ('spiffe://x/search', 'search')
    """
    if not certificate:
        return ()
    uris = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    common = [
        value for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"
    ]
    return _chosen(uris, common)


def names_of_call(context: Mapping[str, Iterable[bytes]]) -> tuple[str, ...]:
    """The same of a gRPC call's auth_context(); nothing where the connection has no verified certificate."""
    if b"ssl" not in context.get("transport_security_type", ()):
        return ()
    uris = _texts(context.get("peer_uri", ())) + _texts(context.get("peer_spiffe_id", ()))
    # Without the kinds of the names: no DNS name or address has :// in it.
    uris += [
        name
        for name in _texts(context.get("x509_subject_alternative_name", ()))
        if "://" in name and "@" not in name
    ]
    return _chosen(list(dict.fromkeys(uris)), _texts(context.get("x509_common_name", ())))


def _texts(values: Iterable[bytes]) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values]


def _chosen(uris: list[str], common: list[str]) -> tuple[str, ...]:
    return (*(uri for uri in uris if "://" in uri), *(name for name in common if "://" not in name))
