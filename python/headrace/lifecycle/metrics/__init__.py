"""Figures of quality, in numpy alone: an evaluation needs no training library."""
