"""The tasks of encoders: for each, how its inputs go to the core and what its numbers mean."""

from __future__ import annotations
