from __future__ import annotations

import pytest

from qkb.site.docstring import docstring_markdown, split_source

DOCSTRING = r"""Tiny: signs.

Paper by *somebody*, see ``sign``.

Forward (Eq. 1), with $\alpha$ the scale:

$$
w_b = \alpha

    \mathrm{sign}(w)
$$
Then

$$ a $$
$$ b $$

Worked example:
    x = 1
      y = 2

Differences from the paper

1. (Sec. 1) Digits
   instead of <b>photographs</b>.
2. No dropout.
- A bullet
"""


SHOWN = r"""Tiny: signs.

Paper by \*somebody\*, see <code>sign</code>.

Forward (Eq. 1), with <code>\\alpha</code> the scale:

```text
w_b = \alpha

    \mathrm{sign}(w)
```

Then

```text
a
```

```text
b
```

Worked example:

```text
x = 1
  y = 2
```

**Differences from the paper**

1. (Sec. 1) Digits instead of &lt;b&gt;photographs&lt;/b&gt;.
2. No dropout.
- A bullet"""


def test_a_docstring_becomes_prose_formulas_items_and_headings() -> None:
    assert docstring_markdown(DOCSTRING) == SHOWN


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ('r"""One\n\n    two\n"""\n\nx = 1\n', ("One\n\ntwo", "x = 1\n")),
        ('"""One"""', ("One", "")),
        ("x = 1\n", ("", "x = 1\n")),
        ("1\nx = 1\n", ("", "1\nx = 1\n")),
        ("", ("", "")),
        ("def (:\n", ("", "def (:\n")),
        ("# first a comment\n'''Doc.'''\nx = 1\n", ("Doc.", "x = 1\n")),
    ],
)
def test_a_source_is_split_at_its_docstring(source: str, parts: tuple[str, str]) -> None:
    assert split_source(source) == parts


def test_a_docstring_cannot_break_out() -> None:
    shown = docstring_markdown("<script>x</script>\n\n$$ ``` $$\n\n    ```\n\n1. [a](javascript:b)\n")
    assert "<script>" not in shown
    assert "````text\n```\n````" in shown
    assert r"\[a\](javascript:b)" in shown
