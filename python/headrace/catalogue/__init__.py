"""What is kept between runs: keys, in SQLite by default, in PostgreSQL by URL."""

from .database import Catalogue, default_folder, default_url

__all__ = ["Catalogue", "default_folder", "default_url"]
