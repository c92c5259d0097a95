r"""Text for LaTeX and back: `decode` reads whatever `encode` writes, and what other people's bibliographies hold.

A character is written as a command only where that command means this very character; every other one stands as it is,
in UTF-8, which today's LaTeX and biber read. `decode` knows accents (`{\"o}`, `\'{\i}`, `\c c`), letters and symbols by
their names, quotes and dashes, braces, ties and simple formulas; an unknown command gives what stands in its braces.
"""

from __future__ import annotations

import functools
import re
import unicodedata

ACCENTS = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", "=": "\u0304", "u": "\u0306", ".": "\u0307",
    '"': "\u0308", "r": "\u030a", "H": "\u030b", "v": "\u030c", "d": "\u0323", "c": "\u0327", "k": "\u0328",
    "b": "\u0331", "t": "\u0361",
}  # fmt: skip
BELOW = frozenset("dckb")
DOTLESS = {"ı": "i", "ȷ": "j"}
NAMES = {
    "i": "ı", "j": "ȷ", "l": "ł", "L": "Ł", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å", "ae": "æ", "AE": "Æ", "oe": "œ",
    "OE": "Œ", "ss": "ß", "SS": "ẞ", "dh": "ð", "DH": "Ð", "dj": "đ", "DJ": "Đ", "th": "þ", "TH": "Þ", "ng": "ŋ",
    "NG": "Ŋ", "textbraceleft": "{", "textbraceright": "}", "lbrace": "{", "rbrace": "}", "textbackslash": "\\",
    "backslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textasciigrave": "`", "textquotesingle": "'",
    "textquotedbl": '"', "textquoteleft": "‘", "textquoteright": "’", "textquotedblleft": "“",
    "textquotedblright": "”", "textendash": "–", "textemdash": "—", "nobreakspace": "\N{NO-BREAK SPACE}", "ldots": "…",
    "dots": "…", "textellipsis": "…", "S": "§", "P": "¶", "copyright": "©", "pounds": "£", "textregistered": "®",
    "texttrademark": "™", "quad": " ", "qquad": " ", "newline": " ", "sim": "~", "ast": "*", "infty": "∞", "to": "→",
    "times": "×", "cdot": "·", "pm": "±", "leq": "≤", "geq": "≥", "le": "≤", "ge": "≥", "neq": "≠", "ell": "ℓ",
    "textunderscore": "_", "textless": "<", "textgreater": ">", "textbar": "|", "textdollar": "$", "textpercent": "%",
    "textexclamdown": "¡", "textquestiondown": "¿", "slash": "/", "textminus": "−", "rightarrow": "→", "TeX": "TeX",
    "LaTeX": "LaTeX",
}  # fmt: skip
MARKS = {"\\": " ", "(": "", ")": "", "[": "", "]": "", "/": "", "-": "", ",": " ", ";": " ", ":": " ", "!": ""}
LIGATURES = {"---": "—", "--": "–", "``": "“", "''": "”", "?`": "¿", "!`": "¡", "`": "‘", "~": " "}
TOKEN = re.compile(r"\\([A-Za-z]+)\*?[ \t\n]*|\\(.)|([{}$])|(---?|``|''|[?!]`|`|~)|([^\\{}$~`'?!-]+|.)", re.DOTALL)
ACTIVE = re.compile(r"[\\{}$~`]|--|''")
SPACES = re.compile(r"[ \t\r\n\f\v]+")
SCRIPTS = {
    "^": dict(zip("0123456789+-=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ", strict=True)),
    "_": dict(zip("0123456789+-=()", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎", strict=True)),
}
SCRIPT = re.compile(r"[\^_]")
MAX_DEPTH = 50
PLAIN = {
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"{\textbraceleft}", "}": r"{\textbraceright}",
    "\\": r"{\textbackslash}", "^": r"{\textasciicircum}", "~": r"{\textasciitilde}", "`": r"{\textasciigrave}",
    '"': '{"}', "–": "--", "—": "---", "“": "``", "”": "''", "‘": "`", "’": r"{\textquoteright}",
    "\N{NO-BREAK SPACE}": r"{\nobreakspace}", "ű": r"{\H{u}}", "Ű": r"{\H{U}}",
    "−": r"{\textminus}", "→": r"{\ensuremath{\rightarrow}}",
}  # fmt: skip
# Signs that LaTeX would join to another one.
JOINED = frozenset(["--", "''", "``", "?`", "!`", "<<", ">>", ",,"])
CYRILLIC = range(0x400, 0x530)


def encode(text: str) -> str:
    r"""Return text for LaTeX.

    >>> encode("Müller & Søn: 50% of a_b")
    'M{\\"u}ller \\& S{\\o}n: 50\\% of a\\_b'
    """
    written: list[str] = []
    last = ""
    for char in text:
        piece = _command(char)
        if last + piece[0] in JOINED:
            piece = f"{{{piece}}}"
        written.append(piece)
        last = piece[-1]
    return "".join(written)


def decode(text: str) -> str:
    r"""Return LaTeX as text, its spaces joined.

    >>> decode(r'M{\"u}ller \& S{\o}n: 50\% of {XNOR}--Net')
    'Müller & Søn: 50% of XNOR–Net'
    >>> decode(r"Erd\H{o}s, \'{\i} and \textbf{$\ell_1$}")
    'Erdős, í and ℓ₁'
    """
    if ACTIVE.search(text):
        text = _Reader(text).group()
    return SPACES.sub(" ", text).strip(" ")


@functools.cache
def _command(char: str) -> str:
    """Return a character for LaTeX."""
    if char in PLAIN:
        return PLAIN[char]
    code = ord(char)
    if code < 128 or code in CYRILLIC:  # the commands for Cyrillic need a font encoding; so does UTF-8, but all read it
        return char
    latex = _table().get(code)
    if latex is None:
        return char
    # Below an accent LaTeX takes off the dot by itself; other programs do not know that it was taken off.
    command = f"{{{latex}}}" if char in DOTLESS else re.sub(r"\\([ij])(?=\}|$)", r"\1", f"{{{latex}}}")
    return command if "\\" in latex and decode(command) == char else char


@functools.cache
def _table() -> dict[int, str]:
    from pylatexenc.latexencode import get_builtin_uni2latex_dict  # type: ignore[import-untyped]  # noqa: PLC0415

    table: dict[int, str] = get_builtin_uni2latex_dict()
    return table


@functools.cache
def _symbols() -> dict[str, str]:
    """Return the characters by the names of their commands."""
    found: dict[str, str] = {}
    for code, latex in _table().items():
        match = re.fullmatch(r"(?:\\ensuremath\{)?\\([A-Za-z]+)\}?", latex)
        if match:
            found.setdefault(match[1], chr(code))
    return found


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, ...]] = [match.groups("") for match in TOKEN.finditer(text)]
        self.place = 0
        self.depth = 0
        self.math = False

    def group(self) -> str:
        """Return what stands up to the brace that ends a group, or to the end."""
        parts: list[str] = []
        self.depth += 1
        while self.place < len(self.tokens):
            token = self.tokens[self.place]
            self.place += 1
            if token[2] == "}":
                if self.depth > 1:
                    break
            elif token[2] == "$":
                self.math = not self.math
            elif self.math and (sign := SCRIPT.search(token[4])):
                if token[4][sign.end() :]:
                    self.place -= 1
                    self.tokens[self.place] = (*token[:4], token[4][sign.end() :])
                parts.append(token[4][: sign.start()] + self.script(sign[0]))
            else:
                parts.append(self.one(token))
        self.depth -= 1
        return "".join(parts)

    def one(self, token: tuple[str, ...]) -> str:
        """Return what a token says, with what belongs to it."""
        word, sign, brace, ligature, plain = token
        if word:
            return self.command(word)
        if sign:
            return self.accent(sign) if sign in ACCENTS else MARKS.get(sign, sign)
        if brace == "{":
            return self.group() if self.depth < MAX_DEPTH else ""
        return LIGATURES.get(ligature, plain)

    def command(self, word: str) -> str:
        """Return what a command says; what stands in the braces of an unknown one comes next, as text."""
        if word in ACCENTS:
            return self.accent(word)
        return NAMES.get(word) or _symbols().get(word, "")

    def next(self) -> tuple[str, ...] | None:
        """Return the next token, or None where a group, a formula or the text ends."""
        if self.place == len(self.tokens) or self.tokens[self.place][2] in ("}", "$"):
            return None
        self.place += 1
        return self.tokens[self.place - 1]

    def first(self, token: tuple[str, ...]) -> str:
        """Return the first thing of a token: of plain text the first character; the rest is read next."""
        if len(token[4]) < 2:
            return self.one(token)
        self.place -= 1
        self.tokens[self.place] = (*token[:4], token[4][1:])
        return token[4][0]

    def accent(self, name: str) -> str:
        """Return the letter that comes next with an accent above or below it."""
        token = self.next()
        while token is not None and token[4].isspace():
            token = self.next()
        if token is not None and token[4][:1].isspace():
            token = (*token[:4], token[4].lstrip())
        self.depth += 1
        base = "" if token is None or self.depth > MAX_DEPTH else self.first(token)
        self.depth -= 1
        if not base.strip():
            return base
        letter = base[0] if name in BELOW else DOTLESS.get(base[0], base[0])
        return unicodedata.normalize("NFC", letter + ACCENTS[name]) + base[1:]

    def script(self, sign: str) -> str:
        """Return a superscript or subscript of a formula."""
        token = self.next()
        base = "" if token is None else self.first(token)
        small = [SCRIPTS[sign].get(char, "") for char in base]
        return "".join(small) if base and all(small) else sign + base
