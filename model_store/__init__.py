"""Wren offline, and what both sides read: the catalogue, the store of variants, conversion."""

import os

# From 1.29 on onnxruntime tells its maker of every session, unless this is set before it is first imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
