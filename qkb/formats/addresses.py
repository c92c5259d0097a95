"""The addresses behind the identifiers of a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def address(links: Mapping[str, str]) -> str:
    """Return where a reader finds the work: its DOI, else its page, arXiv, OpenReview or a copy; else nothing.

    >>> address({"arxiv": "1603.05279", "doi": "10.1007/978-3-319-46493-0_32"})
    'https://doi.org/10.1007/978-3-319-46493-0_32'
    """
    return next(iter(addresses(links).values()), "")


def addresses(links: Mapping[str, str]) -> dict[str, str]:
    """Return all addresses by what they are, the best first.

    >>> addresses({"arxiv": "1603.05279", "pdf": "https://example.org/a.pdf"})
    {'arXiv': 'https://arxiv.org/abs/1603.05279', 'PDF': 'https://example.org/a.pdf'}
    """
    forms = {
        "doi": ("DOI", "https://doi.org/{}"),
        "url": ("page", "{}"),
        "arxiv": ("arXiv", "https://arxiv.org/abs/{}"),
        "openreview": ("OpenReview", "https://openreview.net/forum?id={}"),
        "pdf": ("PDF", "{}"),
    }
    return {label: form.format(links[key]) for key, (label, form) in forms.items() if key in links}
