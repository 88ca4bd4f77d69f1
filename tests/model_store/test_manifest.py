from datetime import datetime

import pytest
from tiny_models import draft, evaluation

from model_store.manifest import File, Manifest

FILES = tuple(File(name=name, sha256=digit * 64, bytes=1) for name, digit in (("b.onnx", "1"), ("a.json", "2")))


def test_the_digest_is_that_of_names_and_contents_in_any_order() -> None:
    there = draft(files=FILES)
    assert there.digest == draft(files=FILES[::-1], variant="int8", license="none").digest
    others = [FILES[:1], (FILES[0], FILES[1].model_copy(update={"name": "c.json"})), ()]
    others.append((FILES[0], FILES[1].model_copy(update={"sha256": "3" * 64})))
    assert len({there.digest, *(draft(files=files).digest for files in others)}) == 5
    assert there.digests == {"a.json": "2" * 64, "b.onnx": "1" * 64}


@pytest.mark.parametrize("files", [(FILES[0], FILES[0]), (File(name="manifest.json", sha256="0" * 64, bytes=1),)])
def test_a_file_is_listed_once_and_is_not_the_manifest(files: tuple[File, ...]) -> None:
    with pytest.raises(ValueError, match="listed twice, or is the manifest"):
        draft(files=files)


def test_evaluations_of_other_data_devices_and_threads_stand_side_by_side() -> None:
    others = [evaluation(data_sha256="0" * 64), evaluation(device="Another"), evaluation(threads=8)]
    known = draft().evaluated([evaluation()]).evaluated([*others, evaluation(wer=1.0)]).evaluations
    assert known == (evaluation(wer=1.0), *others)


@pytest.mark.parametrize("wer", [float("nan"), float("inf")])
def test_a_figure_that_no_manifest_can_hold_is_refused(wer: float) -> None:
    with pytest.raises(ValueError, match="finite number"):
        evaluation(wer=wer)


def test_a_date_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="timezone"):
        evaluation(date=datetime(2026, 1, 1))


def test_a_manifest_from_before_there_were_evaluations_is_read() -> None:
    old = draft().model_dump(mode="json", exclude={"version", "evaluations", "recipe_sha256"})
    found = Manifest.model_validate(old | {"schema_version": 1, "metrics": {}})
    assert (found.version, found.evaluations, found.recipe_sha256) == (1, (), None)
