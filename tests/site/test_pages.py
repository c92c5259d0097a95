from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from jinja2 import UndefinedError
from markupsafe import Markup

from qkb.site import pages
from qkb.site.pages import Renderer, environment

if TYPE_CHECKING:
    from qkb.site.survey import Survey

TEMPLATES = Path(__file__).parents[2] / "site" / "templates"


@pytest.fixture
def rendered(survey: Survey) -> dict[str, str]:
    return Renderer(survey, TEMPLATES).pages()


def body(page: str) -> str:
    return page.split("---\n", 2)[2]


def test_every_term_and_record_has_its_page(rendered: dict[str, str]) -> None:
    assert sorted(rendered) == [
        "fpga.md",
        "implementations.md",
        "index.md",
        "lists/index.md",
        "lists/small-list.md",
        "papers/scaled-sign.md",
        "papers/tiny-sign.md",
        "papers/wide-steps.md",
        "tags/bnn.md",
        "tags/hardware.md",
        "tags/index.md",
        "tags/qnn.md",
        "topics/index.md",
        "topics/scaling-factors.md",
        "topics/ternary.md",
        "topics/weights-only.md",
        "vocabulary.md",
        "years/2015.md",
        "years/2016.md",
        "years/2017.md",
        "years/index.md",
    ]


def test_a_paper_with_an_implementation(rendered: dict[str, str]) -> None:
    page = body(rendered["papers/tiny-sign.md"])
    assert page.startswith("\n# Tiny Sign: Networks with One-Bit Weights\n\nAda Lind, Bo Ruiz\n{: .qkb-authors }\n")
    for expected in (
        (
            "Published\n:   [Fabricated Conference on Networks](../vocabulary.md#venue-fabconf), "
            "[2015](../years/2015.md), pages 12–20 (conference)\n"
        ),
        "Read\n:   [arXiv 1511.00001](https://arxiv.org/abs/1511.00001)\n",
        "Tags\n:   [Binarized neural networks](../tags/bnn.md)\n",
        "Bits\n:   weights 1\n",
        "Also known as\n:   TinySign\n",
        (
            'Runs here\n:   <span class="qkb-verdict qkb-not-reproduced">1 not reproduced</span> '
            "<code>qkb run tiny-sign</code>\n"
        ),
        "## Notes\n\nWeights are replaced by their sign.",
        "Measured on toy tasks with 3 seeds (0 to 2), torch 2.13.0.",
        "| ours | 92 | 1 |",
        "## Method\n\nTiny Sign: weights are replaced by their sign.",
        "```text\nw_b = \\mathrm{sign}(w)\n```",
        "1. (Sec. 2) Digits, \\*not\\* photographs.",
        "```sh\nqkb run tiny-sign\npython -m reference_impls.binary.tiny_sign\n```",
        '```python title="reference_impls/binary/tiny_sign.py"\nRECORD = "tiny-sign"\n',
        "**Built upon by**\n\n- [Scaled Sign Networks](scaled-sign.md) (2016)\n",
        "**Listed in**\n\n- [A small list, Section one](../lists/small-list.md)\n",
        "```bibtex\n@inproceedings{tiny-sign,\n",
    ):
        assert expected in page
    assert "Builds on" not in page
    assert "Code\n:" not in page


def test_a_paper_whose_implementation_is_wanted(rendered: dict[str, str]) -> None:
    page = body(rendered["papers/wide-steps.md"])
    assert '<span class="qkb-verdict qkb-wanted">wanted</span> [add the implementation](../contributing.md)' in page
    assert "No implementation measures these claims yet." in page
    assert "not measured" in page
    assert "**Builds on**\n\n- [Tiny Sign: Networks with One-Bit Weights](tiny-sign.md) (2015)\n" in page
    for absent in ("## Method", "## Code", "qkb run", "Listed in", "Built upon by"):
        assert absent not in page


def test_an_implementation_without_accepted_measurements(rendered: dict[str, str]) -> None:
    page = body(rendered["papers/scaled-sign.md"])
    assert "Runs here\n:   yes <code>qkb run scaled-sign</code>\n" in page
    assert "The implementation has no accepted measurements yet." in page
    assert "- [A small list, Section one](../lists/small-list.md)\n- [A small list, Section two]" in page


def test_the_front_page_counts(rendered: dict[str, str]) -> None:
    page = rendered["index.md"]
    assert "**3** [works](years/index.md)" in page
    assert "**2** [implementations](implementations.md)" in page
    assert "**1** [claims not reproduced](design.md#verdicts)" in page
    assert "**0** [claims reproduced](design.md#verdicts)" in page
    assert "- [2016](years/2016.md) 1\n" in page


def test_one_page_holds_all_records_while_they_are_few(
    survey: Survey, rendered: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "## 2016 { #2016 }" in rendered["years/index.md"]
    assert "- [2016](index.md#2016) 1" in rendered["years/index.md"]
    monkeypatch.setattr(pages, "WHOLE_SURVEY", 2)
    many = Renderer(survey, TEMPLATES).pages()["years/index.md"]
    assert "## 2016" not in many
    monkeypatch.setattr(pages, "WHOLE_SURVEY", 0)
    wanted = Renderer(survey, TEMPLATES).implementations().split("## Wanted")[1]
    assert "[Show them in the search](search.md?implementation=wanted)" in wanted
    assert "Wide Steps" not in wanted
    assert "- [2016](2016.md) 1" in many


def test_a_list_has_its_sections_and_corrections(rendered: dict[str, str]) -> None:
    page = rendered["lists/small-list.md"]
    assert page.index("## Section one { #one }") < page.index("## Section two { #two }") < page.index("## Corrections")
    assert "2 printed values differ from the records" in page
    assert "| [A small list](small-list.md) | 2 | 3 | A list that does not exist. |" in rendered["lists/index.md"]


def test_a_list_without_corrections_says_so(survey: Survey) -> None:
    known = survey.vocabulary.lists["small-list"]
    survey.vocabulary.lists["small-list"] = known.model_copy(update={"sections": known.sections[1:]})
    page = Renderer(survey, TEMPLATES).lists()["lists/small-list.md"]
    assert "The list prints what the records say." in page
    assert "differ from the records" not in page


def test_the_vocabulary_counts_and_anchors(rendered: dict[str, str]) -> None:
    page = rendered["vocabulary.md"]
    assert "| [Ternary](topics/ternary.md) | <code>ternary</code> | 1 |" in page
    assert "| Other compression | <code>other</code> | 0 |" in page
    assert '| <span id="venue-fabj"></span>FABJ | Fabricated Journal of Bits | [1](search.md?venue=FABJ) |' in page


def test_implementations_and_what_is_wanted(rendered: dict[str, str]) -> None:
    page = rendered["implementations.md"]
    assert "2 methods." in page
    assert (
        "| [Scaled Sign Networks](papers/scaled-sign.md) | 2016 | <code>binary/scaled\\_sign</code> | not measured yet"
        in page
    )
    assert "1 work without an implementation." in page
    assert "Wide Steps" in page.split("## Wanted")[1]


def test_only_papers_are_searched(rendered: dict[str, str]) -> None:
    for path, page in rendered.items():
        meta = yaml.safe_load(page.split("---\n", 2)[1])
        assert ("search" in meta["qkb"]) == (not path.startswith("papers/")), path


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ x }}", r"\*a\* &lt;b&gt; &#123;&#123;7\*7&#125;&#125;"),
        ("{% for c in [x] %}{{ c }}{% endfor %}", r"\*a\* &lt;b&gt; &#123;&#123;7\*7&#125;&#125;"),
        ("{{ x ~ '!' }}", r"\*a\* &lt;b&gt; &#123;&#123;7\*7&#125;&#125;!"),
        ("{{ safe }}", "**x**"),
        ("{{ 7 }}{{ none or '' }}", "7"),
    ],
)
def test_templates_escape_what_is_not_markup(tmp_path: Path, template: str, expected: str) -> None:
    (tmp_path / "t").write_text(template)
    found = environment(tmp_path).get_template("t").render(x="*a* <b> {{7*7}}", safe=Markup("**x**"))
    assert found == expected


def test_templates_may_not_name_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("{{ nothing }}")
    with pytest.raises(UndefinedError):
        environment(tmp_path).get_template("t").render()
