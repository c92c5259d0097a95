"""The shape of a record and of the vocabularies: strict, frozen pydantic models.

A record is one YAML file, `papers/<year>/<id>.yaml`. The id and the year come from the path and are therefore
not keys of the file; `Record.from_parts` joins the three. What a single file can tell is checked here; what needs
the other files (vocabulary, duplicates, dangling ids) is checked by the rules in `qkb.records.rules`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
Line = Annotated[str, StringConstraints(pattern=r"^\S(?:[^\n\r]*\S)?$", max_length=500)]
HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s<>\"'`\\{}|^]+$", max_length=1000)]
Kind = Literal["conference", "workshop", "journal", "preprint", "thesis", "report", "blog", "software", "book"]
Tag = Literal["qnn", "bnn", "hardware", "other"]
# 1 to 32 bits, a range such as "2..8", or "fp" for floating point. Ternary values count as 2 bits.
BitWidth = (
    Annotated[int, Field(ge=1, le=32)]
    | Annotated[str, StringConstraints(pattern=r"^(fp|([1-9]|[12]\d|3[0-2])\.\.([1-9]|[12]\d|3[0-2]))$")]
)


class Model(BaseModel):
    """What every part shares: unknown keys are errors, nothing is coerced, nothing can be changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Bits(Model):
    """Bit-widths the work studies, by what is quantized: a number, a range `2..8`, or `fp`."""

    weights: BitWidth | None = Field(None, description="bits of the weights")
    activations: BitWidth | None = Field(None, description="bits of the activations")
    gradients: BitWidth | None = Field(None, description="bits of the weight gradients")
    errors: BitWidth | None = Field(None, description="bits of the errors (activation gradients)")


class Links(Model):
    """Where the work itself is found; identifiers, not addresses, wherever there is one."""

    arxiv: Annotated[str, StringConstraints(pattern=r"^\d{4}\.\d{4,5}$")] | None = Field(
        None, description='arXiv identifier without version, quoted: "1603.05279"'
    )
    doi: Annotated[str, StringConstraints(pattern=r"^10\.\d{4,9}/[^\s\"<>]+$")] | None = Field(
        None, description="DOI without the resolver's address"
    )
    openreview: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{6,20}$")] | None = Field(
        None, description="OpenReview forum id"
    )
    url: HttpUrl | None = Field(None, description="the publisher's or authors' page of the work")
    pdf: HttpUrl | None = Field(None, description="a freely readable copy")


class Code(Model):
    """A public implementation."""

    url: HttpUrl = Field(description="address of the repository")
    official: bool = Field(False, description="true where the authors published it")
    framework: Line | None = Field(None, description="caffe, keras, pytorch, tensorflow, theano, torch7, ...")


class Claim(Model):
    """One statement of the work that the implementation measures, or that is worth knowing."""

    id: Slug = Field(description="name of the claim, unique in the record; the implementation refers to it")
    says: Line = Field(description="what the work claims, in our own words, with its numbers")
    where: Line = Field(description="place in the work: section, equation, table, abstract")


class RecordFields(Model):
    """The keys of a record file, in their canonical order."""

    title: Line = Field(description="the published title")
    authors: Annotated[tuple[Line, ...], Field(min_length=1, description="full names, in the published order")]
    venue: Line = Field(description="a term of papers/vocabulary/venues.yaml")
    kind: Kind = Field(description="what kind of work it is")
    pages: Annotated[str, StringConstraints(pattern=r"^\w+(-\w+)?$")] | None = Field(
        None, description="pages in the proceedings or journal: 525-542"
    )
    tags: Annotated[tuple[Tag, ...], Field(min_length=1, description="qnn, bnn, hardware, other")]
    topics: Annotated[tuple[Slug, ...], Field(min_length=1, description="terms of papers/vocabulary/topics.yaml")]
    bits: Bits | None = Field(None, description="bit-widths the work studies")
    links: Links = Field(description="identifiers and addresses of the work; at least one")
    code: tuple[Code, ...] = Field((), description="public implementations")
    aliases: tuple[Line, ...] = Field((), description="other titles and short names of the same work")
    builds_on: tuple[Slug, ...] = Field((), description="ids of records whose method this work extends or uses")
    implementation: Annotated[
        str, StringConstraints(pattern=r"^(wanted|[a-z][a-z0-9_]*/[a-z][a-z0-9_]*)$", max_length=80)
    ] = Field(description="family/module below reference_impls, or `wanted` until it exists")
    claims: Annotated[tuple[Claim, ...], Field(min_length=1, description="what the work claims")]
    listed_in: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")], ...] = Field(
        (), description="list/section of papers/vocabulary/lists in which the work stands"
    )
    notes: Annotated[str, StringConstraints(min_length=1, max_length=8000)] = Field(
        description="3 to 8 sentences in our own words: what is new, how it works, when to use it, what to watch for"
    )


class Record(RecordFields):
    """A record with what its path says: `papers/2016/xnor-net.yaml` is `id="xnor-net"`, `year=2016`."""

    id: Slug
    year: Annotated[int, Field(ge=1940, le=2100)]

    @classmethod
    def from_parts(cls, id: str, year: int, fields: dict[str, Any]) -> Record:  # noqa: A002 (the key's name)
        """Join the keys of a file with what its path says; raises pydantic's ValidationError."""
        return cls.model_validate({**fields, "id": id, "year": year})


class Term(Model):
    """A term of a closed vocabulary."""

    name: Line = Field(description="what a reader sees")
    description: Line = Field(description="one sentence: when the term applies")


class Venue(Model):
    """A venue of papers/vocabulary/venues.yaml."""

    name: Line = Field(description="the full name, as a bibliography prints it")
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1, description="kinds of record that may name it")]
    description: Line = Field(description="one sentence on what it is")
    aliases: tuple[Line, ...] = Field((), description="other short names, accepted in queries")


class ListRow(Model):
    """One row of a reading list, as that list prints it."""

    record: Slug = Field(description="id of the record of this work")
    title: Line = Field(description="the title as printed")
    year: int | None = Field(None, description="the year as printed")
    venue: Line | None = Field(None, description="the venue as printed")
    code: HttpUrl | None = Field(None, description="the code link as printed")
    why: Line | None = Field(None, description="a sentence on what is corrected and how we know")


class ListSection(Model):
    """A section of a reading list."""

    id: Slug = Field(description="used in `listed_in: [<list>/<section>]`")
    title: Line = Field(description="the heading as printed")
    rows: Annotated[tuple[ListRow, ...], Field(min_length=1, description="the rows in the list's order")]


class ReadingList(Model):
    """papers/vocabulary/lists/<id>.yaml: one of the lists that this survey grew from."""

    title: Line = Field(description="the list's own title")
    description: Line = Field(description="one sentence on the list")
    sections: Annotated[tuple[ListSection, ...], Field(min_length=1, description="its sections, in its order")]
