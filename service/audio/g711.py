"""G.711 bytes in, waveform out: the mu-law and A-law of telephony, one table look-up a sample.

For headerless audio only; a wav that holds G.711 is read by libsndfile.
"""

import numpy as np
import numpy.typing as npt

from service.audio.types import Samples

_FULL_SCALE = 32768.0
_MULAW_BIAS = 0x84  # ITU-T G.711, table 2: added before the segment shift, taken off after it


def _mulaw_table() -> Samples:
    code = ~np.arange(256, dtype=np.uint8)
    segment, step = (code >> 4 & 0x07).astype(np.int32), (code & 0x0F).astype(np.int32)
    magnitude = ((step << 3) + _MULAW_BIAS << segment) - _MULAW_BIAS
    return (np.where(code & 0x80, -magnitude, magnitude) / _FULL_SCALE).astype(np.float32)


def _alaw_table() -> Samples:
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    segment, step = (code >> 4 & 0x07).astype(np.int32), (code & 0x0F).astype(np.int32)
    linear = (step << 4) + 8
    magnitude = np.where(segment == 0, linear, linear + 0x100 << np.maximum(segment - 1, 0))
    return (np.where(code & 0x80, magnitude, -magnitude) / _FULL_SCALE).astype(np.float32)


_MULAW = _mulaw_table()
_ALAW = _alaw_table()


def from_mulaw(codes: npt.NDArray[np.uint8]) -> Samples:
    return _MULAW[codes]


def from_alaw(codes: npt.NDArray[np.uint8]) -> Samples:
    return _ALAW[codes]
