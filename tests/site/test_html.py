"""The finished HTML of a survey whose every text is hostile: nothing breaks out, nothing is loaded from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest

from qkb.paths import Place
from qkb.records.model import ReadingList, Record, Term, Venue
from qkb.records.vocabulary import Vocabulary
from qkb.site.build import page_files
from qkb.site.engine import make_site
from qkb.site.survey import Source, Survey
from qkb.site.tree import synchronize
from reference_impls.fpga.results import Gates, Hardware, Speed, Unit
from reference_impls.kit.results import Curve, Outcome, Result

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EVIL = (
    "</title></script><script>alert(1)</script><img src=x onerror=alert(2)> [a](javascript:alert(3)) "
    "<a href='javascript:alert(4)'>b</a> {{7*7}} {% include 'x' %} `c` ``` | d || ![e](https://evil.example/e.png) "
    "<https://evil.example> *f* _g_ \"h\" 'i' &#60;j&#62; \\<k> {: onclick=alert(5) } "
    "<style>@import url(//evil.example)</style>"
)
SHOWN = " ".join(EVIL.split())
JAVASCRIPT = {"assets/start.js", "assets/tables.js", "assets/search.js"}


def evil_record(name: str, year: int, **changes: object) -> Record:
    fields: dict[str, object] = {
        "title": EVIL,
        "authors": (EVIL, "Bo Ruiz"),
        "venue": "EVIL|CONF",
        "kind": "conference",
        "pages": "1-2",
        "tags": ("bnn",),
        "topics": ("evil",),
        "links": {
            "arxiv": "1511.00001",
            "doi": "10.5555/x)[y](javascript:alert(1)",
            "url": "https://x.example/a_(b)*c?d=1&e=2",
        },
        "code": ({"url": "https://x.example/a](javascript:alert(6))", "official": True, "framework": EVIL},),
        "aliases": (EVIL,),
        "implementation": "binary/evil",
        "claims": ({"id": "c", "says": EVIL, "where": EVIL},),
        "listed_in": ("evil/one",),
        "notes": EVIL + "\n\n    " + EVIL + "\n\n- " + EVIL,
    }
    return Record.from_parts(name, year, fields | changes)


def evil_survey() -> Survey:
    term = Term(name=EVIL, description=EVIL)
    tags = dict.fromkeys(("qnn", "bnn", "hardware", "other"), term)
    row = {
        "record": "evil",
        "title": "X" + EVIL,
        "year": 1999,
        "venue": EVIL,
        "code": "https://x.example/)",
        "why": EVIL,
    }
    section = {"id": "one", "title": EVIL, "rows": (row,)}
    listed = ReadingList.model_validate({"title": EVIL, "description": EVIL, "sections": (section,)})
    venue = Venue(name=EVIL, kinds=("conference",), description=EVIL)
    outcome = Outcome("c", "inconclusive", EVIL, EVIL, 1.0, 0.0, 2.0, EVIL, EVIL)
    curve = Curve(EVIL, 1, (0.0, 1.0), (0.0, 1.0), (1.0, 1.0))
    result = Result(EVIL, (0, 1), {EVIL: (1.0, 2.0)}, (outcome,), (curve,))
    speed = Speed(99.5, (99.5,), (1,), 100.0, EVIL)
    units = (Unit(EVIL, 128, 3), Unit("skid", 16, 1))
    hardware = Hardware(
        "mlp", 0, EVIL, EVIL, 597, (95.0,) * 3, 0, EVIL, (128, 128.0), 331, units, Gates(1, 2, 3, 4, 5, 6), speed,
        {EVIL: EVIL},
    )  # fmt: skip
    picture = b'<svg xmlns="http://www.w3.org/2000/svg" width="9"><title>&lt;script&gt;</title></svg>'
    return Survey(
        records={
            "evil": evil_record("evil", 2016),
            "heir": evil_record("heir", 2017, builds_on=("evil",), listed_in=()),
        },
        vocabulary=Vocabulary(tags, {"evil": term}, {"EVIL|CONF": venue}, {"evil": listed}),
        results={"evil": result},
        sources={
            "evil": Source("reference_impls/binary/evil.py", f'r"""{EVIL}\n\n$$ {EVIL} $$\n"""\n# {EVIL}\n# ```\n')
        },
        hardware={"evil": {"mlp": hardware}},
        beside={"mlp/evil": {".svg": picture, ".v.gz": b"verilog"}},
    )


@dataclass
class Document(HTMLParser):
    """What a page of HTML holds."""

    path: str
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.inside = tag if tag in {"script", "style"} else self.inside

    def handle_endtag(self, tag: str) -> None:
        self.inside = "" if tag == self.inside else self.inside

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts.append(data)
        elif not self.inside:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the hostile survey."""
    root = tmp_path_factory.mktemp("hostile")
    shutil.copytree(ROOT / "site", root / "site")
    shutil.copy(ROOT / "mkdocs.yml", root)
    synchronize(root / "build" / "docs", page_files(Place(root), evil_survey()))
    assert make_site(root / "mkdocs.yml", root / "build" / "docs", root / "build" / "site")
    return root / "build" / "site"


@pytest.fixture(scope="module")
def documents(site: Path) -> dict[str, Document]:
    """Every page, read."""
    found = {}
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site).as_posix()
        found[name] = Document(name)
        found[name].feed(path.read_text(encoding="utf-8"))
        found[name].close()
    assert len(found) > 15
    return found


def test_no_element_or_attribute_comes_from_a_record(documents: dict[str, Document]) -> None:
    for page in documents.values():
        handlers = [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
        assert handlers == [], page.path
        assert not page.all("img"), page.path
        assert not page.all("style"), page.path
        assert not page.all("iframe"), page.path


def test_no_page_holds_a_script_of_its_own(documents: dict[str, Document]) -> None:
    for page in documents.values():
        for script in page.all("script"):
            if "src" not in script:
                assert script["type"] in {"application/json", "application/ld+json"}, page.path
        for content in page.scripts:
            assert json.loads(content), page.path


def test_links_are_http_or_ours(documents: dict[str, Document]) -> None:
    for page in documents.values():
        for tag, attributes in page.elements:
            for name in ("href", "src", "action", "formaction", "xlink:href"):
                address = attributes.get(name, "")
                assert urlsplit(address).scheme in {"", "http", "https"}, (page.path, tag, address)
                assert urlsplit(address).hostname != "evil.example", (page.path, tag, address)


def test_nothing_is_loaded_from_another_host(site: Path, documents: dict[str, Document]) -> None:
    for page in documents.values():
        for tag, attributes in page.elements:
            loads = tag in {"script", "img", "iframe", "source", "video", "audio", "embed", "object", "track", "use"}
            loads |= tag == "link" and attributes.get("rel") not in {"canonical", "next", "prev"}
            if loads:
                for name in ("src", "href", "data", "srcset"):
                    assert not urlsplit(attributes.get(name, "")).netloc, (page.path, tag, attributes)
    for style in site.rglob("*.css"):
        for address in re.findall(
            r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", style.read_text(encoding="utf-8")
        ):
            assert not urlsplit("".join(address)).netloc, (style.name, address)


def test_our_scripts_name_no_host(site: Path) -> None:
    for name in JAVASCRIPT:
        assert "//" not in re.sub(r"^\s*//.*| // .*", "", (site / name).read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_the_policy_forbids_what_is_not_ours(documents: dict[str, Document]) -> None:
    for page in documents.values():
        (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'"
        assert rules["script-src"] == "'self' 'wasm-unsafe-eval'"
        assert rules["connect-src"] == rules["form-action"] == rules["base-uri"] == "'self'"


def test_the_text_is_shown_as_it_was_written(documents: dict[str, Document]) -> None:
    paper = documents["papers/evil/index.html"].text
    assert paper.count(SHOWN) >= 8  # title, author, alias, notes, claim and its place, remark, formula, comment
    for path in ("lists/evil/index.html", "topics/evil/index.html", "vocabulary/index.html", "years/2016/index.html"):
        assert SHOWN in documents[path].text, path
    for page in documents.values():
        assert "7*7" not in page.text or "{{7*7}}" in page.text
        assert "klzzwxh" not in page.text, "a placeholder of the converter is left"


def test_machines_read_the_same_title(documents: dict[str, Document]) -> None:
    page = documents["papers/evil/index.html"]
    tags = [(m["name"], m["content"]) for m in page.all("meta") if m.get("name", "").startswith("citation_")]
    assert ("citation_title", EVIL) in tags
    assert ("citation_author", "Bo Ruiz") in tags
    data = next(json.loads(s) for s, a in zip(page.scripts, json_scripts(page), strict=True) if "ld" in a)
    assert data["name"] == EVIL
    facets = {(m["data-pagefind-filter"], m["content"]) for m in page.all("meta") if "data-pagefind-filter" in m}
    assert ("year[content]", "2016") in facets
    assert ("implementation[content]", "runs") in facets


def json_scripts(page: Document) -> list[str]:
    return [script["type"] for script in page.all("script") if "src" not in script]


def test_every_internal_link_leads_somewhere(site: Path, documents: dict[str, Document]) -> None:
    base = "http://site.example/"
    anchors = {
        name: {attributes["id"] for _, attributes in page.elements if "id" in attributes}
        for name, page in documents.items()
    }
    checked = 0
    for name, page in documents.items():
        if name == "404.html":
            continue  # it may be shown at any address
        for attributes in page.all("a"):
            address, anchor = urldefrag(urljoin(base + name, attributes.get("href", "")))
            if not address.startswith(base):
                continue
            target = unquote(urlsplit(address).path).lstrip("/")
            target += "index.html" if target.endswith("/") or not target else ""
            assert target in documents or (target.startswith("fpga/") and (site / target).is_file()), (name, attributes)
            assert not anchor or anchor in anchors[target], (name, attributes)
            checked += 1
    assert checked > 100


def test_other_search_engines_are_not_shipped(site: Path) -> None:
    names = {path.name for path in (site / "pagefind").iterdir()}
    assert {"pagefind.js", "pagefind-worker.js", "pagefind-entry.json", "wasm.en.pagefind"} <= names
    assert not [name for name in names if "ui" in name or "highlight" in name]
    assert not [path for path in site.rglob("*") if path.is_file() and ("lunr" in path.parts or path.suffix == ".map")]
    assert list(site.glob("assets/javascripts/bundle.*.js"))
