"""Encoder-decoders in plain torch, on a GPU or on a CPU; the only place of the service that imports torch."""
