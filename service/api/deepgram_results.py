"""What was heard in, the bodies of Deepgram's answers out. Pure.

The names are those of the models of deepgram-sdk 3.11, 5.3 and 7; what a model there requires is always sent.
"""

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from pydantic import BaseModel

from model_store.manifest import Manifest
from service.api.deepgram_options import ListenOptions, OptionWarning
from service.api.deepgram_words import bare, confidence_of, paragraphs, text_of, utterances, words_of
from service.recognition.types import Language, Segment, Transcript, Word

DEPRECATED_KEY = "deprecated"
"""What Deepgram has sent as the transaction key for years."""

_NAMESPACE = uuid.NAMESPACE_OID


class WordBody(BaseModel):
    """A word; `punctuated_word` is as it was written, absent where that was not wanted."""

    word: str
    start: float
    end: float
    confidence: float
    punctuated_word: str | None = None


class SentenceBody(BaseModel):
    """A sentence of a paragraph."""

    text: str
    start: float
    end: float


class ParagraphBody(BaseModel):
    """Sentences that belong together."""

    sentences: list[SentenceBody]
    num_words: int
    start: float
    end: float


class ParagraphsBody(BaseModel):
    """All paragraphs; in `transcript` they are parted by empty lines."""

    transcript: str
    paragraphs: list[ParagraphBody]


class AlternativeBody(BaseModel):
    """What was said; there is never a second one."""

    transcript: str
    confidence: float
    words: list[WordBody]
    paragraphs: ParagraphsBody | None = None
    languages: list[str] | None = None


class ChannelBody(BaseModel):
    """The one channel that all are mixed into; the language where it was to be detected."""

    alternatives: list[AlternativeBody]
    detected_language: str | None = None
    language_confidence: float | None = None


class UtteranceBody(BaseModel):
    """What was said between two pauses."""

    start: float
    end: float
    confidence: float
    channel: int
    transcript: str
    words: list[WordBody]
    id: str


class ModelBody(BaseModel):
    """The variant that heard it: `model:variant`, when it was made and its build in the store, and its family."""

    name: str
    version: str
    arch: str


class MetadataBody(BaseModel):
    """About the request. `warnings` names what was asked for and ignored."""

    transaction_key: str = DEPRECATED_KEY
    request_id: str
    sha256: str
    created: str
    duration: float
    channels: int
    models: list[str]
    model_info: dict[str, ModelBody]
    warnings: list[OptionWarning] | None = None
    extra: dict[str, str] | None = None
    tags: list[str] | None = None


class ResultsBody(BaseModel):
    """The one channel, and its utterances if they were wanted."""

    channels: list[ChannelBody]
    utterances: list[UtteranceBody] | None = None


class ListenBody(BaseModel):
    """The answer to a recording."""

    metadata: MetadataBody
    results: ResultsBody


def metadata_body(
    manifest: Manifest,
    options: ListenOptions,
    *,
    request_id: str,
    sha256: str,
    duration_s: float,
    created: datetime,
    live: bool,
) -> MetadataBody:
    model_id = model_uuid(manifest)
    return MetadataBody(
        request_id=request_id,
        sha256=sha256,
        created=timestamp(created),
        duration=seconds(duration_s),
        channels=1,
        models=[model_id],
        model_info={model_id: model_body(manifest)},
        warnings=options.warnings(live=live) or None,
        extra=dict(options.extra) or None,
        tags=list(options.tag) or None,
    )


def results_body(transcript: Transcript, options: ListenOptions, *, request_id: str) -> ResultsBody:
    words = words_of(transcript.segments, options.replace)
    alternative = alternative_of(words, transcript.languages, options)
    if options.wants_paragraphs:
        alternative.paragraphs = _paragraphs(words, options)
    channel = ChannelBody(alternatives=[alternative])
    if options.detects and transcript.languages:
        channel.detected_language = transcript.languages[0].code
        channel.language_confidence = round(transcript.languages[0].probability, 4)
    runs = utterances(words, gap_s=options.utt_split) if options.utterances else None
    return ResultsBody(
        channels=[channel],
        utterances=None
        if runs is None
        else [_utterance(run, options, f"{request_id} {at}") for at, run in enumerate(runs)],
    )


def heard(segments: Iterable[Segment], detected: Sequence[Language], options: ListenOptions) -> AlternativeBody:
    """A stretch of a live stream; empty where nobody spoke."""
    return alternative_of(words_of(segments, options.replace), detected, options)


def alternative_of(words: Sequence[Word], detected: Sequence[Language], options: ListenOptions) -> AlternativeBody:
    return AlternativeBody(
        transcript=_written(words, options),
        confidence=round(confidence_of(words), 4),
        words=[_word(word, options) for word in words],
        languages=[language.code for language in detected[:1]] or None if options.detects else None,
    )


def model_body(manifest: Manifest) -> ModelBody:
    return ModelBody(
        name=manifest.name, version=f"{manifest.created:%Y-%m-%d}.{manifest.version}", arch=manifest.family
    )


def model_uuid(manifest: Manifest) -> str:
    """The same for the very same files under the same name, on whatever machine."""
    return str(uuid.uuid5(_NAMESPACE, f"{manifest.name} {manifest.digest}"))


def timestamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(duration_s: float) -> float:
    return round(duration_s, 3)


def _written(words: Sequence[Word], options: ListenOptions) -> str:
    """The text: as the model wrote it, or its bare words."""
    if not options.plain:
        return text_of(words)
    return " ".join(bare(word.text) for word in words)


def _word(word: Word, options: ListenOptions) -> WordBody:
    return WordBody(
        word=bare(word.text),
        start=seconds(word.start_s),
        end=seconds(word.end_s),
        confidence=round(word.confidence, 4),
        punctuated_word=None if options.plain else word.text.strip(),
    )


def _paragraphs(words: Sequence[Word], options: ListenOptions) -> ParagraphsBody:
    gathered = paragraphs(words)
    texts = [" ".join(_written(sentence, options) for sentence in sentences) for sentences in gathered]
    return ParagraphsBody(
        # Deepgram begins with a line break.
        transcript="\n" + "\n\n".join(texts) if texts else "",
        paragraphs=[_paragraph(sentences, options) for sentences in gathered],
    )


def _paragraph(sentences: Sequence[Sequence[Word]], options: ListenOptions) -> ParagraphBody:
    return ParagraphBody(
        sentences=[
            SentenceBody(
                text=_written(sentence, options), start=seconds(sentence[0].start_s), end=seconds(sentence[-1].end_s)
            )
            for sentence in sentences
        ],
        num_words=sum(len(sentence) for sentence in sentences),
        start=seconds(sentences[0][0].start_s),
        end=seconds(sentences[-1][-1].end_s),
    )


def _utterance(words: Sequence[Word], options: ListenOptions, name: str) -> UtteranceBody:
    return UtteranceBody(
        start=seconds(words[0].start_s),
        end=seconds(words[-1].end_s),
        confidence=round(confidence_of(words), 4),
        channel=0,
        transcript=_written(words, options),
        words=[_word(word, options) for word in words],
        id=str(uuid.uuid5(_NAMESPACE, name)),
    )
