"""What the settings of all steps have in common."""

from pydantic import ConfigDict

STRICT = ConfigDict(frozen=True, extra="forbid")
"""A misspelt setting is an error, not a default."""

EVERY = ("*",)
"""Patterns that match every tensor."""
