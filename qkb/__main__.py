"""`python -m qkb` does what `qkb` does."""

from __future__ import annotations

import sys

from qkb.cli import main

if __name__ == "__main__":
    sys.exit(main())
