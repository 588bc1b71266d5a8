"""JSON that says a thing twice, or not at all."""

import pytest

from CrossModalSegLib.errors import DataError, LabelError
from CrossModalSegLib.json_file import read_json
from CrossModalSegLib.labels import read_label_map


@pytest.mark.parametrize("content", ['{"training": [], "training": []}', '{"labels": {"1": "left", "1": "right"}}'])
def test_a_name_that_stands_twice_in_an_object_is_refused(content, tmp_path):
    path = tmp_path / "cases.json"
    path.write_text(content)
    name = "training" if "training" in content else "1"
    with pytest.raises(DataError, match=f"bad-list.*'{name}' stands twice"):
        read_json(path, "bad-list", "write it anew")


def test_the_same_name_in_two_objects_is_none_twice(tmp_path):
    path = tmp_path / "cases.json"
    path.write_text('{"a": {"name": 1}, "b": {"name": 2}}')
    assert read_json(path, "bad-list", "") == {"a": {"name": 1}, "b": {"name": 2}}


def test_a_structure_with_two_values_is_no_label_map(tmp_path):
    path = tmp_path / "labels.json"
    path.write_text('{"structures": [{"value": 2, "value": 17, "name": "tissue", "color": [1, 2, 3]}]}')
    with pytest.raises(LabelError, match=r"bad-label-map.*'value' stands twice"):
        read_label_map(path)
