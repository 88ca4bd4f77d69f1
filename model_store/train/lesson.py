"""What every step that imitates a teacher begins with: its recordings as examples, and the tensors on their device."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.config import WhisperConfig
from model_store.convert import model as models
from model_store.convert.graph import Floats
from model_store.convert.model import Model
from model_store.errors import CompressionError
from model_store.evaluate.layouts import Utterance
from model_store.train import bank, curve
from model_store.train.augment.chain import Chain
from model_store.train.bank import Bank
from model_store.train.checkpoint import Standing
from model_store.train.corpus import Corpus
from model_store.train.cuts import cuts
from model_store.train.loop import Company, Problem, train
from model_store.train.network import Weights
from model_store.train.settings import Examples, Optimisation
from model_store.train.studio import NotLeading, Studio


@dataclass(frozen=True, slots=True)
class Lesson:
    """A step that trains, about to begin.

    Attributes:
        step: its name.
        company: the processes that take it.
        digest: of all that the outcome depends on.
    """

    step: str
    company: Company
    digest: str
    studio: Studio
    seed: int

    def taken(self, problem: Problem, settings: Optimisation, held_out: Callable[[], float] | None) -> Standing:
        """Trains; the curve is left in the studio's folder.

        Raises:
            NotLeading: in the processes of a distributed run that do not write.
        """
        path = self.studio.folder / f"checkpoint-{self.digest[:16]}.safetensors"
        standing = train(
            problem,
            settings,
            seed=self.seed,
            digest=self.digest,
            path=path,
            held_out=held_out,
            watch=self.studio.watch,
        )
        self.company.leave()
        if not self.company.leads:
            raise NotLeading
        drawn = curve.svg(standing.losses, standing.held_out, title=self.step)
        (self.studio.folder / f"curve-{self.step}.svg").write_text(drawn)
        return standing


@dataclass(frozen=True, slots=True)
class Taught(Lesson):
    """One with a teacher.

    Attributes:
        examples: what the teacher says.
        teacher: its weights, on the device.
        config: the draft's.
    """

    examples: Bank
    teacher: Weights
    config: WhisperConfig


def prepared(draft: Draft, context: Context, step: str, wanted: Examples, settings: str) -> Taught:
    """The lesson of a step with these settings, which are part of the digest.

    Raises:
        CompressionError: there are no recordings to train on, nothing is heard in them, or it is no Whisper.
    """
    studio = studio_of(draft, context, step)
    torch.set_num_threads(studio.threads)
    company, base = Company(), models.read(studio.base)
    config, theirs = draft.model.config, base.config
    if not isinstance(config, WhisperConfig) or not isinstance(theirs, WhisperConfig):
        raise TypeError(f"a {type(config).__name__} of Whisper")
    weights = tensors(base.weights)
    if company.leads:
        corpus = Corpus.of(studio.utterances, studio.folder, report=context.report)
        if not corpus.recordings:
            raise CompressionError(step, "none of the recordings can be decoded")
        found = f"{corpus.seconds / 60:.0f} minutes of {len(corpus.recordings)} recordings to train on"
        context.report(found)
    company.wait()
    corpus = Corpus.of(studio.utterances, studio.folder)
    folder = studio.folder / f"examples-{_digest(base, corpus, wanted, context.seed)[:16]}"
    width = weights["decoder.embed_tokens.weight"].shape[1]
    if company.leads:
        _written(corpus, wanted, folder, bank.Teacher(studio.base, weights, theirs, threads=studio.threads), context)
    company.wait()
    examples = Bank(folder, width, least=wanted.min_confidence)
    if not examples.examples:
        raise CompressionError(step, "the teacher understood none of the recordings")
    summed = hashlib.sha256(f"{folder.name} {settings} {context.seed}".encode())
    for name in sorted(draft.model.weights):
        summed.update(np.ascontiguousarray(draft.model.weights[name]).tobytes())
    teacher = {name: one.to(company.device) for name, one in weights.items()}
    return Taught(step, company, summed.hexdigest(), studio, context.seed, examples, teacher, config)


def studio_of(draft: Draft, context: Context, step: str) -> Studio:
    """What there is to train with.

    Raises:
        CompressionError: nothing, or it is no Whisper.
    """
    if context.studio is None:
        raise CompressionError(step, "it trains, and wants recordings to train on: wren train --training DIR")
    if draft.model.family != "whisper":
        raise CompressionError(step, f"only Whisper can be trained, not {draft.model.family}")
    return context.studio


def held_out(context: Context, settings: Optimisation, step: str, now: Callable[[], Draft]) -> Callable[[], float]:
    """What measures the WER of a draft as it stands on the recordings that steps look at.

    Raises:
        CompressionError: it is to be measured, and there are none.
    """
    recordings = context.recordings
    if recordings is None:
        if settings.validate_every:
            raise CompressionError(step, "held-out WER wants recordings with references: give them (--calibration DIR)")
        return lambda: 0.0
    return lambda: recordings.wer(now())


def tensors(weights: Mapping[str, Floats]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(weight, np.float32)) for name, weight in weights.items()}


def arrays(weights: Mapping[str, Tensor]) -> dict[str, Floats]:
    return {name: one.detach().cpu().numpy() for name, one in weights.items()}


def named(utterances: Sequence[Utterance]) -> str:
    """The sets, with how many recordings of each."""
    counts: dict[str, int] = {}
    for one in utterances:
        counts[one.set_name] = counts.get(one.set_name, 0) + 1
    return ", ".join(f"{name} ({count})" for name, count in counts.items())


def _written(corpus: Corpus, wanted: Examples, folder: Path, teacher: bank.Teacher, context: Context) -> None:
    chosen = cuts(corpus.recordings, wanted.count, context.seed, longest_s=wanted.longest_s)
    context.report(f"the teacher writes down what it hears in {len(chosen)} examples")
    vary = Chain(wanted.augmentation)
    bank.built(corpus, chosen, teacher, folder, width=teacher.width, seed=context.seed, vary=vary)


def _digest(base: Model, corpus: Corpus, wanted: Examples, seed: int) -> str:
    told = wanted.model_dump_json(exclude={"min_confidence"})
    summed = hashlib.sha256(f"{corpus.path.name} {told} {seed}".encode())
    for name in sorted(base.weights):
        summed.update(np.ascontiguousarray(base.weights[name]).tobytes())
    return summed.hexdigest()
