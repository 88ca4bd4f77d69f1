"""The training behind the step `tune`."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from model_store.compress.adapter import Change, Facts, adapted, halved, identity
from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.config import WhisperConfig
from model_store.errors import CompressionError
from model_store.evaluate.scoring import normal
from model_store.train import low_rank
from model_store.train.augment.chain import Chain
from model_store.train.corpus import Corpus, Recording
from model_store.train.dictation import HEAD, Dictated, Dictation
from model_store.train.distillation import chosen
from model_store.train.lesson import Lesson, arrays, held_out, named, studio_of, tensors
from model_store.train.loop import Company
from model_store.train.tune import Tune
from service.audio.types import MAX_WINDOW_S
from service.recognition import families
from service.recognition.families.base import Family
from service.recognition.families.whisper import TEXT_LIMIT
from service.recognition.types import Options


def trained(draft: Draft, settings: Tune, context: Context) -> tuple[Draft, Change | None]:
    """See `model_store.train.tune.tune`; the change is None where all weights were trained.

    Raises:
        CompressionError: no recording has a text and is short enough, or nothing is to be trained.
        NotLeading: in the processes of a distributed run that do not write.
    """
    studio, config = studio_of(draft, context, settings.step), draft.model.config
    if not isinstance(config, WhisperConfig):
        raise TypeError(f"a {type(config).__name__} of Whisper")
    if settings.language and config.first_language_token is None:
        raise CompressionError(settings.step, "the model knows one language and tells none: leave `language` at 0")
    torch.set_num_threads(studio.threads)
    company = Company()
    if company.leads:
        Corpus.of(studio.utterances, studio.folder, report=context.report)
    company.wait()
    corpus = Corpus.of(studio.utterances, studio.folder)
    examples = tuple(_dictated(corpus, families.load(studio.base), settings, context))
    if not examples:
        raise CompressionError(settings.step, f"no recording has a text and is at most {MAX_WINDOW_S} s long")
    start = {name: one.to(company.device) for name, one in tensors(draft.model.weights).items()}
    parameters = _parameters(start, settings, examples, seed=context.seed)

    def weights() -> dict[str, Tensor]:
        if not settings.rank:
            return {**start, **parameters}
        return low_rank.changed(start, {name: one for name, one in parameters.items() if name != HEAD})

    def now() -> tuple[Draft, Change | None]:
        kept = arrays({name: one for name, one in parameters.items() if name != HEAD})
        if not settings.rank:
            return draft.having({**draft.model.weights, **kept}), None
        facts = Facts(
            model_sha256=identity(draft.model),
            padding=config.padding,
            settings=settings.model_dump_json(),
            trained_on=named(studio.utterances),
        )
        change = Change(halved(kept), facts)
        return adapted(draft, change), change

    problem = Dictation(
        parameters=parameters,
        weights=weights,
        corpus=corpus,
        examples=examples * settings.copies,
        bins=config.mel_bins,
        padding=config.padding,
        smoothing=settings.smoothing,
        ctc=settings.ctc,
        language=settings.language,
        vary=Chain(settings.augmentation),
        seed=context.seed,
    )
    summed = hashlib.sha256(f"{corpus.path.name} {settings.model_dump_json()} {context.seed}".encode())
    summed.update(identity(draft.model).encode())
    lesson = Lesson(settings.step, company, summed.hexdigest(), studio, context.seed)
    optimisation = settings.optimisation
    lesson.taken(problem, optimisation, held_out(context, optimisation, settings.step, lambda: now()[0]))
    return now()


def _parameters(
    start: Mapping[str, Tensor], settings: Tune, examples: Sequence[Dictated], *, seed: int
) -> dict[str, Tensor]:
    device = next(iter(start.values())).device
    names = [
        name for name in chosen(list(start), settings.layers, settings.frozen, settings.step) if start[name].ndim <= 2
    ]
    if not settings.rank:
        parameters = {name: start[name].clone() for name in names}
    else:
        fresh = low_rank.fresh(start, names, settings.rank, seed=seed)
        parameters = {name: one.to(device) for name, one in fresh.items()}
    if settings.ctc:
        width = start["encoder.layer_norm.weight"].shape[0]
        letters = 1 + max(max(one.letters, default=0) for one in examples)
        drawn = torch.randn(letters, width, generator=torch.Generator().manual_seed(seed)) * width**-0.5
        parameters[HEAD] = drawn.to(device)
    return parameters


def _dictated(corpus: Corpus, family: Family, settings: Tune, context: Context) -> Iterator[Dictated]:
    """The recordings with texts that fit into a window; the others are told."""
    known = [one for one in corpus.recordings if normal(one.text, one.lang)]
    alphabet = sorted({letter for one in known for letter in normal(one.text, one.lang)})
    numbers = {letter: number for number, letter in enumerate(alphabet, start=1)}
    left_out = 0
    for one in known:
        found = _written(one, family, settings, numbers)
        if one.seconds > MAX_WINDOW_S or len(found.tokens) - found.text_from > TEXT_LIMIT:
            left_out += 1
        else:
            yield found
    if left_out:
        context.report(f"{left_out} recordings are left out: longer than {MAX_WINDOW_S} s, or their texts are")


def _written(one: Recording, family: Family, settings: Tune, numbers: Mapping[str, int]) -> Dictated:
    text = one.text.lower() if settings.case == "lower" else one.text
    prompt = family.prompt(Options(), task="transcribe", language=one.lang).tokens
    tokens = (*prompt, *family.tokenizer.encode(f" {text.strip()}"), family.end_token)
    return Dictated(one, tokens, len(prompt), tuple(numbers[letter] for letter in normal(one.text, one.lang)))
