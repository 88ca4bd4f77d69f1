"""Waveforms in, their log-mel spectrograms out, as `service.recognition.features` has them; a batch on its device."""

import torch

from service.audio.mel import FLOOR, HOP, RANGE, WINDOW, hann, mel_filters

_LOWEST = -10.0
"""log10(FLOOR), what digital silence has."""


class LogMel:
    """In float32, whatever the network computes in."""

    def __init__(self, bins: int, device: torch.device) -> None:
        self._filters = torch.tensor(mel_filters(bins), device=device)
        self._hann = torch.tensor(hann(), device=device)

    def __call__(self, samples: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """[rows, bins, frames] of samples [rows, `width(frames)`], of which counts [rows] frames are a row's own.

        Each row is floored at 8 decades below its own loudest value, and silent behind its own frames.
        """
        half = WINDOW // 2
        padded = torch.cat([samples[:, 1 : half + 1].flip(1), samples], 1)
        spectrum = torch.fft.rfft(padded.unfold(1, WINDOW, HOP) * self._hann)
        power = torch.view_as_real(spectrum).square_().sum(-1)
        mel = torch.matmul(self._filters, power.transpose(1, 2)).clamp_min_(FLOOR).log10_()
        behind = torch.arange(mel.shape[2], device=mel.device) >= counts[:, None]
        mel.masked_fill_(behind[:, None], _LOWEST)
        floor = (mel.amax((1, 2), keepdim=True) - RANGE).clamp_min_(_LOWEST)
        return torch.maximum(mel, floor).add_(4).div_(4)


def width(frames: int) -> int:
    """Samples that so many frames are made of, the mirror before them not counted."""
    return (frames - 1) * HOP + WINDOW // 2
