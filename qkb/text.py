"""Text as people type and see it: comparing without accents, and fitting into the columns of a terminal.

Every query imports this, so `unicodedata` is loaded only for text that is not plain ASCII.
"""

from __future__ import annotations

# Letters whose base letter Unicode does not split off.
_BASE_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "ı": "i", "þ": "th"})


def fold(text: str) -> str:
    """Return text for comparing: without case, accents and surplus spaces.

    >>> fold("  Sébastien  LØVÅS ")
    'sebastien lovas'
    """
    if not text.isascii():
        import unicodedata  # noqa: PLC0415

        split = unicodedata.normalize("NFKD", text.casefold())
        text = "".join(char for char in split if not unicodedata.combining(char)).translate(_BASE_LETTERS)
    return " ".join(text.casefold().split())


def printable(text: str) -> str:
    r"""Return text that is safe to print on a terminal: control and direction characters become a mark.

    >>> printable("red \x1b[31m title")
    'red �[31m title'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text)


def plain_json(text: str) -> str:
    r"""Return JSON with escapes in place of what could steer a terminal; a program reads the same from it.

    >>> plain_json('["a\x9b\u202e", "é"]')
    '["a\\u009b\\u202e", "é"]'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else _json_escape(char) for char in text)


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[place : place + 4]}" for place in range(0, len(units), 4))


def width(text: str) -> int:
    r"""Return how many columns of a terminal text takes.

    >>> width("XNOR"), width("量子化"), width("e\u0301")
    (4, 6, 1)
    """
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def cut(text: str, columns: int) -> str:
    """Return text that fits into so many columns, with a mark where something was cut off.

    >>> cut("Binarized networks", 10), cut("量子化", 5), cut("short", 5)
    ('Binarized…', '量子…', 'short')
    """
    if width(text) <= columns:
        return text
    left = columns - 1
    for position, char in enumerate(text):
        left -= _char_width(char)
        if left < 0:
            return text[:position].rstrip() + "…"
    return text


def _char_width(char: str) -> int:
    if char.isascii():
        return 1
    import unicodedata  # noqa: PLC0415

    if unicodedata.combining(char) or unicodedata.category(char) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
