"""``crossmodalseg train``, end to end: from tiny label maps to a bundle that segments."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from CrossModalSegLib.bundles.bundle import load_bundle
from CrossModalSegLib.cli import main
from CrossModalSegLib.imaging.volume import write_volume
from CrossModalSegLib.inference.inference import Segmenter
from Testing.volumes import grid_around, points_of, rotation, sampled

LEFT, RIGHT = 2, 41

CONFIG = """
name = "tiny"
version = "0.3.0"
description = "Two halves of a ball."
licence = "CC-BY-4.0"
modalities = ["T1w", "T2w"]
modality_aliases = { T2w = ["FLAIR"] }
spacing = 2.0
patch = [16, 16, 16]
network = { channels = [4, 8] }
training = { iterations = 3, validate_every = 2, validation_samples = 2, warmup = 1 }
"""


def halves(points: np.ndarray) -> np.ndarray:
    """A ball of 20 mm radius around the origin: its left half is 2, its right half 41, around it is 0."""
    ball = np.linalg.norm(points, axis=-1) < 20
    return np.where(ball, np.where(points[..., 0] < 0, LEFT, RIGHT), 0)


def write_maps(folder: Path, count: int = 3) -> Path:
    """Label maps of 24 to 28 voxels of 2 mm, each with its ball elsewhere."""
    folder.mkdir()
    for number in range(count):
        grid = grid_around((number, -number, 2), (24, 28, 26), (2, 2, 2))
        write_volume(folder / f"map{number}.nii.gz", halves(points_of(grid)).astype(np.int16), grid)
    return folder


def train(folder: Path, *more: object, output: str = "run") -> int:
    arguments = ["--data", folder / "maps", "--output", folder / output, "--config", folder / "tiny.toml"]
    return main(["train", *map(str, arguments), "--device", "cpu", *map(str, more)])


@dataclass
class Trained:
    """A folder with data, configuration and the run of one training, and what that printed."""

    folder: Path
    exit_code: int
    stdout: str
    stderr: str

    @property
    def bundle(self) -> Path:
        return self.folder / "run" / "tiny"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    folder = tmp_path_factory.mktemp("site")
    write_maps(folder / "maps")
    (folder / "tiny.toml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        printed = {name: _Recorder() for name in ("stdout", "stderr")}
        for name, recorder in printed.items():
            patch.setattr(f"sys.{name}", recorder)
        code = train(folder)
    return Trained(folder, code, printed["stdout"].text, printed["stderr"].text)


class _Recorder:
    """A text stream that keeps what is written to it (capsys lives for one test only)."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


# the main path


def test_training_says_what_it_trains_on_and_what_it_published(trained):
    assert trained.exit_code == 0
    assert "2 training cases, 1 for validation, 2 structures, 3 iterations on cpu" in trained.stderr
    assert trained.stdout == f"published {trained.bundle} ({load_bundle(trained.bundle).sha256[:12]})\n"


def test_progress_goes_to_stderr_with_loss_dice_and_time_left(trained):
    last = trained.stderr.splitlines()[-1]
    assert re.fullmatch(r"100% training: step 3 of 3, loss \d+\.\d{3}, Dice \d\.\d{3}, 0:00:00 left", last)


def test_the_published_bundle_is_verified(trained, capsys):
    assert main(["bundle", "verify", str(trained.bundle)]) == 0
    assert "tiny 0.3.0 is whole" in capsys.readouterr().out


def test_the_bundle_says_what_the_configuration_said(trained):
    bundle = load_bundle(trained.bundle)
    assert bundle.modalities == ("T1w", "T2w")
    assert bundle.modality_aliases == {"T2w": ["FLAIR"]}
    assert bundle.label_map.channels == (0, LEFT, RIGHT)
    assert bundle.spacing_mm == (2.0, 2.0, 2.0)
    assert bundle.patch_size == (16, 16, 16)
    assert bundle.network["classes"] == 3
    assert bundle.network["channels"] == [4, 8]
    training = bundle.metadata["crossmodalseg"]["training"]
    assert training["training cases"] == 2
    assert training["iterations"] == 3
    assert training["configuration"]["description"] == "Two halves of a ball."


def test_the_model_card_tells_modalities_structures_licence_and_scores(trained):
    card = (trained.bundle / "docs" / "README.md").read_text()
    for said in ("# tiny 0.3.0", "Two halves of a ball.", "T1w and T2w", "label 2, label 41", "CC-BY-4.0", "Mean Dice"):
        assert said in card


@pytest.mark.parametrize("given", [("T1w",), ("FLAIR",), ("T1w", "T2w")])
def test_the_bundle_segments_volumes_on_their_own_grids(trained, given):
    grids = {
        "T1w": grid_around((0, 0, 0), (26, 24, 20), (2, 2, 2)),
        "T2w": grid_around((3, 0, 0), (20, 24, 16), (2, 2, 3), rotation((5, -10, 15))),
    }
    grids["FLAIR"] = grids["T2w"]
    volumes = {name: sampled(lambda points: 10.0 + 5 * halves(points), grids[name], name) for name in given}
    result = Segmenter(load_bundle(trained.bundle), "cpu").segment(volumes)
    assert tuple(result.modalities) == given
    for name in given:
        labels = result.modalities[name].labels
        assert labels.shape == grids[name].shape_kji
        assert set(np.unique(labels).tolist()) <= {0, LEFT, RIGHT}
        assert np.isfinite(result.modalities[name].confidence).all()


def test_resuming_a_finished_training_publishes_the_same_weights(trained, capsys):
    before = load_bundle(trained.bundle).read_weights()
    assert train(trained.folder, "--resume") == 0
    assert capsys.readouterr().out.startswith(f"published {trained.bundle}")
    after = load_bundle(trained.bundle).read_weights()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def write_cases(folder: Path, count: int, unlabelled: int = 0) -> None:
    """Cases with both scans; the last ones have no labels."""
    for number in range(count):
        case = folder / f"case{number}"
        case.mkdir(parents=True)
        grid = grid_around((number, 0, 0), (26, 24, 22), (2, 2, 2))
        labels = halves(points_of(grid))
        noise = np.random.default_rng(number).random(labels.shape)
        write_volume(case / "T1w.nii.gz", (labels + 5 * noise).astype(np.float32), grid)
        write_volume(case / "T2w.nii.gz", (50 - labels + 5 * noise).astype(np.float32), grid)
        if number < count - unlabelled:
            write_volume(case / "label.nii.gz", labels.astype(np.float32), grid)


@pytest.mark.slow
def test_cases_with_volumes_train_a_bundle_too(tmp_path, capsys):
    write_cases(tmp_path / "maps", 2)
    (tmp_path / "tiny.toml").write_text(CONFIG)
    assert train(tmp_path) == 0
    assert load_bundle(tmp_path / "run" / "tiny").label_map.channels == (0, LEFT, RIGHT)
    assert "2 training cases, 0 for validation, 2 structures" in capsys.readouterr().err
    assert "No validation cases were given." in (tmp_path / "run" / "tiny" / "docs" / "README.md").read_text()


def test_cases_without_labels_take_part_and_are_counted(tmp_path, capsys):
    write_cases(tmp_path / "maps", 3, unlabelled=2)
    (tmp_path / "tiny.toml").write_text(CONFIG)
    assert train(tmp_path) == 0
    assert "1 training case, 0 for validation, 2 cases without labels" in capsys.readouterr().err
    training = load_bundle(tmp_path / "run" / "tiny").metadata["crossmodalseg"]["training"]
    assert training["unlabelled cases"] == 2
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["teacher"] is not None


# bad input


@pytest.fixture
def site(tmp_path) -> Path:
    write_maps(tmp_path / "maps", count=1)
    (tmp_path / "tiny.toml").write_text(CONFIG)
    return tmp_path


def assert_refused(site: Path, capsys, code: str, *said: str, more: tuple[object, ...] = ()) -> None:
    """Exit code 2, one line that begins with the code and says what was wrong, and no bundle."""
    assert train(site, *more) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error[{code}]: ")
    assert printed.err.count("\n") == 1
    assert all(words in printed.err for words in said)
    assert not (site / "run" / "tiny").exists()


def test_a_missing_datalist_is_refused(site, capsys):
    assert_refused(site, capsys, "not-found", "nowhere.json", more=("--data", site / "nowhere.json"))


def test_all_errors_of_a_configuration_are_in_one_line(site, capsys):
    (site / "tiny.toml").write_text('spaing = 1\npatch = "large"\n')
    assert_refused(site, capsys, "config", "spaing: unknown name", "patch: expected tuple")


def test_a_missing_configuration_is_refused(site, capsys):
    (site / "tiny.toml").unlink()
    assert_refused(site, capsys, "not-found", "tiny.toml")


def test_a_truncated_label_map_is_refused(site, capsys):
    path = site / "maps" / "map0.nii.gz"
    path.write_bytes(path.read_bytes()[:200])
    assert_refused(site, capsys, "truncated", "map0.nii.gz")


def test_label_maps_without_a_label_are_refused(site, capsys):
    grid = grid_around((0, 0, 0), (24, 24, 24), (2, 2, 2))
    write_volume(site / "maps" / "map0.nii.gz", np.zeros(grid.shape_kji, np.int16), grid)
    assert_refused(site, capsys, "no-labels")


def test_an_unknown_label_map_is_refused(site, capsys):
    (site / "tiny.toml").write_text('label_map = "brian"\n' + CONFIG)
    assert_refused(site, capsys, "label-map-not-found", "brian")


def test_a_case_of_a_modality_that_is_not_configured_is_refused(site, capsys):
    entry = {"CT": "maps/map0.nii.gz", "label": "maps/map0.nii.gz"}
    (site / "list.json").write_text(json.dumps({"training": [entry]}))
    assert_refused(site, capsys, "datalist", 'unknown name "CT"', more=("--data", site / "list.json"))


def test_a_folder_with_other_content_is_left_alone(site, capsys):
    (site / "run").mkdir()
    (site / "run" / "thesis.txt").write_text("years of work")
    assert_refused(site, capsys, "output-exists", "--resume")
    assert [item.name for item in (site / "run").iterdir()] == ["thesis.txt"]


def test_what_a_run_has_left_that_ended_before_its_first_checkpoint_is_in_no_way(site, capsys):
    (site / "run" / "tensorboard").mkdir(parents=True)
    (site / "tiny.toml").write_text('label_map = "brian"\n' + CONFIG)
    assert_refused(site, capsys, "label-map-not-found", "brian")


def test_a_file_in_the_place_of_the_output_folder_is_refused(site, capsys):
    (site / "run").write_text("a file")
    assert_refused(site, capsys, "output-exists", str(site / "run"))
    assert train(site, "--output", site / "run" / "below") == 2
    assert "error[cannot-write]: " in capsys.readouterr().err
    assert (site / "run").read_text() == "a file"


def test_a_checkpoint_of_another_network_is_refused(site, capsys):
    assert train(site) == 0
    capsys.readouterr()
    checkpoint = (site / "run" / "checkpoint.pt").read_bytes()
    (site / "tiny.toml").write_text(CONFIG.replace("[4, 8]", "[4, 6]").replace('"tiny"', '"other"'))
    assert train(site, "--resume") == 2
    assert "error[checkpoint-differs]" in capsys.readouterr().err
    assert (site / "run" / "checkpoint.pt").read_bytes() == checkpoint
    assert not (site / "run" / "other").exists()
