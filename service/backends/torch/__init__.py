"""Encoder-decoders in plain torch, on a GPU or on a CPU; the only place of the service that imports torch."""

import os

# OpenMP reads it when torch is loaded. Threads that spin while they wait hold on to the cores that others need: with
# one busy thread beside the two of Whisper tiny.en in INT8, a window of 9 s took 750 ms, and a step of one row 120 ms;
# with threads that sleep 46 ms and 3 ms. On two cores with nothing else to do it was 28 ms against 42 ms.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
