"""The whole build: records and results to pages, pages to the site."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qkb.locks import lock
from qkb.site.pages import Renderer
from qkb.site.survey import read_survey
from qkb.site.tree import Changes, read_tree, synchronize

if TYPE_CHECKING:
    from qkb.paths import Place
    from qkb.site.survey import Survey

CONTRIBUTING = "<!-- CONTRIBUTING.md -->"
_CODE_OR_LINK = re.compile(
    r"(?P<code>^```.*?^```|`[^`\n]+`)|\[(?P<label>[^\]\n]+)\]\((?!https?://|#)(?P<target>[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Report:
    """What a build did.

    Attributes:
        folder: the build folder.
        records: how many records the site shows.
        files: how many files the folder of pages holds.
        changes: which of them were written or removed.
        site: whether the site was made anew; None if only pages were asked for.
    """

    folder: Path
    records: int
    files: int
    changes: Changes
    site: bool | None


def build_folder(place: Place) -> Path:
    """Return where build output goes: `build` in the checkout, or in the current folder for the installed copy."""
    return (Path.cwd() if place.bundled else place.root) / "build"


def build(place: Place, output: Path | None = None, *, pages_only: bool = False, policy: bool = True) -> Report:
    """Build the pages and the site.

    Args:
        place: the library.
        output: the build folder, `build_folder(place)` if not given.
        pages_only: stop after the Markdown pages.
        policy: whether pages carry the content security policy.

    Raises:
        FaultsError: if a record is at fault.
        SiteError: if the pages cannot be turned into a site.
        ForeignFolderError: if an output folder holds something else.
    """
    folder = output or build_folder(place)
    survey = read_survey(place)
    files = page_files(place, survey)
    made = None
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / ".lock"):  # another build would take our new pages for strays
        changes = synchronize(folder / "docs", files)
        if not pages_only:
            from qkb.site.engine import make_site  # noqa: PLC0415 (MkDocs is slow to import)

            made = make_site(place.mkdocs, folder / "docs", folder / "site", policy=policy)
    return Report(folder, len(survey.records), len(files), changes, made)


def page_files(place: Place, survey: Survey) -> dict[str, bytes]:
    """Return every file of the folder of pages: hand-written pages, assets, and what is rendered."""
    files = read_tree(place.site / "pages")
    if "contributing.md" in files:
        files["contributing.md"] = _with_guide(files["contributing.md"], place.root / "CONTRIBUTING.md")
    files |= {f"assets/{name}": content for name, content in read_tree(place.site / "assets").items()}
    renderer = Renderer(survey, place.site / "templates")
    files |= {path: text.encode() for path, text in renderer.pages().items()}
    return files | renderer.downloads()


def _with_guide(page: bytes, guide: Path) -> bytes:
    """Put the repository's contribution guide where the page asks for it.

    The page has its own title, so the guide's first heading goes. A link to a page of the site is led there; the rest
    of the repository is not part of the site, so other relative links become plain text.
    """
    if not guide.is_file():
        return page
    text = re.sub(r"\A\s*# .*\n", "", guide.read_text(encoding="utf-8"))

    def led(match: re.Match[str]) -> str:
        if match["code"]:
            return match["code"]
        inside = match["target"].startswith("site/pages/")
        return f"[{match['label']}]({match['target'].removeprefix('site/pages/')})" if inside else match["label"]

    return page.replace(CONTRIBUTING.encode(), _CODE_OR_LINK.sub(led, text).strip().encode())
