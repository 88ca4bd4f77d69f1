"""Features in, features with bands of frequency and stretches of time left out."""

import numpy as np
import numpy.typing as npt

from model_store.train.augment.settings import Masks

Features = npt.NDArray[np.float32]


def masked(features: Features, settings: Masks, random: np.random.Generator) -> Features:
    """SpecAugment without time warping (Park et al., 2019, which found that the warp gives least).

    Args:
        features: log-mel [bins, frames] of the speech alone: a mask on padding would hide nothing.
        settings: how many masks, how wide at most. A mask of time is no wider than a share of all frames (its `p`).
        random: what decides.

    Returns:
        A copy, masked with the mean of the features; or the features as they are, where the dice say so.
    """
    if random.random() >= settings.probability or not features.size:
        return features
    bins, frames = features.shape
    found, mean = features.copy(), features.mean()
    for _ in range(settings.bands):
        start, width = _stretch(bins, settings.band_bins, random)
        found[start : start + width] = mean
    longest = min(settings.stretch_frames, int(frames * settings.stretch_share))
    for _ in range(settings.stretches):
        start, width = _stretch(frames, longest, random)
        found[:, start : start + width] = mean
    return found


def _stretch(length: int, widest: int, random: np.random.Generator) -> tuple[int, int]:
    width = int(random.integers(0, min(widest, length) + 1))
    return int(random.integers(0, length - width + 1)), width
