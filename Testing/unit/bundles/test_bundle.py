"""Bundles: what is published is what is loaded, and whatever was changed on the way is found."""

import copy
import json
import math
import struct
import subprocess
import sys

import numpy as np
import pytest

from CrossModalSegLib import cli
from CrossModalSegLib.bundles.bundle import bundle_search_path, list_bundles, load_bundle, publish_bundle, read_bundle
from CrossModalSegLib.bundles.bundle_metadata import (
    SEAL_FILE,
    SECTION,
    BundleDescription,
    metadata_problems,
    metadata_sha256,
)
from CrossModalSegLib.errors import BundleError, OutputError
from CrossModalSegLib.labels import Code, LabelMap, Structure, Terminology

LABEL_MAP = LabelMap(
    (
        Structure(
            17,
            "left hippocampus",
            (220, 216, 20),
            Terminology(
                Code("SCT", "123037004", "Anatomical Structure"),
                Code("SCT", "5366008", "Hippocampus"),
                Code("SCT", "7771000", "Left"),
            ),
        ),
        Structure(53, "right hippocampus", (220, 216, 20)),
    )
)
WEIGHTS = {
    "conv.weight": np.linspace(-3, 3, 54, dtype=np.float32).reshape(2, 1, 3, 3, 3),
    "gamma": np.array(0.5, dtype=np.float32),  # a scalar must stay one
    "steps": np.array([7], dtype=np.int64),
}


def metadata(**changes):
    settings = {
        "version": "1.2.0",
        "task": "Segment the hippocampus",
        "description": "A model for tests",
        "authors": "The authors",
        "copyright_notice": "Copyright The authors",
        "licence": "Apache-2.0",
        "modalities": ("T1w", "T2w"),
        "label_map": LABEL_MAP,
        "spacing_mm": (1, 1, 1.5),
        "patch_size": (32, 48, 64),
        "intensity": {"T1w": {"rule": "percentile"}, "T2w": {"rule": "percentile"}},
        "network": {"classes": 3, "channels": [8, 16]},
        "training": {"cases": 2},
        "scores": {"dice": 0.5},
    }
    return BundleDescription(**(settings | changes)).metadata()


@pytest.fixture
def bundle(tmp_path):
    return publish_bundle(tmp_path / "bundles" / "test-model", metadata(), WEIGHTS, "# Card\n")


def edit_metadata(bundle, edit):
    file = bundle.path / "configs" / "metadata.json"
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))
    (bundle.path / SEAL_FILE).write_text(metadata_sha256(content))


def test_a_bundle_has_monai_s_layout_and_no_other_file(bundle):
    files = sorted(str(file.relative_to(bundle.path)) for file in bundle.path.rglob("*") if file.is_file())
    configs = ["configs/inference.json", "configs/metadata.json", "configs/metadata.sha256"]
    assert files == [*configs, "docs/README.md", "models/model.safetensors"]


def test_a_loaded_bundle_says_what_was_published(bundle):
    loaded = load_bundle(bundle.path)
    assert loaded == bundle
    assert (loaded.name, loaded.version, loaded.modalities) == ("test-model", "1.2.0", ("T1w", "T2w"))
    assert loaded.label_map == LABEL_MAP
    assert (loaded.spacing_mm, loaded.patch_size) == ((1.0, 1.0, 1.5), (32, 48, 64))
    assert loaded.network == {"classes": 3, "channels": [8, 16]}
    assert loaded.intensity == {"T1w": {"rule": "percentile"}, "T2w": {"rule": "percentile"}}
    assert (loaded.path / "docs" / "README.md").read_text() == "# Card\n"


def test_weights_come_back_as_float32_with_their_shapes(tmp_path):
    weights = publish_bundle(tmp_path / "model", metadata(), WEIGHTS, "card").read_weights()
    assert {name: (array.shape, array.dtype) for name, array in weights.items()} == {
        "conv.weight": ((2, 1, 3, 3, 3), np.float32),
        "gamma": ((), np.float32),
        "steps": ((1,), np.int64),
    }
    for name, array in WEIGHTS.items():
        expected = array.astype(np.float16) if array.dtype.kind == "f" else array
        np.testing.assert_array_equal(weights[name], expected)


def test_a_weight_takes_two_bytes(tmp_path):
    bundle = publish_bundle(tmp_path / "half", metadata(), {"w": np.zeros(100_000, np.float32)}, "card")
    assert 200_000 < (bundle.path / "models/model.safetensors").stat().st_size < 201_000


def test_bfloat16_weights_are_read_exactly(bundle):
    values = np.array([1.5, -2.25, 3.0e38, 0.0], dtype=np.float32)
    data = (values.view(np.uint32) >> 16).astype("<u2")
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}).encode()
    content = struct.pack("<Q", len(header)) + header + data.tobytes()
    (bundle.path / "models" / "model.safetensors").write_bytes(content)
    expected = (data.astype(np.uint32) << 16).view(np.float32).reshape(2, 2)
    assert expected[0].tolist() == [1.5, -2.25]
    np.testing.assert_array_equal(bundle.read_weights()["w"], expected)


def test_the_hash_is_the_same_for_the_same_content_in_any_folder_and_key_order(tmp_path, bundle):
    reversed_weights = dict(reversed(WEIGHTS.items()))
    reversed_metadata = dict(reversed(metadata().items()))
    again = publish_bundle(tmp_path / "elsewhere", reversed_metadata, reversed_weights, "# Card\n")
    assert again.sha256 == bundle.sha256


@pytest.mark.parametrize("change", ["metadata", "weights", "card"])
def test_the_hash_changes_with_anything_in_the_bundle(tmp_path, bundle, change):
    weights = WEIGHTS | {"gamma": np.array(0.25, np.float32)} if change == "weights" else WEIGHTS
    description = {"scores": {"dice": 0.6}} if change == "metadata" else {}
    card = "# Other card\n" if change == "card" else "# Card\n"
    assert publish_bundle(tmp_path / "other", metadata(**description), weights, card).sha256 != bundle.sha256


@pytest.mark.parametrize("name", ["models/model.safetensors", "configs/inference.json", "docs/README.md"])
def test_a_changed_file_is_named_with_both_hashes(bundle, name):
    content = bytearray((bundle.path / name).read_bytes())
    content[-1] ^= 1
    (bundle.path / name).write_bytes(content)
    expected = bundle.metadata[SECTION]["sha256"][name]
    with pytest.raises(BundleError, match=rf"bundle-corrupt.*{name} has sha256 [0-9a-f]{{64}}, expected {expected}"):
        load_bundle(bundle.path)


def test_a_truncated_and_a_missing_weights_file_are_found(bundle):
    file = bundle.path / "models" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(BundleError, match="bundle-corrupt"):
        load_bundle(bundle.path)
    with pytest.raises(BundleError, match=r"bundle-corrupt.*cannot be read"):
        bundle.read_weights()
    file.unlink()
    with pytest.raises(BundleError, match=r"bundle-corrupt.*cannot be read"):
        load_bundle(bundle.path)


@pytest.mark.parametrize("name", ["models/model.pt", "models/model.ts", "extra.PKL"])
def test_a_pickle_in_the_folder_is_refused(bundle, name):
    (bundle.path / name).write_bytes(b"")
    with pytest.raises(BundleError, match=rf"bundle-unsafe.*{name}"):
        load_bundle(bundle.path)


def test_weights_that_are_not_finite_cannot_be_published_and_leave_nothing_behind(tmp_path):
    broken = WEIGHTS | {"head.bias": np.array([0, np.nan], np.float32)}
    with pytest.raises(BundleError, match=r"bundle-invalid.*head\.bias is not finite"):
        publish_bundle(tmp_path / "model", metadata(), broken, "card")
    assert list(tmp_path.iterdir()) == []


def test_weights_beyond_the_range_of_float16_are_refused_not_turned_into_infinity(tmp_path):
    large = {"w": np.array([70_000.0], np.float32)}
    with pytest.raises(BundleError, match="w is not finite as float16"):
        publish_bundle(tmp_path / "model", metadata(), large, "card")


def test_weights_that_are_not_finite_on_disk_are_found_even_with_matching_hashes(bundle):
    import hashlib

    import safetensors.numpy

    content = safetensors.numpy.save({"w": np.array([np.inf], np.float32)})
    (bundle.path / "models" / "model.safetensors").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    edit_metadata(bundle, lambda data: data[SECTION]["sha256"].update({"models/model.safetensors": digest}))
    with pytest.raises(BundleError, match=r"bundle-corrupt.*not finite in w"):
        load_bundle(bundle.path)


def test_publishing_over_an_existing_bundle_needs_overwrite(bundle):
    with pytest.raises(OutputError, match="output-exists"):
        publish_bundle(bundle.path, metadata(), WEIGHTS, "new card")
    newer = publish_bundle(bundle.path, metadata(version="1.3.0"), WEIGHTS, "new card", overwrite=True)
    assert load_bundle(bundle.path) == newer
    assert newer.version == "1.3.0"


def test_scores_that_json_cannot_hold_are_refused(tmp_path):
    with pytest.raises(BundleError, match=r"bundle-invalid.*JSON"):
        publish_bundle(tmp_path / "model", metadata(scores={"dice": math.nan}), WEIGHTS, "card")
    assert list(tmp_path.iterdir()) == []


def test_all_problems_of_the_metadata_are_reported_at_once(bundle):
    def spoil(content):
        del content["task"]
        section = content[SECTION]
        section["modalities"] = ["T1w", "T1w"]
        section["spacing_mm"] = [1, 0, 1]
        section["patch_size"] = [32, 32.5, 32]
        section["label_map"]["structures"][0]["value"] = 0
        section["intended_use"] = "diagnosis"
        section["sha256"] = {"../escape": "0" * 64, "docs/README.md": "abc"}

    edit_metadata(bundle, spoil)
    with pytest.raises(BundleError, match="bundle-invalid") as caught:
        load_bundle(bundle.path)
    for problem in (
        'no "task"',
        "modalities ['T1w', 'T1w'] are not two different names",
        "spacing_mm [1, 0, 1]",
        "patch_size [32, 32.5, 32]",
        "label_map: structure 'left hippocampus' (0)",
        'intended_use does not say "not for clinical use"',
        "no hash of models/model.safetensors",
        "'../escape' lies outside the bundle",
        "hash 'abc' of docs/README.md",
    ):
        assert problem in caught.value.message


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("modalities", ["T1w"], "not two different names"),
        ("intensity", {"T1w": {}}, "not one per modality"),
        ("network", None, "network None"),
        ("licence", "", "no licence"),
        ("spacing_mm", [1, math.inf, 1], "spacing_mm"),
        ("spacing_mm", [1, 1e-9, 1], "spacing_mm"),
        ("requires_both", "yes", "requires_both yes"),
        ("expected_ml", {"nothing": [1, 2]}, "names nothing, which the label map does not have"),
        ("expected_ml", {LABEL_MAP.structures[0].name: [2, 1]}, "is not the lowest and the highest volume in mL"),
        ("created", "yesterday", "created 'yesterday' is not a date"),
        ("sha256", None, 'no "sha256"'),
    ],
)
def test_a_single_wrong_entry_is_the_only_problem(bundle, key, value, problem):
    content = copy.deepcopy(bundle.metadata)
    content[SECTION][key] = value
    problems = metadata_problems(content)
    assert len(problems) == 1
    assert problem in problems[0]


def test_expected_volumes_are_read_again(tmp_path):
    name = LABEL_MAP.structures[0].name
    folder = tmp_path / "bundle"
    bundle = publish_bundle(folder, metadata(expected_ml={name: (2.5, 4)}), WEIGHTS, "A card.")
    assert load_bundle(folder).expected_ml == {name: (2.5, 4.0)}
    assert "expected_ml" not in metadata()[SECTION]
    assert bundle.sha256 != publish_bundle(tmp_path / "other", metadata(), WEIGHTS, "A card.").sha256


def test_a_modality_name_that_would_leave_the_output_folder_is_refused():
    intensity = {"../T1w": {}, "T2w": {}}
    problems = metadata_problems(metadata(modalities=("../T1w", "T2w"), intensity=intensity), hashed=False)
    assert problems == ["modalities ['../T1w', 'T2w']: use letters, digits and _ . + - only"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"crossmodalseg": 3}', "\ud800"])
def test_metadata_that_are_not_ours_are_a_typed_error(bundle, content):
    (bundle.path / "configs" / "metadata.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(BundleError, match="bundle-invalid"):
        read_bundle(bundle.path)


def test_a_changed_number_in_the_metadata_is_noticed(bundle):
    """Valid JSON that describes another model: no hash of the other files shows it."""
    file = bundle.path / "configs" / "metadata.json"
    content = file.read_text()
    for old, new in (("1.5", "1.6"), ('"value": 17', '"value": 16'), ("T2w", "T1c")):
        if old not in content:
            continue
        file.write_text(content.replace(old, new))
        with pytest.raises(BundleError, match=f"metadata.json has sha256 .* expected {bundle.sha256}"):
            load_bundle(bundle.path)
    file.write_text(json.dumps(json.loads(content)))  # other white space is the same
    assert load_bundle(bundle.path).sha256 == bundle.sha256
    (bundle.path / SEAL_FILE).write_bytes(b"\xff")
    with pytest.raises(BundleError, match="bundle-corrupt"):
        load_bundle(bundle.path)
    (bundle.path / SEAL_FILE).unlink()  # as earlier versions have published
    load_bundle(bundle.path)


def test_the_metadata_fulfil_monai_s_schema(bundle):
    """Keys and types that MONAI's meta_schema_20240725.json requires."""
    data = bundle.metadata
    for key in ("schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description",
                "authors", "copyright", "intended_use"):  # fmt: skip
        assert isinstance(data[key], str), key
    for key in ("changelog", "required_packages_version"):
        assert isinstance(data[key], dict), key
    tensors = data["network_data_format"]["inputs"] | data["network_data_format"]["outputs"]
    assert list(tensors) == ["volumes", "presence", "T1w", "T2w"]
    for tensor in tensors.values():
        assert {"type", "format", "num_channels", "spatial_shape", "dtype", "value_range"} <= set(tensor)
    assert tensors["T2w"]["channel_def"] == {"0": "background", "1": "left hippocampus", "2": "right hippocampus"}
    assert tensors["T2w"]["num_channels"] == 3


def test_monai_builds_the_sliding_window_and_the_network_from_the_inference_config(bundle):
    parser = pytest.importorskip("monai.bundle").ConfigParser()
    parser.read_config(bundle.path / "configs" / "inference.json")
    assert parser.get_parsed_content("inferer").roi_size == [32, 48, 64]
    assert parser.get_parsed_content("network_def").stride == 4


class TestFindingBundles:
    def test_a_bundle_is_found_by_name_and_by_folder(self, bundle):
        assert load_bundle("test-model", [bundle.path.parent]) == load_bundle(str(bundle.path))

    def test_the_first_of_a_name_on_the_search_path_wins(self, tmp_path, bundle):
        other = publish_bundle(tmp_path / "site" / "test-model", metadata(version="2.0.0"), WEIGHTS, "card")
        places = [other.path.parent, bundle.path.parent]
        assert load_bundle("test-model", places).version == "2.0.0"
        assert [b.version for b in list_bundles(places)] == ["2.0.0"]

    def test_an_unknown_name_lists_what_there_is_and_where_it_was_looked_for(self, tmp_path, bundle):
        with pytest.raises(BundleError) as caught:
            load_bundle("other", [tmp_path / "nowhere", bundle.path.parent])
        assert caught.value.code == "bundle-not-found"
        assert str(tmp_path / "nowhere") in caught.value.message
        assert str(bundle.path.parent) in caught.value.message
        assert "test-model" in caught.value.hint

    def test_a_folder_without_metadata_is_said_to_be_one(self, tmp_path):
        with pytest.raises(BundleError, match=r"bundle-not-found\]: folder without configs/metadata\.json"):
            load_bundle(tmp_path, [])

    def test_a_broken_bundle_is_logged_and_does_not_hide_the_others(self, bundle, caplog):
        broken = publish_bundle(bundle.path.parent / "broken", metadata(), WEIGHTS, "card")
        (broken.path / "configs" / "metadata.json").write_text("{")
        assert [b.name for b in list_bundles([bundle.path.parent])] == ["test-model"]
        assert "broken" in caplog.text

    def test_a_bundle_that_is_still_being_written_is_not_listed(self, bundle):
        bundle.path.rename(bundle.path.with_name(".0123.test-model"))
        assert list_bundles([bundle.path.parent]) == []

    def test_the_search_path_is_the_environment_then_the_shipped_then_the_user_s(self, tmp_path, monkeypatch):
        import os

        monkeypatch.setenv("CROSSMODALSEG_BUNDLES", f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}")
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        path = bundle_search_path()
        assert path[:2] == (tmp_path / "a", tmp_path / "b")
        assert path[2].parts[-3:] == ("CrossModalSeg", "Resources", "Bundles")
        assert path[3].parts[-2:] == ("Resources", "Bundles")
        if sys.platform == "linux":
            assert path[-1] == tmp_path / "data" / "crossmodalseg" / "bundles"


class TestCommand:
    @pytest.fixture(autouse=True)
    def search_path(self, bundle, monkeypatch):
        monkeypatch.setenv("CROSSMODALSEG_BUNDLES", str(bundle.path.parent))

    def test_list_prints_each_bundle_on_a_line(self, capsys):
        assert cli.main(["bundle", "list"]) == 0
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert lines[0] == ["NAME", "VERSION", "MODALITIES", "STRUCTURES"]
        assert ["test-model", "1.2.0", "T1w", "+", "T2w", "2"] in lines

    def test_show_prints_identity_intended_use_and_structures_with_codes(self, bundle, capsys):
        assert cli.main(["bundle", "show", "test-model"]) == 0
        out = capsys.readouterr().out
        assert bundle.sha256 in out
        assert "Not for clinical use" in out
        assert "17     left hippocampus   SCT 5366008 Hippocampus  Left" in out

    def test_verify_confirms_a_whole_bundle(self, capsys):
        assert cli.main(["bundle", "verify", "test-model"]) == 0
        assert "test-model 1.2.0 is whole: 3 files match" in (told := capsys.readouterr().out)
        assert told.count("\n") == 1

    def test_verify_says_where_the_metadata_cannot_be_checked(self, bundle, capsys):
        (bundle.path / "configs" / "metadata.sha256").unlink()
        assert cli.main(["bundle", "verify", "test-model"]) == 0
        assert "there is no configs/metadata.sha256" in capsys.readouterr().out

    def test_verify_of_a_damaged_bundle_is_one_line_on_stderr_and_exit_code_2(self, bundle, capsys):
        (bundle.path / "docs" / "README.md").write_text("forged")
        assert cli.main(["bundle", "verify", "test-model"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error[bundle-corrupt]:")
        assert err.count("\n") == 1

    @pytest.mark.parametrize("action", ["list", "show", "verify"])
    def test_help_shows_an_example(self, action, capsys):
        with pytest.raises(SystemExit, match="0"):
            cli.main(["bundle", action, "--help"])
        assert f"example: crossmodalseg bundle {action}" in capsys.readouterr().out


def test_reading_bundles_and_segmentations_loads_no_torch():
    modules = (
        "CrossModalSegLib.bundles.bundle, CrossModalSegLib.imaging.segmentation_io, CrossModalSegLib.commands.bundle"
    )
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
