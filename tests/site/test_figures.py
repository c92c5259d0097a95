from __future__ import annotations

import pytest

from qkb.site.figures import figure, picture

GOOD = '<svg xmlns="http://www.w3.org/2000/svg" width="9">\n<title>a &lt; b</title><path d="M0 0" fill="red"/></svg>\n'


def test_a_figure_is_one_line_and_its_caption_is_escaped() -> None:
    found = figure("<svg>\n</svg>", "a <b>", "extra")
    assert found == (
        '<div class="qkb-figures extra"><figure><svg> </svg><figcaption>a &lt;b&gt;</figcaption></figure></div>'
    )
    wide = figure("<svg></svg>", 'a "b"', scrolls=True)
    assert '<div class="qkb-figures qkb-wide"><figure tabindex="0" role="group" aria-label="a &#34;b&#34;">' in wide


def test_a_plain_drawing_from_a_file_is_shown() -> None:
    found = picture(GOOD, "mlp/a.svg", "Two streams")
    assert "<title>a &lt; b</title>" in found
    assert "\n" not in found


@pytest.mark.parametrize(
    "inside",
    [
        "<script>alert(1)</script>",
        "<foreignObject/>",
        '<a href="https://evil.example"/>',
        '<image href="https://evil.example/x.png"/>',
        '<path onload="alert(1)"/>',
        '<path fill="url(https://evil.example/x)"/>',
        '<path style="fill:red"/>',
        "<!-- a comment -->",
        "<?xml-stylesheet href='x'?>",
        '<g xmlns="http://www.w3.org/1999/xhtml"/>',
        "<script",
        "</svg><svg>",
    ],
)
def test_anything_that_runs_loads_or_leads_away_is_refused(inside: str) -> None:
    with pytest.raises(ValueError, match=r"^mlp/a\.svg: .*only shapes and text may stand in it"):
        picture(GOOD.replace("<path", f"{inside}<path", 1), "mlp/a.svg", "c")


def test_entities_are_never_expanded() -> None:
    bomb = '<!DOCTYPE svg [<!ENTITY a "aaaa">]>' + GOOD.replace("a &lt; b", "&a;")
    with pytest.raises(ValueError, match="a declaration"):
        picture(bomb, "mlp/a.svg", "c")
