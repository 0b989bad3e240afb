"""Keys, scopes and the catalogue: in SQLite, and in a real PostgreSQL."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from services import Postgres

from headrace.catalogue import Catalogue
from headrace.cli import main
from headrace.errors import InvalidArgumentError, ModelNotFoundError
from headrace.security.keyring import KeyRefused, KeyRing, KeysUnavailable
from headrace.security.keys import Pepper, make_key, new_key, split_key
from headrace.security.scopes import Limits, Principal, check_scope

PEPPER = Pepper([b"p" * 32])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('catalogue')}/new/catalogue.sqlite"
    else:
        with Postgres() as postgres:
            yield postgres.url


def test_keys_are_random_named_and_checked() -> None:
    made = [new_key() for _ in range(1000)]
    assert len({text for text, _, _ in made}) == len({secret for _, _, secret in made}) == 1000
    for text, identity, secret in made:
        assert re.fullmatch(r"hr_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", text)
        assert split_key(text) == (identity, secret)


def test_a_mistyped_key_is_none() -> None:
    text, _, _ = new_key()
    for at in range(len(text)):
        wrong = text[:at] + ("a" if text[at] != "a" else "b") + text[at + 1 :]
        assert split_key(wrong) is None, at
    for wrong in (
        "",
        "hr_",
        text[:-1],
        text + "a",
        text + "\n",
        " " + text,
        "x" * 1_000_000,
        text.replace("_", "\u0664", 1),
    ):
        assert split_key(wrong) is None


def test_the_pepper_can_be_changed() -> None:
    old, new = Pepper([b"o" * 32]), Pepper([b"n" * 32])
    both = Pepper([b"n" * 32, b"o" * 32])
    assert both.hash("s") == new.hash("s") != old.hash("s")
    assert both.matches("s", old.hash("s"))
    assert both.matches("s", new.hash("s"))
    assert not new.matches("s", old.hash("s"))
    with pytest.raises(InvalidArgumentError, match="16 bytes"):
        Pepper([b"short"])


def test_the_peppers_file_is_private_and_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADRACE_PEPPER", raising=False)
    with pytest.raises(InvalidArgumentError, match="headrace keys create"):
        Pepper.find(tmp_path / "state", create=False)
    made = Pepper.find(tmp_path / "state", create=True)
    assert Pepper.find(tmp_path / "state", create=True).hash("s") == made.hash("s")
    assert os.stat(tmp_path / "state" / "pepper").st_mode & 0o777 == 0o600
    monkeypatch.setenv("HEADRACE_PEPPER", "a" * 16 + "," + "b" * 16)
    assert Pepper.find(tmp_path, create=False).matches("s", Pepper([b"b" * 16]).hash("s"))


@pytest.mark.parametrize(
    ("scopes", "allowed", "refused"),
    [
        ({"infer"}, ["infer:a", "infer:b.c"], ["manage:a", "metrics", "audit", "admin"]),
        ({"infer:a"}, ["infer:a"], ["infer:ab", "infer:b", "infer", "manage:a"]),
        ({"infer:a*"}, ["infer:a", "infer:ab"], ["infer:b", "infer:ba", "infer", "manage:a"]),
        ({"infer:*"}, ["infer:a"], ["manage:a", "metrics"]),
        ({"manage:a", "metrics"}, ["manage:a", "metrics"], ["infer:a", "manage:b", "admin"]),
        ({"admin"}, ["infer:a", "manage:a", "metrics", "audit", "admin"], []),
        (set(), [], ["infer:a", "infer", "metrics"]),
    ],
)
def test_scopes(scopes: set[str], allowed: list[str], refused: list[str]) -> None:
    principal = Principal("k", "n", "t", frozenset(scopes))
    for wanted, expected in [*((w, True) for w in allowed), *((w, False) for w in refused)]:
        verb, _, model = wanted.partition(":")
        assert principal.allows(verb, model or None) is expected, wanted


@pytest.mark.parametrize(
    "scope",
    ["", "infer:", "infer:a b", "infer:**", "infer:a*b", "run", "metrics:a", "Infer", "infer:-a", "infer a"],
)
def test_no_scope(scope: str) -> None:
    with pytest.raises(InvalidArgumentError, match="scope="):
        check_scope(scope)


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 65},
        {"tenant": "\u00e9"},
        {"scopes": []},
        {"scopes": ["nothing"]},
        {"lifetime": 0},
        {"lifetime": -1},
        {"lifetime": float("nan")},
        {"limits": Limits(requests_per_minute=0)},
        {"limits": Limits(tokens_per_day=10**13)},
    ],
)
def test_what_a_key_cannot_be(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError):
        make_key(PEPPER, **{"name": "n", "scopes": ["infer"], **arguments})  # type: ignore[arg-type]


def test_the_catalogue_keeps_keys(url: str) -> None:
    limits = Limits(10, None, 10**12)
    text, key = make_key(PEPPER, "one key", ["infer:a", "metrics"], tenant="acme", lifetime=60, limits=limits)
    with Catalogue(url) as catalogue:
        catalogue.add(key)
    with Catalogue(url) as catalogue:  # migrates nothing a second time
        assert key in catalogue.all_keys()
        assert text not in repr(catalogue.all_keys())
        revoked = catalogue.revoke(key.id, 5.0)
        assert revoked.revoked == 5.0
        assert catalogue.revoke(key.id, 6.0).revoked == 5.0
        with pytest.raises(ModelNotFoundError, match="keys list"):
            catalogue.revoke("nothing", 1.0)


def test_the_ring_follows_the_catalogue(url: str) -> None:
    with Catalogue(url) as other:
        ring = KeyRing(Catalogue(url), PEPPER, refresh=0.05)
        try:
            text, key = make_key(PEPPER, "n", ["infer"])
            brief, brief_key = make_key(PEPPER, "brief", ["infer"], lifetime=0.7)
            with pytest.raises(KeyRefused, match="not known"):
                ring.authenticate(text)
            other.add(key)
            other.add(brief_key)
            time.sleep(0.3)
            assert ring.authenticate(text) == key.principal
            assert ring.authenticate(brief).name == "brief"
            forged = text[:-49] + new_key()[2]
            for wrong in (text[:-1] + "!", forged + "000000", make_key(PEPPER, "n", ["infer"])[0]):
                with pytest.raises(KeyRefused):
                    ring.authenticate(wrong)
            other.revoke(key.id, time.time())
            time.sleep(0.6)
            with pytest.raises(KeyRefused, match="revoked"):
                ring.authenticate(text)
            with pytest.raises(KeyRefused, match="expired"):
                ring.authenticate(brief)
        finally:
            ring.close()


def test_known_keys_are_believed_for_a_minute_while_the_catalogue_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Postgres() as postgres:
        with Catalogue(postgres.url) as catalogue:
            text, key = make_key(PEPPER, "n", ["infer"])
            catalogue.add(key)
        ring = KeyRing(Catalogue(postgres.url), PEPPER, refresh=0.05)
        try:
            postgres.stop()
            time.sleep(0.5)
            assert ring.authenticate(text).name == "n"
            monkeypatch.setattr("headrace.security.keyring.GRACE_SECONDS", 0.1)
            with pytest.raises(KeysUnavailable):
                ring.authenticate(text)
            postgres.start()
            time.sleep(1)
            assert ring.authenticate(text).name == "n"
            with pytest.raises(OSError, match="cannot be used"):
                Catalogue("postgresql://postgres@127.0.0.1:1/postgres")
        finally:
            ring.close()


@pytest.mark.parametrize("url", ["nonsense", "mysql://root@127.0.0.1/test", "://"])
def test_urls_that_are_no_catalogue(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match="database"):
        Catalogue(url)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(OSError, match="cannot be used") as raised:
        Catalogue("postgresql://postgres:hunter2@127.0.0.1:1/postgres")
    assert "hunter2" not in str(raised.value)


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_STATE", str(tmp_path))
    monkeypatch.delenv("HEADRACE_PEPPER", raising=False)

    def run(*arguments: str, code: int = 0) -> str:
        assert main(["keys", *arguments]) == code
        out, err = capsys.readouterr()
        return out if code == 0 else err

    assert "no key yet" in run("list")
    made = json.loads(
        run(
            "create",
            "--name",
            "a",
            "--scope",
            "infer:x*",
            "--expires",
            "2d",
            "--tokens-per-day",
            "9",
            "--json",
        )
    )
    assert split_key(made["key"]) is not None
    assert made["limits"] == {"tokens_per_day": 9}
    assert made["expires"] - made["created"] == pytest.approx(2 * 86_400)
    shown = run("create", "--name", "b", "--scope", "infer", "--scope", "metrics")
    assert shown.startswith("hr_")
    listed = run("list")
    assert "infer metrics" in listed
    assert made["key"] not in listed
    assert "revoked" in run("revoke", made["id"])
    assert [row["state"] for row in json.loads(run("list", "--json"))] == ["revoked", "active"]
    assert "no key has the id" in run("revoke", "nothing", code=2)
    assert "--name" in run("create", "--scope", "infer", code=2)
    assert "at least one" in run("create", "--name", "c", code=2)
    assert "--expires" in run("create", "--name", "c", "--scope", "infer", "--expires", "soon", code=2)
    assert "id of the key" in run("revoke", code=2)
    assert b"hr_" not in (tmp_path / "catalogue.sqlite").read_bytes()
