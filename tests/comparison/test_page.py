import re
from collections.abc import Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser

from model_store.comparison.page import render
from model_store.comparison.rows import Here, compare
from model_store.manifest import Manifest
from tests.comparison.variants import evaluation, variant

HOSTILE = "</title><script>alert(1)</script>\"'&<u>"
MADE = datetime(2026, 5, 6, 7, 8, tzinfo=UTC)
VARIANTS = (
    variant("tiny:fp32", 200, evaluation(5.0, 10, energy_j=300.0)),
    variant("tiny:int8", 50, evaluation(5.0, 30)),
    variant("tiny:new", 25),
    variant("base:fp32", 300, evaluation(4.0, 5)),
    variant("base:int8", 80, evaluation(4.5, 15)),
)


class Page(HTMLParser):
    """What a browser would make of it: tags with their attributes, and the rows of tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[-1][-1] += data.strip()

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(manifests: Sequence[Manifest] = VARIANTS, **told: Here) -> Page:
    return Page(text(manifests, **told))


def text(manifests: Sequence[Manifest] = VARIANTS, **told: Here) -> str:
    return render(compare(manifests, here={f"tiny:{name}": here for name, here in told.items()}), made=MADE)


def row(page: Page, name: str) -> dict[str, str]:
    """The first row of a variant, by the headings of its table."""
    index = next(index for index, cells in enumerate(page.rows) if cells[0] == name)
    headings = next(cells for cells in reversed(page.rows[:index]) if cells[0] == "Variant")
    return dict(zip(headings, page.rows[index], strict=True))


def test_page_needs_nothing_but_itself() -> None:
    whole = text()
    found = Page(whole)
    loading = {attributes.get(name) for _, attributes in found.tags for name in ("src", "srcset", "data", "href")}
    assert all(value is None or value.startswith("#") for value in loading)
    assert not {"link", "img", "iframe", "object", "base"} & {tag for tag, _ in found.tags}
    assert not re.search(r"https?:|@import|url\(", whole)
    assert "default-src 'none'" in whole
    assert len(whole) < 100_000


def test_names_cannot_become_markup() -> None:
    hostile = evaluation(5.0, data=HOSTILE, device=HOSTILE, versions={HOSTILE: HOSTILE})
    manifests = (
        variant("tiny:fp32", 200, hostile, recipe=HOSTILE),
        variant("tiny:int8", 50, hostile, recipe=HOSTILE, parent=HOSTILE),
    )
    found = page(manifests)
    assert len(found.attributes("script")) == 1
    assert not found.attributes("u")
    assert row(found, "fp32")["Device"] == HOSTILE
    assert "alert" not in str([attributes for tag, attributes in found.tags if tag not in ("td",)])


def test_every_variant_has_a_row_in_its_model_and_one_among_all() -> None:
    names = [cells[0] for cells in page().rows if cells[0] != "Variant"]
    assert names == [
        "fp32",
        "int8",
        "fp32",
        "int8",
        "new",
        "base:fp32",
        "tiny:fp32",
        "base:int8",
        "tiny:int8",
        "tiny:new",
    ]


def test_row_tells_figures_and_standing() -> None:
    found = row(page(), "tiny:int8")
    told = {"Size": "50.0 MB", "Of base": "25%", "WER %": "5.00", "95 %": "4.00 to 6.50", "Over parent": "+0.00"}
    assert told.items() <= found.items()
    assert {"Made by": "int8 of fp32", "Speed": "30.0x", "Evaluated": "2026-03-04"}.items() <= found.items()
    assert found["Standing"] == "on the front"
    assert row(page(), "tiny:fp32")["Standing"] == "dominated by base:int8"


def test_what_is_missing_is_a_dash_and_what_nobody_has_is_left_out() -> None:
    found = page()
    assert row(found, "tiny:new") | {"Standing": "not evaluated", "WER %": "–", "Device": "–"} == row(found, "tiny:new")
    assert (row(found, "tiny:fp32")["Energy"], row(found, "tiny:int8")["Energy"]) == ("30.0 J", "–")
    assert not any("here" in heading for cells in found.rows for heading in cells if cells[0] == "Variant")


def test_figures_of_this_machine_have_columns_if_there_are_any() -> None:
    found = row(page(int8=Here(210_000_000, 123.0, 55.0)), "tiny:int8")
    assert (found["Memory here"], found["Latency here"], found["Speed here"]) == ("210.0 MB", "123 ms", "55.0x")


def test_front_and_others_are_told_apart_in_tables() -> None:
    tables = re.findall(r'<tr class="(\w+)">\s*<th scope="row">([^<]+)', text())
    assert {("front", "tiny:int8"), ("behind", "tiny:fp32"), ("behind", "tiny:new")} <= set(tables)


def test_model_without_evaluations_is_told_how_to_get_one() -> None:
    whole = text((*VARIANTS, variant("small:fp32", 500)))
    assert "wren evaluate small --data DIR" in whole
    assert row(Page(whole), "small:fp32")["Standing"] == "not evaluated"


def test_headings_have_a_scope_and_charts_have_a_name() -> None:
    found = page()
    assert {attributes["scope"] for attributes in found.attributes("th")} == {"row", "col"}
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [str(one["aria-labelledby"]).split() for one in found.attributes("svg") if "aria-labelledby" in one]
    assert len(named) == 6
    assert {name for names in named for name in names} <= set(ids)
