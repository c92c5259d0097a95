"""Names of people as sources write them, turned into names as records have them: given name first."""

from __future__ import annotations

import re

MORE = re.compile(r"[,;&\s]*\b(?:et\.?\s*al\b\.?|and\s+others\b|others\b|等).*$", re.IGNORECASE | re.DOTALL)
SUFFIX = re.compile(r"(?:jr|sr|ii|iii|iv)\.?", re.IGNORECASE)
BETWEEN = re.compile(r"\s*(?:,|;|、|，|\band\b|&)\s*", re.IGNORECASE)
# What nobody is called: a list in which one of these stands is no list of names.
NO_NAME = re.compile(r"[\d:?!\"“”/=<>|@#+_]|\b(?:for|with|of|the|in|to|on|via|by|using|from|is|are|an|at)\b")
MARKS = re.compile(r"\\?[*†‡§¶∗♦♠♥]+|\(\s*[*†‡].*?\)|[¹²³⁰⁴-⁹]+|(?<=[a-z])\d(?=\s*(?:,|;|&|$))")
INITIALS = re.compile(r"(?:[A-ZÀ-Þ]\.?[-\s]?){1,4}")


def turned(family: str, given: str, suffix: str = "") -> str:
    """Return the parts of a name in their usual order.

    >>> turned("van der Maaten", "Laurens"), turned("Lind", "Ada B.", "Jr.")
    ('Laurens van der Maaten', 'Ada B. Lind Jr.')
    """
    return " ".join(part for part in (given.strip(), family.strip(), suffix.strip()) if part)


def by_commas(name: str) -> str:
    """Return a name that may be written `Last, First`, `Last, Jr, First` or `Last, First, Jr`.

    >>> by_commas("Lind, Jr., Ada"), by_commas("Lind, Ada, III"), by_commas("Ada Lind")
    ('Ada Lind Jr.', 'Ada Lind III', 'Ada Lind')
    """
    parts = [part.strip() for part in name.split(",") if part.strip()]
    if len(parts) == 3 and SUFFIX.fullmatch(parts[1]):
        return turned(parts[0], parts[2], parts[1])
    if len(parts) > 1:
        return turned(parts[0], " ".join(parts[1:-1]) or parts[1], parts[-1] if len(parts) > 2 else "")
    return parts[0] if parts else ""


def in_prose(text: str) -> tuple[tuple[str, ...], bool]:
    """Return the names in a citation, and whether it says that there are others; no names where it is no list of names.

    >>> in_prose("Galloway, Angus, Graham W. Taylor, and Medhat Moussa.")
    (('Angus Galloway', 'Graham W. Taylor', 'Medhat Moussa'), False)
    >>> in_prose("Chen Xu, Jianqiang Yao, et al.")
    (('Chen Xu', 'Jianqiang Yao'), True)
    >>> in_prose("a method for training")
    ((), False)
    """
    text = re.sub(r"^by\s+", "", MARKS.sub("", text).strip(" ,;:–—-*_()"))
    shorter = MORE.sub("", text)
    more = shorter != text
    if not re.search(r"\w", shorter) or NO_NAME.search(shorter):
        return (), False
    parts = [_without_stop(part) for part in BETWEEN.split(shorter) if part.strip()]
    if len(parts) > 1 and _is_reversed(parts):
        if all(INITIALS.fullmatch(part) for part in parts[1::2]) and len(parts) % 2 == 0:  # Lind, A., Ruiz, B.
            parts = [turned(family, _stopped(given)) for family, given in zip(parts[::2], parts[1::2], strict=True)]
        else:  # Lind, Ada, Bo Ruiz: only the first name is turned
            parts = [turned(parts[0], parts[1]), *parts[2:]]
    if not all(_is_name(part) for part in parts):
        return (), False
    return tuple(parts), more


def _without_stop(name: str) -> str:
    """Return a name without the full stop of the sentence; that of an initial stays."""
    name = name.strip()
    return name if re.search(r"(?:^|[\s.-])[^\W\d_]\.$", name) or SUFFIX.search(name[-4:]) else name.rstrip(" .")


def _stopped(initials: str) -> str:
    """Return initials with the full stop that the end of a list may have taken from the last."""
    return f"{initials}." if re.search(r"(?:^|[\s.-])[^\W\d_]$", initials) else initials


def _is_reversed(parts: list[str]) -> bool:
    """Tell whether the first name stands as two parts, the family name first."""
    family = parts[0].split()
    if not parts[0].isascii() and any(ord(char) > 0x2E7F for char in parts[0]):
        return False
    plain = len(family) == 1 or all(word[0].islower() for word in family[:-1])
    others = [part for part in parts[2:] if not INITIALS.fullmatch(part)]
    return plain and (len(others) == 0 or any(len(part.split()) > 1 for part in others) or len(parts) % 2 == 0)


def _is_name(text: str) -> bool:
    words = text.split()
    if len(words) == 1:
        return any(ord(char) > 0x2E7F for char in text)
    return 1 < len(words) < 7 and words[-1][:1].isupper()
