"""Numbers of things in words."""

from CrossModalSegLib.plurals import counted


def test_one_thing_has_no_plural_and_none_has():
    assert [counted(number, "case") for number in (0, 1, 2)] == ["0 cases", "1 case", "2 cases"]
