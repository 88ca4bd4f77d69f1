"""A torch variant's folder in; its network on a device out."""

import json
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch

from model_store.config import FILE_NAME, MoonshineConfig, WhisperConfig
from service.backends.base import EncoderBatch
from service.backends.torch.decoder import Decoder
from service.backends.torch.moonshine import MoonshineEncoder, moonshine_decoder
from service.backends.torch.network import Layers, Network
from service.backends.torch.weights import Weights
from service.backends.torch.whisper import WhisperEncoder, whisper_decoder

Inputs = TypeVar("Inputs")


class Encoder(Protocol[Inputs]):
    """What goes to the device, and what is computed there of it, without a word to the host."""

    def inputs(self, batch: EncoderBatch) -> Inputs: ...

    def encoded(self, inputs: Inputs) -> Layers: ...


class EncoderDecoder(Generic[Inputs]):
    """See `service.backends.torch.network.Network`."""

    def __init__(self, encoder: Encoder[Inputs], decoder: Decoder, memory_bytes: int) -> None:
        self.encoder, self.decoder, self.memory_bytes = encoder, decoder, memory_bytes
        self.sizes, self.device, self.dtype = decoder.sizes, decoder.device, decoder.dtype
        self.decode = decoder.decode

    def encode(self, batch: EncoderBatch) -> Layers:
        return self.encoder.encoded(self.encoder.inputs(batch))


def load(folder: Path, device: torch.device) -> Network:
    """The network of the variant in `folder`."""
    return built(Weights.read(folder, device), (folder / FILE_NAME).read_text())


def built(weights: Weights, config: str) -> Network:
    """The network of these weights; `config` is the text of its config.json, which names the family."""
    if json.loads(config)["family"] == "whisper":
        whisper = WhisperConfig.model_validate_json(config)
        parts = WhisperEncoder(weights, whisper), whisper_decoder(weights, whisper)
        return EncoderDecoder(*parts, weights.kept_bytes)
    moonshine = MoonshineConfig.model_validate_json(config)
    pair = MoonshineEncoder(weights, moonshine), moonshine_decoder(weights, moonshine)
    return EncoderDecoder(*pair, weights.kept_bytes)
