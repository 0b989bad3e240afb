"""Settings of `headrace serve`: defaults, a file, the environment, flags, and `headrace config show`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from conftest import Server

from headrace.cli import main


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEADRACE_CONFIG", "HEADRACE_STATE", "HEADRACE_PORT"):
        monkeypatch.delenv(name, raising=False)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["config", "show", "--origin", "--json", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_last_one_wins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "server.toml"
    file.write_text(
        'port = 1\nhost = "127.0.0.2"\nqueue-budget = 2\nmodels = ["demo:minilm"]\naudit = true\n'
    )
    monkeypatch.setenv("HEADRACE_PORT", "2")
    monkeypatch.setenv("HEADRACE_HOST", "127.0.0.3")
    monkeypatch.setenv("HEADRACE_REQUIRE_KEYS", "yes")
    found = shown(capsys, "--config", str(file), "--port", "3", "--allowed-host", "a", "--allowed-host", "b")
    assert found["port"] == {"value": 3, "origin": "flag"}
    assert found["host"] == {"value": "127.0.0.3", "origin": "HEADRACE_HOST"}
    assert found["queue_budget"] == {"value": 2.0, "origin": str(file)}
    assert found["models"] == {"value": ["demo:minilm"], "origin": str(file)}
    assert found["audit"] == {"value": True, "origin": str(file)}
    assert found["require_keys"] == {"value": True, "origin": "HEADRACE_REQUIRE_KEYS"}
    assert found["allowed_host"] == {"value": ["a", "b"], "origin": "flag"}
    assert found["drain_seconds"] == {"value": 30, "origin": "default"}
    monkeypatch.setenv("HEADRACE_CONFIG", str(file))
    assert shown(capsys)["queue_budget"]["origin"] == str(file)


def test_every_option_of_serve_is_a_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    options = {
        word.strip(",[]") for word in capsys.readouterr().out.split() if word.startswith(("--", "[--"))
    }
    names = {option.lstrip("-").replace("-", "_") for option in options}
    assert len(names) > 20
    assert names - {"help", "config", "json"} <= set(shown(capsys))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 1", "'prot' is not a setting: known are access_log"),
        ('port = "many"', "port='many': must be a int"),
        ("port = true", "must be a text or a number"),
        ("port = [1]", "must be a text or a number"),
        ('audit = "perhaps"', "must be true or false"),
        ("audit = 1", "must be true or false"),
        ('precision = "f7"', "must be one of auto"),
        ("models = 3", "must be a list of texts"),
        ("models = [3]", "must be a list of texts"),
        ("port = ", "not TOML"),
        ("\x00", "not TOML"),
    ],
)
def test_a_file_that_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    file = tmp_path / "server.toml"
    file.write_text(text)
    assert main(["config", "show", "--config", str(file)]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--config", "nowhere.toml"]) == 2
    assert "nowhere.toml: No such file" in capsys.readouterr().err


def test_a_server_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "server.toml"
    file.write_text('models = ["mine=demo:minilm"]\nmax_body_mb = 0.001\n')
    monkeypatch.setenv("HEADRACE_CONFIG", str(file))
    with Server() as server:
        assert server.started["models"] == ["mine"]
        body = {"model": "mine", "input": "x" * 2000}
        assert httpx2.post(f"{server.url}/v1/embeddings", json=body).status_code == 413
        assert server.stop() == 0
