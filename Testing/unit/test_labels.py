"""Label maps: validation names every problem, and nothing is lost on the way to JSON or Slicer and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from CrossModalSegLib.errors import LabelError
from CrossModalSegLib.labels import LABEL_MAP_FOLDER, Code, LabelMap, Structure, Terminology, read_label_map

ANATOMY = Code("SCT", "123037004", "Anatomical Structure")
HIPPOCAMPUS = Code("SCT", "5366008", "Hippocampus")
LEFT = Code("SCT", "7771000", "Left")
LEFT_HIPPOCAMPUS_TAG = (
    "Segmentation category and type - DICOM master list"
    "~SCT^123037004^Anatomical Structure~SCT^5366008^Hippocampus~SCT^7771000^Left"
    "~Anatomic codes - DICOM master list~^^~^^"
)

texts = st.text(st.characters(exclude_characters="^~|\r\n", exclude_categories=("Cs",)), min_size=1)
codes = st.builds(Code, texts, texts, texts)
terminologies = st.builds(Terminology, codes, codes, st.none() | codes)
colors = st.tuples(*[st.integers(0, 255)] * 3)


@st.composite
def label_maps(draw):
    values = draw(st.lists(st.integers(1, 65535), min_size=1, max_size=5, unique=True))
    return LabelMap(
        tuple(Structure(v, f"structure {v}", draw(colors), draw(st.none() | terminologies)) for v in values)
    )


def test_channel_zero_is_background_and_channels_follow_the_order_of_the_structures():
    label_map = LabelMap((Structure(41, "right", (1, 2, 3)), Structure(2, "left", (4, 5, 6))))
    assert label_map.values == (41, 2)
    assert label_map.channels == (0, 41, 2)


def test_a_structure_is_found_by_value_and_by_name():
    left = Structure(2, "left", (4, 5, 6))
    label_map = LabelMap((Structure(41, "right", (1, 2, 3)), left))
    assert label_map.by_value(2) is left
    assert label_map.by_name("left") is left


def test_an_unknown_structure_is_an_error_that_lists_what_there_is():
    label_map = LabelMap((Structure(41, "right", (1, 2, 3)),))
    with pytest.raises(LabelError, match=r"unknown-label.*7.*it has 41"):
        label_map.by_value(7)
    with pytest.raises(LabelError, match=r"'left' is not.*it has right"):
        label_map.by_name("left")


def test_all_problems_of_a_label_map_are_reported_at_once():
    with pytest.raises(LabelError) as caught:
        LabelMap(
            (
                Structure(0, "background", (0, 0, 0)),
                Structure(5, "a", (0, 0, 256)),
                Structure(5, "b|c", (0, 0)),
                Structure(True, "a", (0, 0, 0)),
            )
        )
    for problem in (
        "'background' (0): value is not",
        "'a' (5): colour (0, 0, 256)",
        "'b|c' (5): name",
        "'b|c' (5): colour",
        "'a' (True): value is not",
        "value 5 occurs twice",
        "name 'a' occurs twice",
    ):
        assert problem in caught.value.message


def test_an_empty_label_map_is_refused():
    with pytest.raises(LabelError, match="at least one structure"):
        LabelMap(())


def test_the_slicer_tag_has_slicer_s_seven_parts():
    assert Terminology(ANATOMY, HIPPOCAMPUS, LEFT).slicer_tag() == LEFT_HIPPOCAMPUS_TAG
    assert Terminology(ANATOMY, HIPPOCAMPUS).slicer_tag().split("~")[3] == "^^"


def test_the_tag_that_slicer_s_documentation_shows_is_read():
    tag = (
        "Segmentation category and type - 3D Slicer General Anatomy list"
        "~SCT^49755003^Morphologically Altered Structure~SCT^4147007^Mass~^^"
        "~Anatomic codes - DICOM master list~SCT^23451007^Adrenal gland~SCT^24028007^Right"
    )
    category = Code("SCT", "49755003", "Morphologically Altered Structure")
    assert Terminology.from_slicer_tag(tag) == Terminology(category, Code("SCT", "4147007", "Mass"), None)


def test_a_tag_with_empty_codes_holds_no_terminology():
    assert Terminology.from_slicer_tag("context~^^~^^~^^~anatomic context~^^~^^") is None


@pytest.mark.parametrize("tag", ["", "hippocampus", "a~b~c~d~e~f~g", LEFT_HIPPOCAMPUS_TAG + "~more"])
def test_text_that_is_no_terminology_entry_is_refused(tag):
    with pytest.raises(LabelError, match="bad-terminology"):
        Terminology.from_slicer_tag(tag)


@pytest.mark.parametrize("value", ["", "a^b", "a~b", "a|b", "a\nb"])
def test_a_code_that_would_break_slicer_s_tag_is_refused(value):
    with pytest.raises(LabelError, match="bad-code"):
        Code("SCT", value, "meaning")


@given(terminologies)
def test_any_terminology_comes_back_from_its_slicer_tag(terminology):
    assert Terminology.from_slicer_tag(terminology.slicer_tag()) == terminology


@given(label_maps())
def test_any_label_map_comes_back_from_json(label_map):
    assert LabelMap.from_json(json.loads(json.dumps(label_map.to_json()))) == label_map


@pytest.mark.parametrize("entry", [{}, [], {"structures": [{"value": 1}]}, {"structures": 5}, {"structures": ["x"]}])
def test_json_that_is_no_label_map_is_a_typed_error(entry):
    with pytest.raises(LabelError, match="bad-label-map"):
        LabelMap.from_json(entry)


def test_reading_a_label_map_file_reports_missing_and_malformed_files(tmp_path):
    with pytest.raises(LabelError, match="label-map-not-found"):
        read_label_map(tmp_path / "missing.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(LabelError, match=r"bad-label-map.*broken\.json"):
        read_label_map(tmp_path / "broken.json")


class TestBrainLabelMap:
    """The label map of the starter bundle."""

    label_map = read_label_map(LABEL_MAP_FOLDER / "brain_mr_pair.json")

    def test_it_has_the_32_structures_under_freesurfer_s_numbers(self):
        left = [2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 17, 18, 26, 28]
        right = [41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60]
        assert list(self.label_map.values) == sorted([*left, *right, 14, 15, 16, 24])

    def test_left_and_right_differ_in_name_and_modifier_only(self):
        for structure in self.label_map.structures:
            side = structure.name.split()[0]
            modifier = structure.terminology.modifier
            if side not in ("left", "right"):
                assert modifier is None
                continue
            expected = {"left": ("7771000", "Left"), "right": ("24028007", "Right")}[side]
            assert (modifier.value, modifier.meaning) == expected
            other = self.label_map.by_name(structure.name.replace(side, {"left": "right", "right": "left"}[side]))
            assert other.terminology.type == structure.terminology.type

    def test_codes_and_colours_of_structures_that_everybody_knows(self):
        hippocampus = self.label_map.by_value(17)
        assert hippocampus.name == "left hippocampus"
        assert hippocampus.color == (220, 216, 20)
        assert hippocampus.terminology.slicer_tag() == LEFT_HIPPOCAMPUS_TAG
        assert self.label_map.by_value(53).name == "right hippocampus"
        assert self.label_map.by_value(16).terminology.type == Code("SCT", "119238007", "Brain stem")

    def test_every_type_is_in_dicom_s_context_groups_of_brain_structures(self):
        """CID 7140 (brain structures for volumetric measurement) or CID 7153 (CNS tissue segmentation types)."""
        groups = pytest.importorskip("pydicom.sr.codedict")
        standard = {
            (code.scheme_designator, code.value)
            for group in (groups.Collection("CID7140"), groups.Collection("CID7153"))
            for code in group.concepts.values()
        }
        types = {(s.terminology.type.scheme, s.terminology.type.value) for s in self.label_map.structures}
        assert types <= standard

    def test_it_says_where_its_codes_come_from(self):
        assert "CID 7140" in self.label_map.comment


def test_the_mirror_image_of_a_side_is_the_other_side_and_of_the_middle_itself():
    names = ("left putamen", "brain stem", "right putamen", "lefty")
    label_map = LabelMap(tuple(Structure(n, name, (0, 0, 0)) for n, name in enumerate(names, start=5)))
    assert label_map.mirrored_channels() == (0, 3, 2, 1, 4)


def test_a_side_without_a_partner_cannot_be_mirrored():
    label_map = LabelMap((Structure(1, "left kidney", (0, 0, 0)),))
    with pytest.raises(LabelError, match="right kidney"):
        label_map.mirrored_channels()


def test_mirroring_twice_gives_the_brain_label_map_back():
    label_map = read_label_map(LABEL_MAP_FOLDER / "brain_mr_pair.json")
    once = label_map.mirrored_channels()
    assert [once[channel] for channel in once] == list(range(33))
    assert sum(channel != other for channel, other in enumerate(once)) == 28  # 14 structures have two sides
