"""When two printed titles mean the same work: letter by letter, word by word, and without their second half."""

from __future__ import annotations

import difflib
import re
from typing import Literal

from qkb.imports.terms import SMALL
from qkb.text import fold

WORD = re.compile(r"[^\W_]+")
SUBTITLE = re.compile(r"\s*(?::|\s[-–—]\s|-\s|\s-)\s*")
COINED = re.compile(r"(?=\w*(?:\w[A-Z]|\d))\w{4,}")
SURE, LIKE = 0.93, 0.86

Likeness = Literal["same", "spelled", "part", "like", "other"]


def letters(title: str) -> str:
    """Return what counts in a title: letters and digits, without case and accents.

    >>> letters("XNOR-Net- ImageNet") == letters("XNOR-Net: ImageNet")
    True
    """
    return "".join(WORD.findall(fold(title)))


def words(title: str) -> list[str]:
    """Return the words of a title that tell it from others.

    >>> words("The State of 2-bit Nets")
    ['state', '2', 'bit', 'nets']
    """
    return [word for word in WORD.findall(fold(title)) if word not in SMALL]


def halves(title: str) -> tuple[str, str]:
    """Return what stands before and after the first colon, or dash, of a title.

    >>> halves("A Net: Made of Bits"), halves("Made of Bits")
    (('A Net', 'Made of Bits'), ('Made of Bits', ''))
    """
    found = SUBTITLE.search(title)
    return (title[: found.start()].strip(), title[found.end() :].strip()) if found else (title, "")


def likeness(one: str, other: str) -> Likeness:
    """Return how alike two titles are.

    `same`: the same letters. `spelled`: the same words, but for spelling or a word that is printed twice. `part`: one
    is the other without its first or second half. `like`: much alike, but maybe another work. `other`: not alike.

    >>> likeness("Trained Ternary Quantization", "Trained ternary quantisation")
    'spelled'
    >>> likeness("HAWQ-V2: Hessian Aware Quantization", "HAWQ-V3: Hessian Aware Quantization")
    'like'
    >>> likeness("A Net: Made of Bits and Pieces", "Made of Bits and Pieces")
    'part'
    """
    first, second = letters(one), letters(other)
    if first == second:
        return "same"
    if not first or not second:
        return "other"
    if _is_half(one, second) or _is_half(other, first):
        return "part"
    mine, others = words(one), words(other)
    matcher = difflib.SequenceMatcher(None, first, second, autojunk=False)
    ratio = matcher.ratio() if matcher.real_quick_ratio() >= LIKE and matcher.quick_ratio() >= LIKE else 0.0
    if set(mine) == set(others) and len(set(mine)) > 2:
        return "spelled"
    if ratio >= SURE and _differ_in_spelling(mine, others):
        return "spelled"
    return "like" if ratio >= LIKE or _is_name_of(one, other) or _is_name_of(other, one) else "other"


def _is_half(whole: str, part: str) -> bool:
    """Tell whether letters are those of a half of a title, long enough to tell it from others."""
    return any(letters(half) == part and len(words(half)) > 1 for half in halves(whole) if half != whole)


def _is_name_of(name: str, title: str) -> bool:
    """Tell whether a coined word, such as `TinyNet`, is all that stands before the colon of a title."""
    before, after = halves(title)
    return bool(after) and COINED.fullmatch(name.strip()) is not None and letters(before) == letters(name)


def _differ_in_spelling(mine: list[str], others: list[str]) -> bool:
    """Tell whether the words that only one of two titles has are other spellings of words of the other one."""
    if sorted(word for word in mine if not word.isalpha()) != sorted(word for word in others if not word.isalpha()):
        return False  # numbers and versions
    left, right = [word for word in mine if word not in others], [word for word in others if word not in mine]
    if "".join(left) == "".join(right):
        return True
    return len(left) == len(right) and all(
        len(one) > 3 and difflib.SequenceMatcher(None, one, other).ratio() >= 0.75
        for one, other in zip(left, right, strict=True)
    )
