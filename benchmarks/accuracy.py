"""How many words are wrong, beside faster-whisper on the same weights and files?

python -m benchmarks.accuracy --data DIR --peer-python PYTHON [--sets … --models … --out DIR]

A row a set, a language, and all short sets pooled; then by how many points Wren is over its peer of the same precision,
and the rows where the peer is better by most words. --out keeps every transcript as JSON lines.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from benchmarks import options, peer, report
from benchmarks.local import variant
from benchmarks.peer import COMPUTE, Peer
from benchmarks.speech import LONG, Scored, Utterance, groups, score, wer
from model_store.evaluate.serving import Serving

Results = dict[str, list[Scored]]
"""By the system's name, in the order of the utterances."""

MODELS = (*options.MODELS, "moonshine-tiny")

WORST = 12


def collect(name: str, utterances: list[Utterance], hear: Callable[[Utterance], str]) -> list[Scored]:
    return [score(u, hear(u)) for u in report.progress(utterances, name)]


def ours(asked: argparse.Namespace, utterances: list[Utterance]) -> Results:
    results: Results = {}
    with Serving(asked.store, asked.models[0], threads=asked.threads) as wren:
        for manifest in (variant(asked.store, name) for name in asked.models):
            known = [u for u in utterances if u.lang in manifest.languages]

            def hear(u: Utterance, name: str = manifest.name) -> str:
                return wren.transcribe(u.path.read_bytes(), name, language=u.lang).text

            results[manifest.name] = collect(manifest.name, known, hear)
    return results


def theirs(asked: argparse.Namespace, utterances: list[Utterance]) -> tuple[Results, dict[str, str]]:
    """The peer with the weights and precision of each of our Whisper variants."""
    results: Results = {}
    versions: dict[str, str] = {}
    manifests = [variant(asked.store, name) for name in asked.models] if asked.peer_python else []
    for manifest in manifests:
        if manifest.family != "whisper":
            continue
        known = [u for u in utterances if u.lang in manifest.languages]
        with Peer(asked.peer_python, manifest.model, COMPUTE[manifest.precision], threads=asked.threads) as peer:
            versions = peer.versions
            name = f"peer of {manifest.name}"
            results[name] = collect(name, known, lambda u, peer=peer: peer.transcribe(u.path, language=u.lang).text)
    return results, versions


def rates(results: Results, utterances: list[Utterance]) -> dict[str, dict[str, float | None]]:
    """WER by group and system; None where a system does not know the language."""
    found: dict[str, dict[str, float | None]] = {}
    for group, members in groups(utterances).items():
        of = set(members)
        found[group] = {}
        for name, scored in results.items():
            kept = [one for one in scored if one.utterance in of]
            found[group][name] = wer(kept) if len(kept) == len(of) else None
    return found


def gaps(found: dict[str, dict[str, float | None]]) -> dict[str, dict[str, float]]:
    """Points of WER over the peer, by group and variant."""
    pairs = {
        group: [(name, one, row.get(f"peer of {name}")) for name, one in row.items()] for group, row in found.items()
    }
    return {
        group: {name: one - other for name, one, other in row if one is not None and other is not None}
        for group, row in pairs.items()
    }


def worst(results: Results) -> list[tuple[str, str, int, int, int | None]]:
    """Utterance, variant, words, errors, the peer's errors: where the peer is better by most words."""
    rows: list[tuple[str, str, int, int, int | None]] = []
    compared = [name for name in results if f"peer of {name}" in results]
    for name in compared or results:
        others = results.get(f"peer of {name}")
        for index, one in enumerate(results[name]):
            rows.append((one.utterance.name, name, one.words, one.errors, others[index].errors if others else None))
    return sorted(rows, key=lambda row: row[3] - (row[4] or 0), reverse=True)[:WORST]


def keep(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, scored in results.items():
        with (folder / f"{name.replace(' ', '_').replace(':', '-')}.jsonl").open("w") as lines:
            for one in scored:
                u = one.utterance
                row = {"set": u.set_name, "audio": u.audio, "lang": u.lang, "errors": one.errors}
                row |= {"words": one.words, "reference": u.text, "hypothesis": one.hypothesis}
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--out", type=Path, help="folder for the transcripts")
    peer.add_option(parser)
    asked = parser.parse_args()
    known = {language for name in asked.models for language in variant(asked.store, name).languages}
    utterances = [u for u in options.utterances(asked) if u.lang in known]
    results = ours(asked, utterances)
    others, versions = theirs(asked, utterances)
    results |= others
    if asked.out:
        keep(results, asked.out)
    found = rates(results, utterances)
    over = gaps(found)
    members = groups(utterances)
    rows = [[group, len(members[group]), *row.values()] for group, row in found.items()]
    report.show("WER, percent", ["", "files", *results], rows)
    judged = {group: row for group, row in over.items() if group.startswith(("pooled", "all", LONG)) and row}
    if judged:
        names = list(next(iter(judged.values())))
        report.show("Points over the peer", ["", *names], [[group, *row.values()] for group, row in judged.items()])
    report.show("Worst rows", ["", "variant", "words", "errors", "peer's errors"], worst(results))
    report.record("accuracy", utterances, peer=versions, threads=asked.threads, wer=found, over_peer=over)


if __name__ == "__main__":
    main()
