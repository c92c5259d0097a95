"""What PyYAML's error messages mean, in words that say what to do."""

from __future__ import annotations

import yaml

# (a part of PyYAML's message, whether the place of its context is the better one, what to do about it). libyaml and
# the pure Python reader word some messages differently. The first part that occurs counts.
ADVICE = (
    ("single document", False, "a second document begins here: a file holds one, so remove the line `---`"),
    (
        "mapping values are not allowed",
        False,
        "a `:` stands where no key can be: put a text that contains `: ` in quotes, or correct the indentation",
    ),
    ("cannot start any token", False, "{found} cannot begin a text: put the text in quotes; indent with spaces"),
    ("found a tab", False, "a tab stands here: indent with spaces"),
    ("unknown escape character", False, "unknown escape: write `\\\\` for a backslash, or use single quotes"),
    ("escape", False, "a wrong escape: write `\\\\` for a backslash, or use single quotes"),
    ("hexdecimal", False, "a wrong escape: write `\\\\` for a backslash, or use single quotes"),
    ("scanning a quoted scalar", True, "the text in quotes that begins here does not end"),
    (
        "scanning a block scalar",
        True,
        "the block text is not well formed: begin it with `|` and indent its lines alike",
    ),
    ("scanning an alias", True, "`*` cannot begin a text: put the text in quotes"),
    ("scanning an anchor", True, "`&` cannot begin a text: put the text in quotes"),
    ("scanning a directive", True, "`%` cannot begin a line: put the text in quotes"),
    ("document start", False, "this is no `key: value`: check its colon, its quotes and its indentation"),
    ("parsing a flow node", False, "a value is missing here, or a bracket is not closed"),
    ("parsing a flow sequence", True, "the list that begins here lacks a `,` or its `]`"),
    ("parsing a flow mapping", True, "the mapping that begins here lacks a `,` or its `}}`"),
    ("could not find expected ':'", False, "this is no `key: value`: check its colon, its quotes and its indentation"),
    (
        "parsing a block mapping",
        False,
        "this belongs to no key: the keys of one mapping begin in one column, and a text in quotes ends with them",
    ),
    ("parsing a block collection", False, "the items of one list must begin in one column: check the indentation"),
    ("sequence entries are not allowed", False, "a list item `- ` cannot stand here: put it on a line of its own"),
    ("mapping keys are not allowed", False, "a key cannot stand here: check the indentation"),
)


def explain(error: yaml.YAMLError, text: str) -> tuple[int, str]:
    """Return the line (from 1) of an error in a text and a message that says what to do."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return 1, f"not valid YAML: {' '.join(str(error).split())}"
    words = " ".join(filter(None, (error.context, error.problem)))
    mark = error.problem_mark or error.context_mark
    for part, begin, advice in ADVICE:
        if part in words:
            if begin and error.context_mark is not None:
                mark = error.context_mark
            return _line(mark), "not valid YAML: " + advice.format(found=_character(text, mark))
    return _line(mark), f"not valid YAML: {words}"


def _line(mark: yaml.Mark | None) -> int:
    return 1 if mark is None else mark.line + 1


def _character(text: str, mark: yaml.Mark | None) -> str:
    """Name the character at which a reader stopped."""
    rest = "" if mark is None else text[mark.index : mark.index + 1]
    return "a tab" if rest == "\t" else f"the character {rest}" if rest else "this"
