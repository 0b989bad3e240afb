"""`headrace serve`, and `headrace config show`: what it would run with, and why."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import ipaddress
import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import devices, fleet_options, inputs, mask_command
from .errors import InvalidArgumentError
from .loading import ModelLoader, parse_models
from .repository import models_in
from .serve_help import CONFIG_HELP, EXAMPLES, HELP
from .settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from .serve.access import Access

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the commands; `command(name, run, text, epilog)` makes a parser."""
    serve = command("serve", _serve, "Serve models over HTTP and gRPC.", HELP)
    _add_options(serve)
    config = command("config", _config, "Show the settings of `headrace serve`.", CONFIG_HELP)
    config.add_argument("action", choices=["show"])
    _add_options(config)
    config.add_argument("--origin", action="store_true", help="also where each is from")


def _add_options(serve: argparse.ArgumentParser) -> None:
    before = set(serve._actions)
    serve.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="folder, folder of models, .gguf or .onnx file, FILE.py:NAME, demo:minilm, demo:smollm2 or NAME=one "
        "(default demo:minilm)",
    )
    serve.add_argument(
        "--config", metavar="FILE", help="settings in TOML (HEADRACE_CONFIG names one as well)"
    )
    serve.add_argument(
        "--adapter",
        action="append",
        metavar="NAME=[MODEL:]DIR",
        help="also serve a language model with this LoRA adapter, as NAME; may be repeated",
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    serve.add_argument("--port", type=int, default=8000, help="0: any free port (default %(default)s)")
    serve.add_argument(
        "--grpc-port", type=int, metavar="PORT", help="also serve the Open Inference Protocol over gRPC"
    )
    serve.add_argument("--threads", type=int, help="threads that compute (default: one a core)")
    inputs.add_precision(serve)
    devices.add_option(serve)
    inputs.add_speculation(serve)
    inputs.add_kv(serve)
    inputs.add_draft(serve)
    serve.add_argument("--queue-budget", type=float, default=0.5, metavar="SECONDS",
                       help="work that may wait before requests get 429 (default %(default)s)")  # fmt: skip
    fleet_options.add(serve)
    serve.add_argument(
        "--max-body-mb", type=float, default=10, help="largest request, in MB (default %(default)s)"
    )
    serve.add_argument(
        "--drain-seconds", type=int, default=30, help="limit for finishing at SIGTERM (default %(default)s)"
    )
    _add_access_options(serve.add_argument_group("who may do what (docs/security.md)"))
    serve.add_argument("--otlp", metavar="URL", help="send traces there, such as http://127.0.0.1:4318")
    serve.add_argument("--log-format", default="text", choices=["text", "json"], help="(default %(default)s)")
    serve.add_argument("--log-level", default="warning", choices=["debug", "info", "warning", "error"])
    serve.add_argument("--access-log", action="store_true", help="one line a request (with --log-level info)")
    serve.add_argument("--json", action="store_true", help="print the ready line as JSON")
    # Only what was given is to be in the parsed options: what is not, another source may say.
    defaults = {}
    for action in serve._actions:
        if action not in before:
            defaults[action.dest] = action.default
            action.help = action.help and action.help % {"default": action.default}
            action.default = argparse.SUPPRESS
    defaults["models"] = []
    serve.set_defaults(setting_defaults=defaults, setting_parser=serve)


def _add_access_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--require-keys", action="store_true", help="refuse whoever has no key")
    group.add_argument(
        "--state", metavar="DIR", help="the server's own folder (default ~/.local/state/headrace)"
    )
    group.add_argument("--database", metavar="URL", help="of keys: sqlite:///FILE or postgresql://USER@HOST/NAME "
                       "(default: a file in the server's folder)")  # fmt: skip
    group.add_argument(
        "--oidc-issuer", metavar="URL", help="take this issuer's tokens, with scopes as keys have them"
    )
    group.add_argument("--oidc-audience", metavar="NAME", help="what its tokens for this server have as aud")
    group.add_argument(
        "--redis", metavar="URL", help="limits shared with other servers, such as redis://HOST:6379/0"
    )
    group.add_argument("--audit", action="store_true", help="record who asked what when, without texts")
    group.add_argument(
        "--audit-strict", action="store_true", help="the same, and serve nothing that is not recorded"
    )
    group.add_argument("--allowed-host", action="append", metavar="NAME", help="a name that requests may call this "
                       "server by, besides localhost; * allows any; may be repeated")  # fmt: skip
    group.add_argument(
        "--mask", action="store_true", help="mask personal data in what models are given and write"
    )
    group.add_argument(
        "--mask-kinds",
        action="append",
        metavar="KIND,...",
        help="only these (default: all; see `headrace mask`)",
    )
    group.add_argument(
        "--mask-mode", choices=["mask", "hash", "drop"], default="mask", help="(default %(default)s)"
    )
    group.add_argument(
        "--mask-model",
        metavar="NAME",
        help="also what this served model for tag finds, such as names of persons",
    )
    group.add_argument(
        "--mask-presidio", action="store_true", help="also what presidio-analyzer finds (extra presidio)"
    )
    group.add_argument(
        "--tls-cert", metavar="FILE", help="certificate chain (PEM); read anew when it changes"
    )
    group.add_argument("--tls-key", metavar="FILE", help="its private key (PEM)")
    group.add_argument(
        "--tls-client-ca", metavar="FILE", help="ask clients for a certificate of this authority"
    )
    group.add_argument(
        "--insecure-allow-remote", action="store_true", help="listen beyond this machine without keys and TLS"
    )


def resolve(given: argparse.Namespace) -> tuple[argparse.Namespace, dict[str, str]]:
    """The settings in force, and the origin of each: default, the file, a variable or flag."""
    file = getattr(given, "config", None) or os.environ.get("HEADRACE_CONFIG")
    settings = Settings(given.setting_parser, file, os.environ)
    defaults: dict[str, Any] = given.setting_defaults
    flags = {name: value for name, value in vars(given).items() if name in defaults}
    origins = {
        **dict.fromkeys(defaults, "default"),
        **{name: origin for name, origin in settings.origins.items() if name in defaults},
        **dict.fromkeys(flags, "flag"),
    }
    values = {
        **defaults,
        **{n: v for n, v in settings.values.items() if n in defaults},
        **flags,
        "config": file,
    }
    return argparse.Namespace(**values), origins


def _config(given: argparse.Namespace) -> int:
    options, origins = resolve(given)
    values = {name: value for name, value in vars(options).items() if name not in ("config", "json")}
    if getattr(given, "json", False):
        rows: Any = values
        if given.origin:
            rows = {name: {"value": value, "origin": origins[name]} for name, value in values.items()}
        print(json.dumps(rows))
        return 0
    for name, value in sorted(values.items()):
        shown = json.dumps(value)
        print(f"{name:<22} {shown:<24} {origins[name]}" if given.origin else f"{name:<22} {shown}")
    return 0


def _serve(given: argparse.Namespace) -> int:
    start = time.perf_counter()
    options, _ = resolve(given)
    _check_numbers(options)
    fleet_options.check(options)
    is_loopback = _check_host(options)
    if options.admin_port is not None:
        _check_host(argparse.Namespace(**{**vars(options), "host": options.admin_host}))
    models = parse_models(options.models)
    if options.grpc_port is not None:
        for package in ("grpc", "grpc_health", "grpc_reflection"):
            if importlib.util.find_spec(package) is None:
                raise InvalidArgumentError("--grpc-port needs gRPC: run: pip install 'headrace[grpc]'")
    from .engine import Engine, isa
    from .language_options import LanguageOptions

    access = _access(options, is_loopback, list(models))
    language = LanguageOptions(
        speculation=options.speculation,
        cache_tokens=options.cache_tokens,
        kv=options.kv_cache_type,
        draft=inputs.drafts(options.draft, models),
    )
    engine = Engine(
        threads=options.threads,
        queue_budget=options.queue_budget,
        language=language,
        memory_budget=options.memory_budget,
        device=options.device,
    )
    loader = ModelLoader(
        engine,
        models,
        precision=options.precision,
        folders=[folder for folder in options.models if models_in(folder)],
        adapters=options.adapter or [],
        on_failure=_tell_failure,
        on_loaded=None if access.second_tier is None else access.second_tier.check,
    )
    loader.start()  # weights are read while the web framework is imported
    from .serve.run import Options, run

    def on_ready(url: str, app: FastAPI) -> None:
        seconds = time.perf_counter() - start
        infos, served = engine.models(), [each.name for each in engine.residences()]
        served += [info.name for info in infos if info.name not in served]  # adapters
        served += engine.pipelines
        grpc_port = app.state.headrace.grpc_port
        if options.json:
            line = {
                "url": url,
                "models": served,
                "failed": sorted(loader.failed),
                "isa": isa(),
                "seconds": round(seconds, 3),
            }
            if grpc_port is not None:
                line["grpc_port"] = grpc_port
            if options.admin_port is not None:
                line["admin_port"] = app.state.headrace.admin_port
            print(json.dumps(line), flush=True)
            return
        names = ", ".join(served)
        if loader.failed:
            names += f" (without {', '.join(sorted(loader.failed))})"
        name, task = (infos[0].name, infos[0].task) if infos else (served[0], "embed")
        route, fields = EXAMPLES[task]
        body = {"model": name, **fields}
        key = ' -H "authorization: Bearer $KEY"' if access.asks else ""
        also = "" if grpc_port is None else f"; gRPC on port {grpc_port}"
        if options.admin_port is not None:
            also += f"; admin on port {app.state.headrace.admin_port}"
        print(
            f"headrace serves {names} at {url} ({isa()}, ready after {seconds:.2f} s; docs at {url}/docs{also})\n"
            f"try: curl {url}{route} -H 'content-type: application/json'{key} -d '{json.dumps(body)}'",
            flush=True,
        )

    run(
        engine,
        loader,
        Options(
            host=options.host,
            port=options.port,
            max_body_bytes=int(options.max_body_mb * 1e6),
            drain_seconds=options.drain_seconds,
            log_level=options.log_level,
            log_format=options.log_format,
            access_log=options.access_log,
            grpc_port=options.grpc_port,
            admin_host=options.admin_host,
            admin_port=options.admin_port,
            redis=options.redis,
            tls_cert=options.tls_cert,
            tls_key=options.tls_key,
            tls_client_ca=options.tls_client_ca,
        ),
        on_ready,
        access,
    )
    return 0


# Least and most of each number, wherever it was set; those of the engine it checks itself.
_RANGES = {
    "port": (0, 65535),
    "grpc_port": (0, 65535),
    "admin_port": (0, 65535),
    "max_body_mb": (0.001, 1_000_000),
    "drain_seconds": (0, 86_400),
    "cache_tokens": (1, 2**40),
}


def _check_numbers(options: argparse.Namespace) -> None:
    for name, (least, most) in _RANGES.items():
        value = getattr(options, name)
        if value is not None and not least <= value <= most:  # not a number, too
            flag = name.replace("_", "-")
            raise InvalidArgumentError(f"--{flag} is {value}: must be between {least} and {most}")


def _access(options: argparse.Namespace, is_loopback: bool, served: list[str]) -> Access:
    """What the options say of keys, limits, audit, masking and host names."""

    from .catalogue import Catalogue, default_url, state_folder
    from .serve.access import Access

    folder = state_folder(options.state)
    ring = issuer = audit = None
    if options.require_keys:
        from .security.keyring import KeyRing
        from .security.keys import Pepper

        pepper = Pepper.find(folder, create=False)
        ring = KeyRing(Catalogue(options.database or default_url(folder)), pepper)
        if not len(ring):
            print(
                "headrace: WARNING: there is no key, so nobody can use this server: `headrace keys create` makes one",
                file=sys.stderr,
            )
    if (options.oidc_issuer is None) != (options.oidc_audience is None):
        raise InvalidArgumentError("tokens need both --oidc-issuer and --oidc-audience")
    if options.oidc_issuer is not None:
        from .security.oidc import Issuer

        issuer = Issuer(options.oidc_issuer, options.oidc_audience)
    if ring is None and options.database:
        raise InvalidArgumentError("--database is for keys: add --require-keys")
    if ring is None and issuer is None and options.redis:
        raise InvalidArgumentError("--redis is for the limits of keys: add --require-keys")
    if options.audit or options.audit_strict:
        from .security.audit import AuditLog, find_key

        key = find_key(folder, create=True)
        assert key is not None
        kept = fleet_options.retention(options)
        audit = AuditLog(folder / "audit", key, strict=options.audit_strict, retention=kept)
    tracer = None
    if options.otlp is not None:
        from .serve.tracing import Tracer

        tracer = Tracer(options.otlp)
    masker, second_tier = mask_command.of_server(options, served)
    names = [*_LOOPBACK_NAMES, *(options.allowed_host or [])]
    is_any = "*" in names or not (is_loopback or options.allowed_host)
    return Access(
        ring=ring,
        issuer=issuer,
        audit=audit,
        masker=masker,
        second_tier=second_tier,
        tracer=tracer,
        hosts=None if is_any else names,
    )


def _tell_failure(name: str, error: Exception) -> None:
    print(f"headrace: error: model {name!r} is not served: {error}", file=sys.stderr, flush=True)


def _check_host(options: argparse.Namespace) -> bool:
    """Whether only this machine reaches the address. Refuses another without keys and TLS, unless asked."""
    host = options.host
    if (options.tls_cert is None) != (options.tls_key is None):
        raise InvalidArgumentError("TLS needs both --tls-cert and --tls-key")
    if options.tls_client_ca is not None and options.tls_cert is None:
        raise InvalidArgumentError("--tls-client-ca needs --tls-cert and --tls-key")
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host.strip("[]")).is_loopback:
            return True
    if host == "localhost":
        return True
    missing = [
        what
        for what, is_there in (
            ("keys", options.require_keys or options.oidc_issuer),
            ("TLS", options.tls_cert is not None),
        )
        if not is_there
    ]
    if not missing:
        return False
    if not options.insecure_allow_remote:
        raise InvalidArgumentError(
            f"host={host}: other machines reach this address, and there would be no {' and no '.join(missing)}: "
            "add --require-keys with --tls-cert and --tls-key, or listen on 127.0.0.1 behind a proxy that has both, "
            "or add --insecure-allow-remote where the network is trusted"
        )
    print(
        f"headrace: WARNING: whoever reaches {host} finds this service without {' and without '.join(missing)}",
        file=sys.stderr,
    )
    return False
