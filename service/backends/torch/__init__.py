"""Encoder-decoders in plain torch, on a GPU or on a CPU; the only place of the service that imports torch."""

import os

# OpenMP reads it once, as torch loads it. Its threads spin while they wait for each other: where another thread has the
# core of one, an encoding took ten times as long; asleep they cost a twentieth more on an idle machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
