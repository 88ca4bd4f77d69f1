"""A spoken sentence that comes with Wren: to try the server, to measure it, and to see whether a variant can hear."""

from pathlib import Path

SAMPLE = Path(__file__).with_name("sample.wav")
"""Mono, at the rate of all waveforms inside Wren."""

SAMPLE_TEXT = "The quick brown fox jumps over the lazy dog."
SAMPLE_LANGUAGE = "en"
