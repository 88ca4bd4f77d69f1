import pytest

from service.recognition.languages import NAMES, code_of, name_of


def test_table_has_the_hundred_languages_of_whisper() -> None:
    assert len(NAMES) == 100
    assert list(NAMES)[:3] == ["en", "zh", "de"]
    assert list(NAMES)[-1] == "yue"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("English", "en"),
        ("pt-BR", "pt"),
        ("pt_br", "pt"),
        ("zh-Hans-CN", "zh"),
        ("haitian creole", "ht"),
        ("castilian", "es"),
        ("iw", "he"),
        (" de ", "de"),
    ],
)
def test_tags_and_names_become_codes(given: str, code: str) -> None:
    assert code_of(given) == code


@pytest.mark.parametrize("given", ["", "xx", "klingon", "en en"])
def test_unknown_language_has_no_code(given: str) -> None:
    assert code_of(given) is None


def test_every_code_and_name_leads_back_to_itself() -> None:
    for code, name in NAMES.items():
        assert code_of(code) == code
        assert code_of(name) == code
        assert name_of(code) == name


def test_name_of_a_foreign_code_is_the_code() -> None:
    assert name_of("tlh") == "tlh"
