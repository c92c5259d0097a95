from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qkb.site import facts

if TYPE_CHECKING:
    from qkb.records.model import Record
    from qkb.site.survey import Survey


@pytest.fixture
def scaled(survey: Survey) -> Record:
    return survey.records["scaled-sign"]


@pytest.mark.parametrize(
    ("authors", "short"),
    [
        (("Ada Lind",), "Lind"),
        (("Ada Lind", "Bo van der Ruiz"), "Lind and van der Ruiz"),
        (("Ada Lind", "Bo Ruiz", "Chen Ode"), "Lind et al."),
        (("Alpha Data Ltd.",), "Alpha Data Ltd."),
    ],
)
def test_short_authors(scaled: Record, authors: tuple[str, ...], short: str) -> None:
    assert facts.short_authors(scaled.model_copy(update={"authors": authors})) == short


def test_bits(survey: Survey) -> None:
    wide = survey.records["wide-steps"]
    assert facts.bits(wide) == "W2-8 Afp"
    assert facts.bits_words(wide) == "weights 2 to 8, activations fp"
    assert facts.bits(wide.model_copy(update={"bits": None})) == ""
    assert facts.bits_words(wide.model_copy(update={"bits": None})) == ""


def test_links_name_what_they_lead_to(survey: Survey, scaled: Record) -> None:
    assert facts.place_links(survey.records["tiny-sign"]) == "[arXiv 1511.00001](https://arxiv.org/abs/1511.00001)"
    assert facts.place_links(scaled) == (
        "[DOI](https://doi.org/10.5555/scaled.sign), [web page](https://journal.example/scaled-sign)"
    )


def test_code(survey: Survey, scaled: Record) -> None:
    assert facts.code_links(scaled) == "[official](https://code.example/scaled-sign)"
    assert facts.repositories(scaled) == (
        "[code.example/scaled-sign](https://code.example/scaled-sign) (official, pytorch)"
    )
    assert facts.code_links(survey.records["tiny-sign"]) == ""


def test_the_authors_own_code_comes_first(scaled: Record) -> None:
    (official,) = scaled.code
    other = official.model_copy(update={"url": "https://other.example/x", "official": False, "framework": None})
    both = scaled.model_copy(update={"code": (other, official)})
    assert facts.code_links(both) == "[official](https://code.example/scaled-sign) +1"
    assert facts.repositories(both).split("; ")[1] == "[other.example/x](https://other.example/x) (third-party)"
    assert facts.code_links(scaled.model_copy(update={"code": (other,)})) == "[third-party](https://other.example/x)"


def test_verdicts(survey: Survey) -> None:
    result = survey.results["tiny-sign"]
    assert facts.verdict_counts(result) == {"not reproduced": 1}
    assert facts.verdict_counts(None) == {}
    assert facts.verdict_badges(result) == ('<span class="qkb-verdict qkb-not-reproduced">1 not reproduced</span>')
    assert facts.verdict_badges(None) == ""


def test_a_badge_of_an_unknown_verdict_is_plain() -> None:
    assert facts.badge('"><script>') == ('<span class="qkb-verdict qkb-wanted">"&gt;&lt;script&gt;</span>')
