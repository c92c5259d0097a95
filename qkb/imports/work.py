"""What the readers return: works, the rows that name them, and what was passed over."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Work:
    """A work, as far as a source tells of it.

    Args:
        title: the title as printed; empty where the source gives only an identifier.
        authors: names, given name first, as far as the source names them.
        more_authors: whether the source says that there are others (`et al.`).
        year: the year of publication, as the source says.
        venue: where it was published, as printed.
        kind: kind of work, where the source tells.
        pages: first and last page with a hyphen, or one page.
        arxiv: arXiv identifier without version.
        doi: DOI without address.
        openreview: OpenReview forum id.
        url: another address of the work.
        pdf: address of a copy.
        code: addresses of implementations, each with its framework or an empty text.
        tags: words that the source sets beside the work.
        key: what the source calls the work, such as a citation key.
    """

    title: str = ""
    authors: tuple[str, ...] = ()
    more_authors: bool = False
    year: int | None = None
    venue: str = ""
    kind: str = ""
    pages: str = ""
    arxiv: str = ""
    doi: str = ""
    openreview: str = ""
    url: str = ""
    pdf: str = ""
    code: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    key: str = ""

    @property
    def identifiers(self) -> tuple[tuple[str, str], ...]:
        """The identifiers that are known, by kind."""
        given = (("arXiv id", self.arxiv), ("DOI", self.doi), ("OpenReview id", self.openreview))
        return tuple((name, value) for name, value in given if value)


@dataclass(frozen=True)
class Row:
    """A place of a source that is meant to name a work.

    Args:
        line: line of the file, counted from 1.
        text: what stands there, for messages.
        work: the work; None where the row was not understood.
        problem: why it was not understood.
    """

    line: int
    text: str
    work: Work | None = None
    problem: str = ""


@dataclass(frozen=True)
class Skipped:
    """A place of a source that is not meant to name a work, and why it is taken so."""

    line: int
    text: str
    why: str


@dataclass
class Reading:
    """Everything that a reader found in a file, in its order."""

    rows: list[Row] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def add(self, line: int, text: str, work: Work) -> None:
        """Add a row that names a work."""
        self.rows.append(Row(line, text, work))

    def fail(self, line: int, text: str, problem: str) -> None:
        """Add a row that was not understood."""
        self.rows.append(Row(line, text, None, problem))

    def skip(self, line: int, text: str, why: str) -> None:
        """Add what is no row."""
        self.skipped.append(Skipped(line, text, why))
