from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qkb.site.families import families
from qkb.site.page import Page
from qkb.site.pages import Renderer
from qkb.site.survey import Source, Survey
from reference_impls.kit.results import Result

TEMPLATES = Path(__file__).parents[2] / "site" / "templates"
TINY, SCALED, WIDE = "tiny-sign", "scaled-sign", "wide-steps"


def made(survey: Survey, methods: dict[str, tuple[str, str, float]], baseline: float | None = None) -> Survey:
    """Return the survey with sources and results of the given (family, bits, accuracy) by record."""
    sources, results = {}, {}
    for key, (family, bits, accuracy) in methods.items():
        sources[key] = Source(f"reference_impls/{family}/{key}.py", f'BUDGET_BITS = "{bits}"\n' if bits else "\n")
        metrics: dict[str, tuple[float, ...]] = {"cnn_accuracy": (accuracy - 1, accuracy + 1)} if bits else {}
        if baseline is not None:
            metrics["cnn_full_precision"] = (baseline, baseline)
        results[key] = Result("2", (0, 1), metrics, (), ())
    return replace(survey, sources=sources, results=results)


def test_members_stand_by_bits_then_the_best_first(survey: Survey) -> None:
    methods = {TINY: ("binary", "w1a1", 80.0), SCALED: ("binary", "w1a1", 85.0), WIDE: ("binary", "w1afp", 90.0)}
    family = families(made(survey, methods))["binary"]
    assert [(m.record.id, m.bits, m.mean) for m in family.members] == [
        (SCALED, "w1a1", 85.0),
        (TINY, "w1a1", 80.0),
        (WIDE, "w1afp", 90.0),
    ]
    assert (family.others, family.baseline) == ((), ())


def test_one_bit_weights_of_other_folders_are_binary_too(survey: Survey) -> None:
    methods = {
        TINY: ("binary", "w1a1", 80.0),
        SCALED: ("relaxation", "w1afp", 85.0),
        WIDE: ("relaxation", "w2afp", 90.0),
    }
    found = families(made(survey, methods))
    assert {m.record.id for m in found["binary"].members} == {TINY, SCALED}
    assert {m.record.id for m in found["relaxation"].members} == {SCALED, WIDE}


def test_bits_are_compared_as_numbers(survey: Survey) -> None:
    methods = {
        TINY: ("uniform", "w1.4a1", 99.0),
        SCALED: ("uniform", "w12a1", 80.0),
        WIDE: ("uniform", "w1.4afp", 90.0),
    }
    family = families(made(survey, methods))["uniform"]
    assert [m.bits for m in family.members] == ["w1.4a1", "w1.4afp", "w12a1"]


def test_fractional_bits_are_not_one_bit(survey: Survey) -> None:
    methods = {TINY: ("uniform", "w1.4a1", 80.0), SCALED: ("uniform", "w12a1", 85.0)}
    assert set(families(made(survey, methods))) == {"uniform"}


def test_one_method_is_no_comparison(survey: Survey) -> None:
    assert families(made(survey, {TINY: ("ternary", "w2afp", 80.0)})) == {}


def test_what_was_not_trained_under_the_budget_is_named(survey: Survey) -> None:
    methods = {TINY: ("binary", "w1a1", 80.0), SCALED: ("binary", "w1a1", 81.0), WIDE: ("binary", "", 0.0)}
    found = families(made(survey, methods))["binary"]
    assert [record.id for record in found.others] == [WIDE]


def test_table_and_figure(survey: Survey) -> None:
    methods = {TINY: ("binary", "w1a1", 80.0), SCALED: ("binary", "w1a1", 85.5)}
    shown = made(survey, methods, baseline=95.0)
    family = families(shown)["binary"]
    rows = family.table(Page("families/binary.md", shown)).splitlines()
    assert rows[0] == "| Paper | Year | Bits | Accuracy, % | Standard deviation | Seeds | Claims |"
    assert "](../papers/scaled-sign.md) | 2016 | w1a1 | 85.5 | 1.4 | 2 |  |" in rows[2]
    figure = family.figure()
    assert "\n" not in figure
    assert figure.count("<circle") == 6
    assert figure.index(">full precision<") < figure.index(">scaled-sign, w1a1<") < figure.index(">tiny-sign, w1a1<")


def test_the_page_and_the_way_to_it(survey: Survey) -> None:
    methods = {TINY: ("binary", "w1a1", 80.0), SCALED: ("binary", "w1a1", 85.5), WIDE: ("binary", "", 0.0)}
    pages = Renderer(made(survey, methods, baseline=95.0), TEMPLATES).pages()
    page = pages["families/binary.md"]
    assert "# Binary methods under one budget" in page
    assert "in full precision reaches 95.0 %" in page
    assert "(../papers/wide-steps.md) (2017)" in page.split("## Not in this comparison")[1]
    assert "[binary methods](families/binary.md)." in pages["implementations.md"]


def test_no_page_without_a_comparison(survey: Survey) -> None:
    pages = Renderer(survey, TEMPLATES).pages()
    assert not [path for path in pages if path.startswith("families/")]
    assert "families/" not in pages["implementations.md"]
