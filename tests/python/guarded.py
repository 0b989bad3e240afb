"""A server with keys, and keys for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx2
from conftest import Server

from headrace.catalogue import Catalogue
from headrace.security.keys import Pepper, make_key

BODY = {"model": "minilm", "input": "a mill wheel"}


class Guarded:
    """A server with keys, and keys for it."""

    def __init__(self, folder: Path, *arguments: str, database: str | None = None) -> None:
        self.folder = folder
        self.pepper = Pepper.find(folder, create=True)
        self.catalogue = Catalogue(database or f"sqlite:///{folder}/catalogue.sqlite")
        self.keys = {
            "all": self.key("infer", "manage", "metrics"),
            "minilm": self.key("infer:minilm"),
            "other": self.key("infer:other", "manage:minilm"),
            "metrics": self.key("metrics"),
        }
        more = () if database is None else ("--database", database)
        # What is given may say another budget: the last one counts.
        self.server = Server(
            "--queue-budget", "60", *arguments, "--require-keys", "--state", str(folder), *more
        )

    def key(self, *scopes: str, **options: Any) -> str:
        text, key = make_key(self.pepper, "-".join(scopes).replace(":", "."), scopes, **options)
        self.catalogue.add(key)
        return text

    def wait_until_known(self, *names: str) -> None:
        """Until the running server knows these keys, which it reads every few seconds."""
        end = time.monotonic() + 10
        for name in names:
            headers = {"authorization": f"Bearer {self.keys[name]}"}
            while httpx2.get(f"{self.server.url}/v1/models", headers=headers).status_code == 401:
                assert time.monotonic() < end, f"the key {name} is not known after 10 s"
                time.sleep(0.05)

    def client(self, key: str) -> httpx2.Client:
        headers = {"authorization": f"Bearer {self.keys.get(key, key)}"}
        return httpx2.Client(base_url=self.server.url, headers=headers, timeout=60)

    def __enter__(self) -> Guarded:
        return self

    def __exit__(self, *_: object) -> None:
        self.catalogue.close()
        self.server.__exit__()
