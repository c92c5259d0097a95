"""Short texts about a record that several pages print: authors, bits, links, verdict counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from qkb.formats import names
from qkb.formats.addresses import addresses
from qkb.site.markdown import joined, link, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qkb.records.model import Record
    from reference_impls.kit.results import Result

VERDICTS = ("reproduced", "inconclusive", "not reproduced")
_BITS = (("weights", "W"), ("activations", "A"), ("gradients", "G"), ("errors", "E"))


def short_authors(record: Record) -> str:
    """Return the family names as a table shows them: one, two joined by `and`, or the first `et al.`."""
    families = [family_name(author) for author in record.authors]
    return f"{families[0]} et al." if len(families) > 2 else " and ".join(families)


def family_name(author: str) -> str:
    """Return the family name, with the particles that belong to it.

    >>> family_name("Laurens van der Maaten"), family_name("Song Han"), family_name("OpenAI")
    ('van der Maaten', 'Han', 'OpenAI')
    """
    parts = names.split(author)
    return f"{parts.particle} {parts.family}".strip()


def bits(record: Record) -> str:
    """Return the bit-widths in the field's shorthand: `W1 A1`, `W2-8 Afp`."""
    if record.bits is None:
        return ""
    widths = ((letter, getattr(record.bits, field)) for field, letter in _BITS)
    return " ".join(f"{letter}{str(width).replace('..', '-')}" for letter, width in widths if width is not None)


def bits_words(record: Record) -> str:
    """Return the bit-widths in words: `weights 1, activations 2 to 8`."""
    if record.bits is None:
        return ""
    widths = ((field, getattr(record.bits, field)) for field, _ in _BITS)
    return ", ".join(f"{field} {str(width).replace('..', ' to ')}" for field, width in widths if width is not None)


def places(record: Record) -> dict[str, str]:
    """Return the addresses at which the work is found by what they are, the best first."""
    return addresses(record.links.model_dump(exclude_none=True))


def place_links(record: Record) -> Markup:
    """Return where the work is found as links; an arXiv link shows its number."""
    labels = {"arXiv": f"arXiv {record.links.arxiv}", "page": "web page"}
    return listing(link(labels.get(label, label), url) for label, url in places(record).items())


def repositories(record: Record) -> Markup:
    """Return the public implementations by address, each with who made it and with what."""
    shown = []
    for code in sorted(record.code, key=lambda code: not code.official):
        about = ["official" if code.official else "third-party", *([code.framework] if code.framework else [])]
        shown.append(link(code.url.partition("://")[2], code.url) + text(f"({', '.join(about)})").join((" ", "")))
    return listing(shown, "; ")


def code_links(record: Record) -> Markup:
    """Return the best public implementation as a link, and how many more there are."""
    if not record.code:
        return Markup()
    first = next((code for code in record.code if code.official), record.code[0])
    more = f" +{len(record.code) - 1}" if len(record.code) > 1 else ""
    return link("official" if first.official else "third-party", first.url) + more


def verdict_counts(result: Result | None) -> dict[str, int]:
    """Return how many claims got each verdict; empty without a result."""
    if result is None:
        return {}
    counts = {verdict: sum(claim.verdict == verdict for claim in result.claims) for verdict in VERDICTS}
    return {verdict: count for verdict, count in counts.items() if count}


def badge(verdict: str, label: object = None) -> Markup:
    """Return a verdict as a coloured mark that reads as text too."""
    css = verdict.replace(" ", "-") if verdict in VERDICTS else "wanted"
    shown = text(verdict if label is None else label)
    return Markup('<span class="qkb-verdict qkb-{}">{}</span>').format(css, shown)


def verdict_badges(result: Result | None) -> Markup:
    """Return the verdict counts of a method as badges: `2 reproduced 1 inconclusive`."""
    counts = verdict_counts(result)
    return joined((badge(verdict, f"{count} {verdict}") for verdict, count in counts.items()), " ")


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "record"), plural(2, "record"), plural(0, "entry")
    ('1 record', '2 records', '0 entries')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {noun[:-1]}ies" if noun.endswith("y") else f"{count:,} {noun}s"


def listing(parts: Iterable[object], separator: str = ", ") -> Markup:
    r"""Return the parts with a separator between them; what is not markup is escaped.

    >>> print(listing(["a*", Markup("*b*")]))
    a\*, *b*
    """
    return joined((part if isinstance(part, Markup) else text(part) for part in parts), separator)
