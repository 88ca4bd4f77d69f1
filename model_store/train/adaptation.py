"""The training behind the step `adapt`."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch

from model_store.compress.adapter import Change, Facts, halved, identity
from model_store.compress.draft import Draft
from model_store.config import Padding, WhisperConfig
from model_store.errors import CompressionError
from model_store.evaluate.layouts import Utterance
from model_store.train import bank, curve, low_rank
from model_store.train.adapt import Adapt
from model_store.train.corpus import Corpus
from model_store.train.cuts import cuts
from model_store.train.imitation import Imitation
from model_store.train.loop import Company, train
from model_store.train.network import Weights
from model_store.train.studio import NotLeading, Studio


def change(
    draft: Draft, settings: Adapt, studio: Studio, *, seed: int, report: Callable[[str], None] = lambda _: None
) -> Change:
    """See `model_store.train.adapt.adapt`.

    Raises:
        CompressionError: the recordings hold nothing to learn from.
        NotLeading: in the processes of a distributed run that do not write.
    """
    torch.set_num_threads(studio.threads)
    model, company = draft.model, Company()
    if not isinstance(model.config, WhisperConfig):
        raise TypeError(f"a {type(model.config).__name__} of Whisper")
    config, mine = model.config, identity(model)
    weights = {name: torch.from_numpy(np.array(weight)) for name, weight in model.weights.items()}
    told = hashlib.sha256(f"{mine} {seed} {settings.model_dump_json()}".encode())
    if company.leads:
        corpus = Corpus.of(studio.utterances, studio.folder, report=report)
        report(f"{corpus.seconds / 60:.0f} minutes of {len(corpus.recordings)} recordings to train on")
    company.wait()
    corpus = Corpus.of(studio.utterances, studio.folder)
    if not corpus.recordings:
        raise CompressionError("adapt", "none of the recordings can be decoded")
    told.update(corpus.path.name.encode())
    digest = told.hexdigest()
    folder = studio.folder / f"examples-{digest[:16]}"
    if company.leads:
        teacher = bank.Teacher(studio.base, weights, config, threads=studio.threads)
        chosen = cuts(corpus.recordings, settings.clips, seed)
        report(f"the teacher writes down what it hears in {len(chosen)} examples")
        bank.built(corpus, chosen, teacher, folder, width=_width(weights), seed=seed)
    company.wait()
    examples = bank.Bank(folder, _width(weights))
    if not examples.examples:
        raise CompressionError("adapt", "the teacher understood none of the recordings")
    parameters = _trained(draft, settings, studio, examples, weights, company, seed=seed, digest=digest)
    if not company.leads:
        raise NotLeading
    found = halved({name: one.detach().cpu().numpy() for name, one in parameters.items()})
    facts = Facts(model_sha256=mine, padding=settings.padding, recipe=digest, trained_on=_named(studio.utterances))
    return Change(found, facts)


def _trained(
    draft: Draft,
    settings: Adapt,
    studio: Studio,
    examples: bank.Bank,
    weights: Weights,
    company: Company,
    *,
    seed: int,
    digest: str,
) -> dict[str, torch.Tensor]:
    device, config = company.device, draft.model.config
    if not isinstance(config, WhisperConfig):
        raise TypeError(f"a {type(config).__name__} of Whisper")
    names = [name for name in weights if name.startswith(("encoder.layers.", "encoder.layer_norm."))]
    names = [name for name in names if weights[name].ndim <= 2]
    fresh = low_rank.fresh(weights, names, settings.rank, seed=seed)
    parameters = {name: one.to(device) for name, one in fresh.items()}
    theirs = {name: one.to(device) for name, one in weights.items()}
    wide = np.random.default_rng(seed).random(len(examples.examples)) < settings.wide

    def padding(example: int) -> Padding | None:
        return None if wide[example] else settings.padding

    problem = Imitation(
        parameters=parameters,
        weights=lambda: low_rank.changed(theirs, parameters),
        teacher=theirs,
        bank=examples,
        bins=config.mel_bins,
        padding=padding,
        closeness=settings.closeness,
        device=device,
    )
    path = studio.folder / f"checkpoint-{digest[:16]}.safetensors"
    standing = train(problem, settings.optimisation, seed=seed, digest=digest, path=path, watch=studio.watch)
    if company.leads:
        drawn = curve.svg(standing.losses, standing.held_out, title="adapt")
        (studio.folder / "curve.svg").write_text(drawn)
    return parameters


def _width(weights: Weights) -> int:
    return weights["decoder.embed_tokens.weight"].shape[1]


def _named(utterances: Sequence[Utterance]) -> str:
    """The sets, with how many recordings of each."""
    counts: dict[str, int] = {}
    for one in utterances:
        counts[one.set_name] = counts.get(one.set_name, 0) + 1
    return ", ".join(f"{name} ({count})" for name, count in counts.items())
