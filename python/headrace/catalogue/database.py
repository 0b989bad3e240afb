"""The database behind a server: opened, brought to the tables of this version, and asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgumentError, ModelNotFoundError
from ..security.keys import Key
from ..security.scopes import Limits

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from typing_extensions import Self

_CONNECT_SECONDS = 3
_LOCK = 0x68656164  # of PostgreSQL's advisory locks: one server migrates at a time


def state_folder(given: str | None = None) -> Path:
    """Where a server keeps what is its own: `given`, else HEADRACE_STATE, else headrace in the user's state folder."""
    given = given or os.environ.get("HEADRACE_STATE")
    if given:
        return Path(given).expanduser()
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "headrace"


def default_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'catalogue.sqlite'}"


class Catalogue:
    """Keys in a database. Thread-safe; every call waits for the database, so none belongs on an event loop.

    Args:
        url: as SQLAlchemy has it: `sqlite:///PATH`, or `postgresql://USER@HOST/NAME`.

    Raises:
        InvalidArgumentError: the URL is of another kind, or its driver is not installed.
        OSError: the database cannot be reached.

    >>> import tempfile
    >>> from headrace.catalogue import Catalogue
    >>> with tempfile.TemporaryDirectory() as folder, Catalogue(f"sqlite:///{folder}/c.sqlite") as catalogue:
    ...     catalogue.all_keys()
    []
    """

    def __init__(self, url: str) -> None:
        sa = _sqlalchemy()
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError:
            raise InvalidArgumentError(
                "database: must be a URL, such as sqlite:///keys.sqlite or postgresql://user@host/name"
            ) from None
        options: dict[str, Any] = {}
        if parsed.get_backend_name() == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
            options = {
                "pool_pre_ping": True,
                "pool_size": 2,
                "connect_args": {"connect_timeout": _CONNECT_SECONDS},
            }
        elif parsed.get_backend_name() == "sqlite":
            if parsed.database and parsed.database != ":memory:":
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        else:
            raise InvalidArgumentError(
                f"database: {parsed.get_backend_name()} is not supported: must be sqlite or postgresql"
            )
        self.shown = parsed.render_as_string(hide_password=True)
        try:
            self._engine: Engine = sa.create_engine(parsed, **options)
        except ModuleNotFoundError as error:
            raise InvalidArgumentError(
                f"database: {error.name} is not installed; run: pip install 'headrace[postgres]'"
            ) from None
        self._migrate()

    def _migrate(self) -> None:
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        sa = _sqlalchemy()
        with self._asked() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def _asked(self) -> Iterator[Connection]:
        """A transaction; OSError when the database is away."""
        sa = _sqlalchemy()
        try:
            with self._engine.begin() as connection:
                yield connection
        except (sa.exc.OperationalError, sa.exc.InterfaceError) as error:
            raise OSError(f"the database {self.shown} cannot be used: {_first_line(error)}") from None

    def all_keys(self) -> list[Key]:
        """Every key, oldest first, with those that are over."""
        from .tables import keys

        sa = _sqlalchemy()
        with self._asked() as connection:
            rows = connection.execute(sa.select(keys).order_by(keys.c.created, keys.c.id)).mappings().all()
        return [_key(row) for row in rows]

    def add(self, key: Key) -> None:
        from .tables import keys

        with self._asked() as connection:
            connection.execute(
                keys.insert().values(
                    id=key.id,
                    name=key.name,
                    tenant=key.tenant,
                    hash=key.hash,
                    scopes=" ".join(key.scopes),
                    created=key.created,
                    expires=key.expires,
                    revoked=key.revoked,
                    certificate=key.certificate,
                    **vars(key.limits),
                )
            )

    def revoke(self, identity: str, now: float) -> Key:
        """Ends a key at once; servers hear of it within seconds. ModelNotFoundError for one that is not there."""
        from .tables import keys

        sa = _sqlalchemy()
        with self._asked() as connection:
            mine = keys.c.id == identity
            connection.execute(keys.update().where(mine, keys.c.revoked.is_(None)).values(revoked=now))
            row = connection.execute(sa.select(keys).where(mine)).mappings().first()
        if row is None:
            raise ModelNotFoundError(f"no key has the id {identity[:32]!r}: `headrace keys list` shows them")
        return _key(row)

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _key(row: Any) -> Key:
    limits = Limits(row["requests_per_minute"], row["tokens_per_minute"], row["tokens_per_day"])
    return Key(
        row["id"],
        row["name"],
        row["tenant"],
        row["hash"],
        tuple(row["scopes"].split()),
        row["created"],
        row["expires"],
        row["revoked"],
        limits,
        row["certificate"],
    )


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", error)).strip().splitlines()[0]


def _sqlalchemy() -> Any:
    try:
        import sqlalchemy
        import sqlalchemy.exc
    except ModuleNotFoundError:
        raise InvalidArgumentError("keys need a database: run: pip install 'headrace[serve]'") from None
    return sqlalchemy
