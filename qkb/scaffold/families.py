"""The families of methods: the folders of reference_impls, and which of them a title speaks of."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qkb.errors import UsageError, nearest
from qkb.records.rules import NO_FAMILIES

if TYPE_CHECKING:
    from pathlib import Path

# In the order in which they are tried: what is said of hardware or training tells more than the number of bits.
FAMILIES = {
    "hardware": r"fpgas?|asics?|accelerators?|in-memory|processors?",
    "retrieval": r"hashing|retrieval|nearest neighbou?rs?",
    "transformers": r"transformers?|bert|language models?|llms?|vision transformers?",
    "theory": r"theory|theoretical|bounds?|capacity|provabl[ey]|convergence",
    "compression": r"pruning|prune[ds]?|huffman|distillation|compression|compressing",
    "gradients": r"quantized gradients?|gradient (?:quantization|compression)|signsgd|qsgd",
    "post_training": r"post-training|data-free|zero-shot|without (?:re)?training|calibration",
    "ternary": r"ternar\w*|trits?",
    "binary": r"binar\w*|xnor|1-bit|one-bit|bitwise|sign",
    "nonuniform": r"non-?uniform|codebooks?|power[s-]*of[- ]two|logarithmic|clustering|weight sharing",
    "relaxation": r"relax\w*|proximal|annealing|gumbel|variational|bayesian|probabilistic",
    "uniform": r"quanti[sz]\w*|low[- ]bit\w*|fixed[- ]point|integer\w*|low[- ]precision|\d-bit",
}


def names(root: Path) -> list[str]:
    """Return the families that there are or may be."""
    home = root / "reference_impls"
    folders = home.iterdir() if home.is_dir() else ()
    there = {folder.name for folder in folders if folder.is_dir() and (folder / "__init__.py").is_file()}
    return sorted((there | set(FAMILIES)) - NO_FAMILIES)


def checked(name: str, root: Path) -> str:
    """Return the name of a family.

    Raises:
        UsageError: there is none of this name.
    """
    known = names(root)
    if name not in known:
        hint = nearest(name, known) or f"There are {', '.join(known)}."
        raise UsageError(f"--family {name}: there is no such family. {hint}")
    return name


def guess(title: str) -> str:
    """Return the family that a title speaks of; nothing where it does not tell.

    >>> guess("A Binary Accelerator on FPGA"), guess("Ternary Weights"), guess("Attention")
    ('hardware', 'ternary', '')
    """
    return next((name for name, words in FAMILIES.items() if re.search(rf"\b(?:{words})\b", title, re.IGNORECASE)), "")
