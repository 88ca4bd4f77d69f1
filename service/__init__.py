"""Wren online: the server, the command line and everything between a request and its transcript."""

import os

__version__ = "0.1.0"

# numpy reads this when it is first imported. Its products are small here: threads for them wait on each other and take
# the cores from the backend (features of 9 s: 1.5 ms with one thread, up to 19 ms with two beside a decoding session).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# From 1.29 on onnxruntime tells its maker of every session, unless this is set before it is first imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
