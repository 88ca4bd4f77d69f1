"""Wren offline, and what both sides read: the catalogue, the store of variants, conversion."""
