r"""BibTeX: one entry per record, its key the record's id, written by bibtexparser.

Text is encoded for LaTeX (`\&`, `{\"o}`); identifiers and addresses stand as they are, as packages such as `url` and
`doi` want them. In titles, what a style must not put into lower case stands in braces: words with a capital after
their first letter (XNOR-Net, FPGA), single capitals, names of people; and, in a title that is not written in title
case, every capitalised word within it.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from bibtexparser.entrypoint import write_string
from bibtexparser.library import Library
from bibtexparser.model import Entry as Block
from bibtexparser.model import Field
from bibtexparser.writer import BibtexFormat

from qkb.formats import names
from qkb.formats.addresses import addresses
from qkb.formats.latex import encode

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from qkb.entry import Entry

# kind -> type of the entry, and the field that takes the venue
TYPES = {
    "conference": ("inproceedings", "booktitle"),
    "workshop": ("inproceedings", "booktitle"),
    "journal": ("article", "journal"),
    "preprint": ("misc", "howpublished"),
    "thesis": ("phdthesis", "school"),
    "report": ("techreport", "institution"),
    "blog": ("misc", "howpublished"),
    "software": ("misc", "howpublished"),
    "book": ("book", "publisher"),
}
# Adjectives and names in the field's titles that keep their capital.
_PROPER = frozenset(
    ("Bayes", "Bayesian", "Bernoulli", "Boltzmann", "Cauchy", "Fisher", "Fourier", "Frank", "Gauss", "Gaussian",
     "Gumbel", "Hadamard", "Hamming", "Hessian", "Huffman", "Jacobian", "Kronecker", "Kullback", "Lagrangian",
     "Laplace", "Laplacian", "Leibler", "Lipschitz", "Lloyd", "Markov", "Monte", "Carlo", "Newton", "Python",
     "Riemannian", "Shannon", "Shapley", "Taylor", "Turing", "Wasserstein", "Winograd", "Wolfe", "Verilog")
)  # fmt: skip
_EDGES = re.compile(r"^([^\w<+]*)(.*?)([^\w+%]*)$", re.DOTALL)


def dump(entries: Iterable[Entry]) -> str:
    """Return the records as BibTeX entries, separated by blank lines."""
    return write((TYPES[entry.kind][0], entry.id, fields(entry)) for entry in entries)


def write(blocks: Iterable[tuple[str, str, Iterable[tuple[str, str]]]]) -> str:
    """Return entries as text; each is a type, a key, and the names and values of its fields."""
    library = Library([Block(kind, key, [Field(*field) for field in found]) for kind, key, found in blocks])
    layout = BibtexFormat()  # type: ignore[no-untyped-call]
    layout.indent = "  "
    layout.block_separator = "\n"
    return write_string(library, bibtex_format=layout)


def protect(title: str, names: Container[str] = ()) -> str:
    """Return a title for LaTeX with braces around what keeps its capitals.

    Args:
        title: the title.
        names: names of the work; where the title begins with one and a colon, all of it keeps its capitals.

    >>> protect("XNOR-Net: ImageNet Classification Using FPGAs")
    '{XNOR-Net}: {ImageNet} Classification Using {FPGAs}'
    >>> protect("Learning from Gaussian noise on a Mars rover")
    'Learning from {Gaussian} noise on a {Mars} rover'
    >>> protect("Tiny Net: A Survey", ["Tiny Net"])
    '{Tiny Net}: A Survey'
    """
    name, colon, rest = title.partition(": ")
    if colon and name in names:
        return f"{{{encode(name)}}}: {protect(rest)}"
    words = title.split(" ")
    inside = [word for before, word in itertools.pairwise(words) if not before.endswith((":", "?", "!", "."))]
    long = [word for word in inside if len(word) > 3 and word[0].isalpha()]
    title_case = 2 * sum(word[0].isupper() for word in long) >= len(long)
    return " ".join(
        _protected(word, starts=not place or words[place - 1].endswith((":", "?", "!", ".")), title_case=title_case)
        for place, word in enumerate(words)
    )


def _protected(word: str, *, starts: bool, title_case: bool) -> str:
    found = _EDGES.match(word)
    before, core, after = found.groups() if found else ("", word, "")
    parts = re.split(r"[-/\N{EN DASH}]", core)
    keeps = (
        any(char.isupper() for part in parts for char in part[1:])
        or any(len(part) == 1 and part.isupper() and part != "A" for part in parts)
        or not _PROPER.isdisjoint(part.removesuffix("'s") for part in parts)
        or (not title_case and not starts and core[:1].isupper())
    )
    encoded = encode(core)
    return encode(before) + (f"{{{encoded}}}" if keeps else encoded) + encode(after)


def fields(entry: Entry) -> Iterator[tuple[str, str]]:
    """Yield the names and values of the fields of a record."""
    data = entry.data
    links = data["links"]
    yield "title", protect(entry.title, data["aliases"])
    yield "author", " and ".join(map(author, data["authors"]))
    # The preprint server says itself where an arXiv preprint is found: eprint, archivePrefix.
    if entry.kind != "preprint" or "arxiv" not in links:
        yield TYPES[entry.kind][1], encode(entry.venue_name)
    if data["pages"]:
        yield "pages", encode(data["pages"]).replace("-", "--")
    yield "year", str(entry.year)
    yield from identifiers(links)
    if "arxiv" in links:
        yield "eprint", links["arxiv"]
        yield "archivePrefix", "arXiv"


def identifiers(links: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the fields that lead to the work, the arXiv identifier apart, which has a field of its own.

    The one address is the work's page; where it has none, OpenReview's, arXiv's or a copy's. BibTeX has no field for
    an OpenReview id beside a page, so it gets one that styles pass over.
    """
    if "doi" in links:
        # Braces, which nothing else here can hold, would have to come in pairs.
        yield "doi", links["doi"].replace("{", "%7B").replace("}", "%7D").replace("\\", "%5C")
    found = addresses(links)
    for label in ("page", "OpenReview", "arXiv", "PDF"):
        if label in found:
            yield "url", found[label]
            break
    if "openreview" in links and "url" in links:
        yield "openreview", links["openreview"]


def author(name: str) -> str:
    """Return a name as a list of authors has it."""
    parts = names.split(name)
    if parts.whole:
        return f"{{{encode(parts.family)}}}"
    last = encode(f"{parts.particle} {parts.family}".strip())
    if parts.suffix:
        return f"{last}, {encode(parts.suffix)}, {encode(parts.given)}"
    return f"{encode(parts.given)} {last}"
