"""What is kept between runs: keys, in SQLite by default, in PostgreSQL by URL."""

from .database import Catalogue, default_url, state_folder

__all__ = ["Catalogue", "default_url", "state_folder"]
