"""What stands before every route of every protocol: who asks, whether they may, how much, and the record of it.

Protocols call `admit` before they look at a request's body and `finish` when its answer has left; in between, whatever
serves the request finds it by `current_call()`: nothing can be forgotten where a route is added.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..generation import Sampling, Terms
from ..security.quotas import LimitExceeded, Quotas, Reservation
from ..security.scopes import ANYONE, Principal
from ..usage import Usage, current_usage
from .answer import Header
from .errors import HttpError

if TYPE_CHECKING:
    from ..security.audit import AuditLog
    from ..security.keyring import KeyRing
    from ..security.masking import Masker
    from ..security.oidc import Issuer
    from .second_tier import SecondTier
    from .tracing import Tracer

# Of whoever watches over the server, who has no key: whether it lives and is ready, and no more.
OPEN_PATHS = frozenset({"/livez", "/readyz", "/health", "/v2/health/live", "/v2/health/ready"})
_BYTES_PER_TOKEN = 4  # by which a body's tokens are estimated until they are known
_EXPECTED_TOKENS = 256  # that a text without max_tokens takes of a key's limits until it is known
_BEARER = "bearer "
_BASIC = "basic "
# What a browser asks for in a dialogue of its own, and then sends by itself.
BASIC_CHALLENGE = (b"www-authenticate", b'Basic realm="headrace", charset="UTF-8"')
# Where a request comes from, as browsers tell it: a page of this server, or who typed its address.
_OWN_SITES = ("same-origin", "none")


class Call(Usage):
    """One request under way."""

    __slots__ = ("_access", "identity", "model", "principal", "reservation", "route", "start", "traceparent")

    def __init__(
        self, access: Access, principal: Principal, identity: str, reservation: Reservation | None
    ) -> None:
        super().__init__(with_phases=access.tracer is not None)
        self._access = access
        self.identity = identity
        self.principal = principal
        self.reservation = reservation
        self.model: str | None = None
        self.route = ""
        self.traceparent: str | None = None
        self.start = time.perf_counter()

    @property
    def masker(self) -> Masker | None:
        return self._access.masker

    @property
    def second_tier(self) -> SecondTier | None:
        return self._access.second_tier

    def use(self, verb: str, model: str, *, is_known: bool) -> None:
        """HttpError 403 where the key may not, whether there is such a model or not.

        is_known: whether there is; what else a client calls a model may be anything, and stands in no record.
        """
        self.model = model if is_known else None
        if not self.principal.allows(verb, model):
            raise self._insufficient(f"{verb}:{model[:128]} or {verb}", param="model")

    def need(self, verb: str) -> None:
        """HttpError 403 where the key has no such scope."""
        if not self.principal.allows(verb):
            raise self._insufficient(verb)

    def _insufficient(self, scope: str, param: str | None = None) -> HttpError:
        if self.principal is ANYONE:
            return no_keys(scope)
        who = f"the key {self.principal.name!r} may not do this: it needs the scope {scope}"
        return HttpError(403, who, code="insufficient_scope", param=param)

    def withdraw(self) -> None:
        """As if it had not been admitted, but for the request that it counts as."""
        if self.reservation is not None:
            self._access.quotas.settle(self.reservation, 0)
            self.reservation = None

    def expect(self, tokens: int) -> None:
        """Takes what the request may cost besides its body from the key's limits; HttpError 429."""
        if self.reservation is not None:
            try:
                self._access.quotas.extend(self.reservation, tokens)
            except LimitExceeded as error:
                raise limit_error(error) from None


class Access:
    """The parts that a server has; without any of them everything is allowed to everyone.

    Args:
        ring: the keys, and `issuer` the one whose tokens are taken as well; without both, no key is asked for.
        tracer: what hears of every request that is done.
        masker: what masks texts on their way to a model and from it, and `second_tier` what finds more for it.
        hosts: names that requests may give this server; None: any.
    """

    def __init__(
        self,
        *,
        ring: KeyRing | None = None,
        issuer: Issuer | None = None,
        quotas: Quotas | None = None,
        audit: AuditLog | None = None,
        masker: Masker | None = None,
        second_tier: SecondTier | None = None,
        tracer: Tracer | None = None,
        hosts: Iterable[str] | None = None,
    ) -> None:
        self.ring = ring
        self.issuer = issuer
        self.quotas = quotas or Quotas()
        self.audit = audit
        self.masker = masker
        self.second_tier = second_tier
        self.tracer = tracer
        self.hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self._known_hosts: set[str] = set()  # as they were written, with ports

    @property
    def is_strict(self) -> bool:
        """Whether nothing may be served that is not recorded on disk."""
        return self.audit is not None and self.audit.strict

    @property
    def asks(self) -> bool:
        """Whether requests need a key or a token."""
        return self.ring is not None or self.issuer is not None

    def admit(
        self,
        host: str | None,
        authorization: str | None,
        identity: str,
        body_bytes: int,
        certificate: Sequence[str] = (),
    ) -> Call:
        """The call, named `identity`, that may go on; None for the host leaves it unchecked. `certificate` has the
        names of the client's verified one.

        HttpError 401, 421, 429 or 503 where it may not.
        """
        if self.hosts is not None and host is not None and host not in self._known_hosts:
            self._check_host(host)
        principal = self.authenticate(authorization, certificate)
        if self.is_strict and self.audit is not None and self.audit.failure is not None:
            raise unaudited()
        try:
            reservation = self.quotas.reserve(principal, body_bytes // _BYTES_PER_TOKEN)
        except LimitExceeded as error:
            raise limit_error(error) from None
        return Call(self, principal, identity, reservation)

    def _check_host(self, host: str) -> None:
        """Another site's name that leads to this address (DNS rebinding) must not make a browser ask here."""
        name = host.lower()
        name = name[: name.find("]") + 1] if name.startswith("[") else name.partition(":")[0]
        assert self.hosts is not None
        if name.rstrip(".") not in self.hosts:
            raise HttpError(
                421,
                f"this server is not called {name[:100]!r}: start it with --allowed-host {name[:100]} if it should be",
                code="host_not_allowed",
            )
        if len(self._known_hosts) < 1000:
            self._known_hosts.add(host)

    @property
    def takes_certificates(self) -> bool:
        """Whether a client certificate may be all that a request shows."""
        return self.ring is not None and self.ring.has_certificates

    def authenticate(self, authorization: str | None, certificate: Sequence[str] = ()) -> Principal:
        """Who asks, by the key in the header, or else by the client's certificate. HttpError 401 for nobody known, 503
        where that cannot be told."""
        if not self.asks:
            return ANYONE
        from ..security.keyring import KeyRefused, KeysUnavailable

        by_certificate = authorization is None and bool(certificate) and self.takes_certificates
        if authorization is None and not by_certificate:
            raise unauthenticated("there is no key: send the header `authorization: Bearer KEY`")
        if authorization is not None and authorization[: len(_BEARER)].lower() != _BEARER:
            raise unauthenticated("the header must read `authorization: Bearer KEY`")
        try:
            if authorization is None:
                assert self.ring is not None
                return self.ring.authenticate_certificate(certificate)
            return self._checked(authorization[len(_BEARER) :].strip())
        except KeyRefused as error:
            raise unauthenticated(str(error)) from None
        except KeysUnavailable as error:
            raise HttpError(503, str(error), code="keys_unavailable") from None

    def _checked(self, text: str) -> Principal:
        if self.issuer is not None and (self.ring is None or not text.startswith("hr_")):
            return self.issuer.authenticate(text)
        assert self.ring is not None
        return self.ring.authenticate(text)

    def limit_headers(self, call: Call) -> list[Header]:
        """x-ratelimit-* of a key with limits."""
        if call.reservation is None:
            return []
        if call.tokens:  # known already, so not streamed: what is left is told as it is
            self.quotas.settle(call.reservation, call.tokens)
        return self.quotas.headers(call.reservation.buckets)

    def close(self) -> None:
        """Ends what keeps keys fresh, and writes what is to be recorded."""
        if self.ring is not None:
            self.ring.close()
        if self.audit is not None:
            self.audit.close()
        if self.second_tier is not None:
            self.second_tier.close()
        if self.tracer is not None:
            self.tracer.close()

    def refuse(self, status: int, route: str) -> None:
        """Counts a request that was not admitted."""
        if self.audit is not None:
            self.audit.count_refused(status, route)

    def finish(self, call: Call, status: int, on_durable: Callable[[bool], None] | None = None) -> None:
        """Settles what the call took, and records it."""
        if call.reservation is not None:
            self.quotas.settle(call.reservation, call.tokens)
            call.reservation = None
        if self.tracer is not None:
            self.tracer.record(call, status)
        if self.audit is not None:
            self.audit.add(audit_event(call, status), on_durable)

    async def begin_durably(self, call: Call) -> bool:
        """Records that an answer begins to be streamed, where nothing may be served unaudited, and whether that is safe
        on disk; what it came to is recorded at its end."""
        if not self.is_strict:
            return True
        assert self.audit is not None
        future, on_durable = _durable_future()
        event = {
            "event": "begun",
            "request": call.identity,
            "key": call.principal.id,
            "route": call.route,
            "model": call.model,
        }
        self.audit.add(event, on_durable)
        return await future

    async def finish_durably(self, call: Call, status: int) -> bool:
        """`finish`, and whether the record is safe on disk, where it must be."""
        if not self.is_strict:
            self.finish(call, status)
            return True
        future, on_durable = _durable_future()
        self.finish(call, status, on_durable)
        return await future


def audit_event(call: Call, status: int) -> dict[str, Any]:
    """Who, what, how much and how it ended; nothing of what was said."""
    return {
        "event": "request",
        "request": call.identity,
        "key": call.principal.id,
        "tenant": call.principal.tenant,
        "route": call.route,
        "model": call.model,
        "status": status,
        "prompt_tokens": call.prompt_tokens,
        "generated_tokens": call.generated_tokens,
        "ms": round((time.perf_counter() - call.start) * 1e3, 3),
    }


def _durable_future() -> tuple[asyncio.Future[bool], Callable[[bool], None]]:
    """What becomes true or false when the function, called from any thread, is told so."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bool] = loop.create_future()

    def set_result(is_durable: bool) -> None:
        if not future.done():
            future.set_result(is_durable)

    def on_durable(is_durable: bool) -> None:
        loop.call_soon_threadsafe(set_result, is_durable)

    return future, on_durable


def current_call() -> Call | None:
    """The request that the running task serves; None where no access stands before the routes."""
    usage = current_usage.get()
    return usage if isinstance(usage, Call) else None


def managing_call(scope: str) -> Call:
    """The request under way, for what is only done for keys. HttpError 403 where nothing asks for any."""
    call = current_call()
    if call is None:
        raise no_keys(scope)
    return call


def no_keys(scope: str) -> HttpError:
    return HttpError(
        403,
        f"this needs a key of the scope {scope}: start the server with --require-keys",
        code="insufficient_scope",
    )


def writing_terms(samplings: Sequence[Sampling], timeout: float | None = None) -> Terms:
    """On what terms the request under way may have texts written: what they may cost is taken from its key's limits,
    and what is computed is cached for its tenant alone. HttpError 429."""
    call = current_call()
    if call is None:
        return Terms(timeout=timeout, priority="interactive", tenant="")
    call.expect(sum(sampling.max_tokens or _EXPECTED_TOKENS for sampling in samplings))
    return Terms(timeout=timeout, priority="interactive", tenant=call.principal.tenant)


def is_basic(authorization: str | None) -> bool:
    return authorization is not None and authorization[: len(_BASIC)].lower() == _BASIC


def bearer_of_basic(authorization: str, fetch_site: str | None) -> str:
    """`Bearer KEY` of a browser's `Basic`, whose password is the key and whose user name is not looked at.

    fetch_site: the header sec-fetch-site. Browsers add what they remember to every request, also to those that another
    site makes them send, so HttpError 401 unless they say that it is this site's own. Pages cannot set that header.
    """
    if fetch_site not in _OWN_SITES:
        raise unauthenticated(
            "`authorization: Basic` is for browsers on this server's own page, over https or on this machine; "
            "send the header `authorization: Bearer KEY`"
        )
    try:
        text = base64.b64decode(authorization[len(_BASIC) :].strip(), validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise unauthenticated("what follows `authorization: Basic` is not base64 of USER:KEY") from None
    return f"Bearer {text.partition(':')[2]}"


def unauthenticated(message: str) -> HttpError:
    error = HttpError(401, message, code="invalid_api_key")
    error.headers["www-authenticate"] = "Bearer"
    return error


def unaudited() -> HttpError:
    return HttpError(
        503, "the audit log cannot be written, and nothing is served without it", code="audit_unavailable"
    )


def limit_error(error: LimitExceeded) -> HttpError:
    """The 429 of a key's limit, with the headers that OpenAI's clients wait by."""
    found = HttpError(429, str(error), code="rate_limit_exceeded", param=None)
    wait_ms = max(1, math.ceil(error.wait * 1000))
    found.headers |= {"retry-after": str(-(-wait_ms // 1000)), "retry-after-ms": str(wait_ms)}
    return found
