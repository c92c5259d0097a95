"""SVG pictures in pages: each on one line of HTML, in a box of its own."""

from __future__ import annotations

from html import escape
from xml.etree import ElementTree as ET

from markupsafe import Markup

# What a picture that lies in a file may consist of: shapes and text, nothing that runs, loads or leads anywhere.
_NAMESPACE = "{http://www.w3.org/2000/svg}"
_ELEMENTS = frozenset({"svg", "g", "path", "text", "title"})
_LAYOUT = {"viewBox", "width", "height", "x", "y", "d", "text-anchor", "font-family", "font-size", "role"}
_PAINT = {"fill", "fill-opacity", "opacity", "stroke", "stroke-width", "stroke-dasharray"}
_ATTRIBUTES = frozenset(_LAYOUT | _PAINT)


def figure(svg: str, caption: str, css: str = "", *, scrolls: bool = False) -> Markup:
    """Return a drawing of our own with its caption.

    Args:
        svg: drawn by us, with every name escaped.
        caption: plain text.
        css: a class for the box.
        scrolls: whether the drawing keeps its size where there is no room, so that the keyboard has to reach the box.
    """
    drawn = Markup(svg.replace("\n", " "))  # noqa: S704 (drawn by us)
    box = Markup(' tabindex="0" role="group" aria-label="{}"').format(caption) if scrolls else Markup()
    classes = " ".join(["qkb-figures", *(["qkb-wide"] if scrolls else []), *([css] if css else [])])
    return Markup('<div class="{}"><figure{}>{}<figcaption>{}</figcaption></figure></div>').format(
        classes, box, drawn, caption
    )


def picture(svg: str, name: str, caption: str) -> Markup:
    """Return a wide drawing from a file, which may come from anybody.

    Raises:
        ValueError: if it has anything but shapes and text in it; `name` tells which file it is.
    """
    advice = "only shapes and text may stand in it; qkb reproduce --target fpga --accept makes it again"
    if "<!" in svg or "<?" in svg:
        raise ValueError(f"{name}: a declaration, a comment or an instruction: {advice}")
    try:
        root = ET.fromstring(svg)  # noqa: S314 (without a declaration there are no entities to expand)
    except ET.ParseError as error:
        raise ValueError(f"{name}: {error}: {advice}") from error
    for element in root.iter():
        tag = element.tag.removeprefix(_NAMESPACE)
        if tag == element.tag or tag not in _ELEMENTS:
            raise ValueError(f"{name}: <{tag}>: {advice}")
        for key, value in element.items():
            if key not in _ATTRIBUTES or "(" in value:
                raise ValueError(f"{name}: <{tag} {key}={escape(value)!r}>: {advice}")
    return figure(svg.strip(), caption, scrolls=True)
