from __future__ import annotations

import pytest
import yaml
from yaml.reader import ReaderError

from qkb.records.yaml_errors import ADVICE, explain


def error_of(text: str) -> yaml.YAMLError:
    """Return the error that PyYAML's own reader raises."""
    with pytest.raises(yaml.YAMLError) as caught:
        yaml.compose(text, Loader=yaml.SafeLoader)
    return caught.value


def test_the_line_is_that_of_the_beginning_where_that_helps() -> None:
    text = "a: 1\nb: [x,\n  y\nc: 2\n"
    assert explain(error_of(text), text) == (
        2,
        "not valid YAML: the list that begins here lacks a `,` or its `]`",
    )


def test_the_line_is_that_of_the_problem_elsewhere() -> None:
    text = "a: 1\nb: 2\nc: d: e\n"
    line, message = explain(error_of(text), text)
    assert (line, message.startswith("not valid YAML: a `:` stands where no key can be")) == (3, True)


def test_the_character_is_named() -> None:
    for text, name in (("a: @b\n", "the character @"), ("a:\n\tb: c\n", "a tab")):
        assert explain(error_of(text), text)[1].startswith(f"not valid YAML: {name} cannot begin a text")


def test_an_error_without_a_place() -> None:
    assert explain(ReaderError("f", 3, 0x7, "utf-8", "no such\ncharacter"), "") == (
        1,
        'not valid YAML: unacceptable character #x0007: no such character in "f", position 3',
    )
    assert explain(yaml.MarkedYAMLError(problem="single document"), "")[0] == 1


def test_words_that_nobody_foresaw_are_shown() -> None:
    mark = yaml.Mark("f", 9, 4, 1, None, 0)
    error = yaml.MarkedYAMLError("while dreaming", None, "found a sheep", mark)
    assert explain(error, "") == (5, "not valid YAML: while dreaming found a sheep")


def test_the_character_at_the_end_of_a_file_is_no_character() -> None:
    error = yaml.MarkedYAMLError(problem="this cannot start any token", problem_mark=yaml.Mark("f", 9, 0, 9, None, 0))
    assert explain(error, "short") == (
        1,
        "not valid YAML: this cannot begin a text: put the text in quotes; indent with spaces",
    )


def test_every_advice_is_a_sentence_that_can_be_filled_in() -> None:
    for _, _, advice in ADVICE:
        assert advice.format(found="x")
        assert not advice.endswith(".")
