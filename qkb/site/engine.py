"""Turns the folder of Markdown pages into the site: MkDocs makes the HTML, Pagefind the search index."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort, ConfigurationError, MkDocsException

from qkb.site.tree import MARK, BuildError, claim, read_tree, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

# What the theme and Pagefind bring along and this site does without: other search engines, maps for debuggers.
UNUSED = (
    "assets/javascripts/lunr/**/*",
    "assets/javascripts/workers/*",
    "assets/**/*.map",
    "pagefind/pagefind-*ui.*",
    "pagefind/pagefind-highlight.js",
    "pagefind/wasm.unknown.*",
)
UNSEARCHED = (".headerlink", ".qkb-facts dt")
_PACKAGES = ("jinja2", "markdown", "mkdocs", "mkdocs-material", "pagefind", "pygments", "pymdown-extensions")


class SiteError(BuildError):
    """The pages could not be turned into a site; the message holds what MkDocs or Pagefind said."""


def fingerprint(docs: Path, config: Path, *, policy: bool) -> str:
    """Return a digest of everything that the site is made from."""
    digest = hashlib.sha256(f"policy={policy}".encode())
    for package in _PACKAGES:
        digest.update(f"{package}={importlib.metadata.version(package)}\n".encode())
    theme = config.parent / "site" / "theme"
    for name, content in [("mkdocs.yml", config.read_bytes()), *read_tree(theme).items(), *read_tree(docs).items()]:
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def make_site(config: Path, docs: Path, site: Path, *, policy: bool = True) -> bool:
    """Build the site from the pages; False if it was up to date.

    The new site is made beside the old one and takes its place when it is complete.

    Args:
        config: `mkdocs.yml`; the theme stands in `site/theme` beside it.
        docs: the folder of pages.
        site: where the site goes.
        policy: whether pages carry the content security policy; a live server's own script needs it gone.

    Raises:
        SiteError: if MkDocs warns or fails, or Pagefind fails.
        ForeignFolderError: if `site` holds something else.
    """
    claim(site)
    wanted = fingerprint(docs, config, policy=policy)
    mark = site / MARK
    if mark.read_text(encoding="utf-8") == wanted:
        return False
    with tempfile.TemporaryDirectory(prefix=".site-", dir=site.parent) as scratch:
        fresh = Path(scratch) / "new"
        _mkdocs(config, docs, fresh, policy=policy)
        _pagefind(fresh)
        _prune(fresh)
        write_whole(fresh / MARK, wanted.encode())
        site.replace(Path(scratch) / "old")
        fresh.replace(site)
    return True


def _mkdocs(config: Path, docs: Path, site: Path, *, policy: bool) -> None:
    with _heard() as messages:
        try:
            loaded = load_config(str(config), docs_dir=str(docs), site_dir=str(site), strict=True)
            loaded.extra["policy"] = policy
            build(loaded)
        except (Abort, ConfigurationError, MkDocsException) as error:
            raise SiteError("\n".join([*messages, str(error)])) from error


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect what MkDocs warns of."""
    messages: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, listener = logging.getLogger("mkdocs"), Listener(logging.WARNING)
    propagate = logger.propagate
    logger.addHandler(listener)
    logger.propagate = False
    try:
        yield messages
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagate


def _pagefind(site: Path) -> None:
    command = [sys.executable, "-m", "pagefind", "--site", str(site), "--silent"]
    for selector in UNSEARCHED:
        command += ["--exclude-selectors", selector]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (our own arguments)
    if done.returncode:
        raise SiteError(f"pagefind failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()}")


def _prune(site: Path) -> None:
    """Remove what this site does without."""
    for pattern in UNUSED:
        for path in [path for path in site.glob(pattern) if path.is_file()]:
            path.unlink()
