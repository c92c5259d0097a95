"""Hostile text in every field of a record, past the validator, rendered to the site: it is read, and does nothing."""

from __future__ import annotations

import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from qkb.cli import main
from qkb.records.model import Claim, Code, Links, ListRow, ListSection, ReadingList, Record, Term, Venue
from qkb.records.vocabulary import Vocabulary
from qkb.site.build import page_files
from qkb.site.engine import make_site
from qkb.site.survey import Survey, read_survey
from qkb.site.tree import synchronize

if TYPE_CHECKING:
    from tests.conftest import LibraryMaker

HOSTILE = [
    "<script>pwn()</script>", "<img src=x onerror=pwn()>", "</title><script>pwn()</script>", "<svg/onload=pwn()>",
    "--><script>pwn()</script><!--", "<!-- pwn", "]]><script>pwn()</script>", "&lt;script&gt;pwn()&lt;/script&gt;",
    "\"><script>pwn()</script>", "' onmouseover='pwn()", "\" onmouseover=\"pwn()", "`<script>pwn()</script>`",
    "```\n<script>pwn()</script>", "[x](javascript:pwn())", "[x](JaVaScRiPt:pwn())", "[x](java\tscript:pwn())",
    "[x](data:text/html,pwn)", "[x][pwn]", "[pwn]: javascript:pwn()", "![x](http://evil.example/pwn.png)",
    "![x][pwn]", "<javascript:pwn()>", "<http://evil.example/pwn>", "[^1] [^1]: pwn", "Setext pwn\n===",
    "pwn\n---", "# pwn", "| pwn | b |\n| --- | --- |", "a|b", "{: onclick=pwn() }", "# x {onclick=pwn()}",
    "x{ style=pwn }", "*[pwn]: x", ":::pwn", "!!! note \"pwn\"", "??? pwn", "--8<-- \"/etc/passwd\"",
    "{% include '/etc/passwd' %}", "{{ 7*191 }}pwn", "{{ config.items() }}pwn",
    "{% for x in ().__class__.__base__.__subclasses__() %}pwn{% endfor %}", "{#pwn#}", "${7*191}pwn",
    "$$pwn$$ \\(pwn\\)", "\\href{javascript:pwn()}{x}", "- [ ] pwn", "1. pwn", "> pwn", "    pwn", "~~~\npwn",
    "\u001b]8;;http://pwn\u0007", "\u202epwn", "\u0002pwn\u0003", "\u0002klzzwxh:0000\u0003", "{==pwn==}",
    "++pwn++", ":pwn:", "==pwn==", "pwn</table>", "---\ntitle: pwn\n---", "</style><script>pwn()</script>",
    "</script><script>pwn()</script>", "\\u003cscript\\u003epwn()",
]  # fmt: skip
OTHER_LINKS = [
    "javascript:pwn()",
    "data:text/html,pwn",
    "//evil.example/pwn",
    "vbscript:pwn",
    "JAVASCRIPT:pwn()",
    'http://a.example/"onclick=pwn()',
]


def hostile_record(number: int, text: str, url: str = "https://code.example/x") -> Record:
    """Return a record as no validator would let it through: one text in every field that holds any."""
    fields: dict[str, Any] = {
        "kind": "preprint",
        "implementation": "wanted",
        "id": f"h{number}",
        "year": 2017,
        "title": text,
        "authors": (text, "Bo Ruiz"),
        "venue": text,
        "tags": ("qnn",),
        "topics": ("ternary",),
        "bits": None,
        "links": Links.model_construct(arxiv=None, doi=None, openreview=None, url=url, pdf=url),
        "code": (Code.model_construct(url=url, official=True, framework=text),),
        "aliases": (text,),
        "builds_on": (),
        "pages": None,
        "listed_in": (),
        "claims": (Claim.model_construct(id="c", says=text, where=text),),
        "notes": f"{text}\n\n- {text}\n- x\n\n{text}",
    }
    return Record.model_construct(**fields)


def hostile_survey(survey: Survey) -> Survey:
    """Return a survey with hostile records, terms, venues, and rows of a list."""
    told = [hostile_record(number, text) for number, text in enumerate(HOSTILE)]
    told += [hostile_record(number, "x", url) for number, url in enumerate(OTHER_LINKS, len(told))]
    records = {record.id: record for record in told}
    venues = {
        record.venue: Venue.model_construct(
            name=record.venue, kinds=("preprint",), description=record.venue, aliases=()
        )
        for record in told
    }
    topics = {"ternary": Term.model_construct(name=HOSTILE[0], description=" ".join(HOSTILE))}
    rows = tuple(
        ListRow.model_construct(
            record=record.id, title=record.title, year=2001, venue=record.title, code=None, why=record.title
        )
        for record in told
    )
    section = ListSection.model_construct(id="one", title=HOSTILE[0], rows=rows)
    lists = {"evil": ReadingList.model_construct(title=HOSTILE[1], description=HOSTILE[0], sections=(section,))}
    words = survey.vocabulary
    words = Vocabulary(words.tags, {**words.topics, **topics}, {**words.venues, **venues}, {**words.lists, **lists})
    return Survey({**survey.records, **records}, words, survey.results, survey.sources)


class Page(HTMLParser):
    """Collects what would do something, and the text that does nothing."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.text: list[str] = []
        self.open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open = tag if tag in {"script", "style"} else ""
        for name, value in attrs:
            said = "".join((value or "").split()).casefold()
            if "pwn" in name or (name.startswith("on") and "pwn" in said):
                self.found.append(f"{tag} {name}={value}")
            if name in {"href", "src", "action", "formaction", "data", "poster", "xlink:href"}:
                if said.startswith(("javascript:", "vbscript:")) or (said.startswith("data:") and "pwn" in said):
                    self.found.append(f"{tag} {name}={value}")
                if tag != "a" and "evil.example" in said:
                    self.found.append(f"{tag} {name}={value}")
            if name in {"style", "srcdoc"} and "pwn" in said:
                self.found.append(f"{tag} {name}={value}")
        if "pwn" in tag:
            self.found.append(tag)

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 (the base class's)
        self.open = ""

    def handle_data(self, data: str) -> None:
        if self.open == "script" and "pwn()" in data and "<" in data:
            self.found.append(f"script: {data[:80]}")
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        if "pwn" in data:
            self.found.append(f"comment: {data[:80]}")


def test_the_page_reader_finds_what_is_live() -> None:
    page = Page()
    page.feed(
        "<a href='java\nscript:x'>a</a><p onclick=pwn()>b<img src=//evil.example/x><!-- pwn --><svg/onload=pwn()>"
    )
    assert len(page.found) == 5


@pytest.mark.slow
def test_nothing_hostile_is_live_on_the_site(library: LibraryMaker, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    shutil.copytree(root / "site", library.root / "site")
    shutil.copy(root / "mkdocs.yml", library.root)
    survey = hostile_survey(read_survey(library.place))
    synchronize(tmp_path / "docs", page_files(library.place, survey))
    make_site(library.place.mkdocs, tmp_path / "docs", tmp_path / "site")
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(HOSTILE)
    for path in pages:
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        assert page.found == [], path
        text = "".join(page.text)
        assert "1337pwn" not in text
        assert "root:x:0" not in text


@pytest.mark.parametrize(
    "text", [text for text in HOSTILE if "<script" in text or "javascript:" in text or "<img" in text]
)
def test_the_validator_or_the_tables_keep_it_from_other_readers(
    text: str, library: LibraryMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    line = " ".join(text.split())
    library.record("hostile", 2017, title=f"A {line}", notes=f"One {line}. Two. Three.\n")
    code = main(["validate", "--root", str(library.root), "--quiet"])
    capsys.readouterr()
    if code == 0:  # then it is code in backticks, or nothing that any reader acts on
        assert line.startswith("`") or ("<" not in line and "](" not in line and "]:" not in line)
        assert main(["tables", "--root", str(library.root)]) == 0
        assert "<script" not in capsys.readouterr().out
