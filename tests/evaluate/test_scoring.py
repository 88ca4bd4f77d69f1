import pytest

from model_store.evaluate.scoring import cer, normal, score, wer
from tests.evaluate.recordings import utterance


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        ("the quick brown fox", "The quick, brown fox!", (0, 0, 0)),
        ("the quick brown fox", "the quack brown fox", (1, 0, 0)),
        ("the quick brown fox", "the fox", (0, 2, 0)),
        ("the quick brown fox", "the very quick brown fox", (0, 0, 1)),
        ("the quick brown fox", "", (0, 4, 0)),
        ("one", "so this is it", (1, 0, 3)),
        ("Mr. Smith's colour", "mister smith's color", (0, 0, 0)),
        ("twenty two", "22", (0, 0, 0)),
    ],
)
def test_errors_are_counted_by_kind(reference: str, hypothesis: str, counts: tuple[int, int, int]) -> None:
    found = score(utterance(reference), hypothesis)
    assert (found.substitutions, found.deletions, found.insertions) == counts
    assert found.errors == sum(counts)


def test_only_english_is_normalised_as_english() -> None:
    assert normal("Twenty two colours", "en") == "22 colors"
    assert normal("Señor, ¿Twenty two colours?", "es") == "senor twenty two colours"
    assert normal("(laughs)", "en") == ""


def test_rates_are_of_all_words_together() -> None:
    scored = [score(utterance("a b c d e f g h i"), "a b c d e f g h i"), score(utterance("x"), "y")]
    assert wer(scored) == pytest.approx(100 / 10)
    assert cer(scored) == pytest.approx(100 / 18)


def test_characters_are_counted_with_spaces() -> None:
    found = score(utterance("ab cd"), "abcd")
    assert (found.characters, found.character_errors) == (5, 1)
