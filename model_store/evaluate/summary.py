"""Hypotheses in, the figures of an evaluation out. Pure."""

from collections.abc import Sequence

import numpy as np

from model_store.evaluate.bootstrap import interval
from model_store.evaluate.datasets import digest, title
from model_store.evaluate.hypotheses import Hypotheses
from model_store.evaluate.scoring import Scored, cer, score, wer
from model_store.manifest import Evaluation


def scores(hypotheses: Hypotheses) -> tuple[Scored, ...]:
    """Each hypothesis against its reference, in the same order."""
    return tuple(score(one.utterance, one.text) for one in hypotheses.heard)


def evaluation(hypotheses: Hypotheses, scored: Sequence[Scored]) -> Evaluation:
    """What the manifest of the variant keeps; `scored` as `scores` made it."""
    run, heard = hypotheses.run, hypotheses.heard
    utterances = [one.utterance for one in heard]
    audio_s, spent_s = sum(one.audio_s for one in heard), sum(one.seconds for one in heard)
    median_s, high_s = np.quantile([one.seconds for one in heard], (0.5, 0.95))
    between = interval(scored)
    return Evaluation(
        data=title(utterances),
        data_sha256=digest(utterances),
        recordings=len(heard),
        audio_s=audio_s,
        words=sum(one.words for one in scored),
        substitutions=sum(one.substitutions for one in scored),
        deletions=sum(one.deletions for one in scored),
        insertions=sum(one.insertions for one in scored),
        wer=wer(scored),
        wer_low=between.low,
        wer_high=between.high,
        cer=cer(scored),
        speed=audio_s / spent_s,
        tokens_per_s=sum(one.tokens for one in heard) / spent_s,
        latency_p50_ms=1e3 * float(median_s),
        latency_p95_ms=1e3 * float(high_s),
        load_ms=run.load_ms,
        peak_bytes=run.peak_bytes,
        energy_j=run.energy_j,
        device=run.device,
        threads=run.threads,
        versions=run.versions,
        date=run.date,
    )


def by_set(scored: Sequence[Scored]) -> dict[str, float]:
    """The WER of each set."""
    names = dict.fromkeys(one.utterance.set_name for one in scored)
    return {name: wer(one for one in scored if one.utterance.set_name == name) for name in names}
