"""Show the site on this machine and rebuild it when a record, page, template or result changes.

Builds once, then serves until Ctrl-C. The browser reloads by itself after a rebuild; while a record is at fault, its
faults are printed and the last good site stays.

Examples:
  qkb serve
  qkb serve --port 8080 --open
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qkb.implementations import CannotRunError
from qkb.options import add_root
from qkb.paths import Place, locate

if TYPE_CHECKING:
    import argparse

    from mkdocs.livereload import LiveReloadServer

WATCHED = ("papers", "site", "mkdocs.yml", "CONTRIBUTING.md", "reference_impls")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    parser.add_argument("--open", action="store_true", help="open the site in a browser")
    parser.add_argument("--output", metavar="DIR", type=Path, help="build folder (default: build, in the checkout)")
    add_root(parser)
    parser.add_argument("--quiet", action="store_true", help="print faults only")


def rebuild(place: Place, output: Path) -> bool:
    """Build the site for the live server; print what is at fault and return False if it cannot be built."""
    from qkb.records.faults import FaultsError  # noqa: PLC0415 (pydantic is loaded only when records are read)
    from qkb.site.build import build  # noqa: PLC0415
    from qkb.site.tree import BuildError  # noqa: PLC0415

    try:
        build(place, output, policy=False)
    except (FaultsError, CannotRunError, BuildError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return False
    return True


def run(place: Place, output: Path, host: str = "127.0.0.1", port: int = 8000) -> LiveReloadServer | None:
    """Build once and return the server, ready for its `serve()`; None if the first build failed."""
    from mkdocs.livereload import LiveReloadServer  # noqa: PLC0415 (slow to import)

    if not rebuild(place, output):
        return None

    def builder() -> None:
        rebuild(place, output)

    server = LiveReloadServer(builder, host=host, port=port, root=str(output / "site"))
    for name in WATCHED:
        if (place.root / name).exists():
            server.watch(str(place.root / name))
    return server


def main(args: argparse.Namespace) -> int:
    """Run the command; return its exit code."""
    from qkb.site.build import build_folder  # noqa: PLC0415

    place = locate(args.root)
    server = run(place, args.output or build_folder(place), args.host, args.port)
    if server is None:
        return 1
    if not args.quiet:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        server.serve(open_in_browser=args.open)  # type: ignore[no-untyped-call]
    except KeyboardInterrupt:
        print("qkb serve: stopped", file=sys.stderr)
    except (OSError, OverflowError) as error:
        print(f"qkb serve: cannot listen on {args.host}:{args.port}: {error}", file=sys.stderr)
        return 1
    finally:
        server.shutdown()
    return 0
