"""The hippocampus benchmark's own parts: the simulated scan, the rows, early fusion, and the arithmetic of the
table."""

import argparse
import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from CrossModalSegLib.imaging.volume import Volume, write_volume
from CrossModalSegLib.synthesis.samples import Sample
from CrossModalSegLib.training.objective import Objective
from CrossModalSegLib.training.sources import CaseSource
from Testing.Benchmarks.method import curves, glioma
from Testing.Benchmarks.method import run as run_command
from Testing.Benchmarks.method.campaign import ORDER, plan, refuse_other_settings
from Testing.Benchmarks.method.curves import mean_curve
from Testing.Benchmarks.method.early_fusion import EarlyFusion, count
from Testing.Benchmarks.method.fitting import OneLabelMap
from Testing.Benchmarks.method.patients import split_of
from Testing.Benchmarks.method.rows import ROWS, Run
from Testing.Benchmarks.method.run import REPOSITORY, beginning_of, best_fusion, chosen, claim
from Testing.Benchmarks.method.simulate import ALIGNED, DISPLACED, contrast, simulate
from Testing.Benchmarks.method.table import COLUMNS, differences, interval, per_patient, write_table
from Testing.halves import LabelledHalves
from Testing.markdown_tables import assert_shows
from Testing.volumes import grid_around, points_of

MEASURED = REPOSITORY / "Testing" / "Benchmarks" / "method" / "measured"
GRID = grid_around((0, 0, 0), (30, 40, 28), (1, 1, 1))


def t1_and_labels() -> tuple[Volume, np.ndarray]:
    """A ball of 9 mm whose front is labelled 1 and whose back is labelled 2, in noise that does not show it."""
    points = points_of(GRID)
    ball = np.linalg.norm(points, axis=-1) < 9
    labels = np.where(ball, np.where(points[..., 1] > 0, 1, 2), 0).astype(np.int16)
    noise = np.random.default_rng(0).uniform(100, 200, labels.shape)
    return Volume(noise.astype(np.float32), GRID, "T1w"), labels


# the simulated scan


@pytest.mark.parametrize("placement", [ALIGNED, DISPLACED])
def test_the_same_patient_gets_the_same_scan_and_another_one_another(placement):
    made = [simulate(*t1_and_labels(), placement, contrast(0), patient) for patient in (3, 3, 4)]
    assert np.array_equal(made[0].volume.array, made[1].volume.array)
    assert made[0].volume.grid.is_close(made[1].volume.grid)
    assert made[0].volume.array.shape != made[2].volume.array.shape or not np.array_equal(
        made[0].volume.array, made[2].volume.array
    )


def test_the_second_scan_shows_the_front_which_t1_does_not_and_where_its_labels_say():
    t1, labels = t1_and_labels()
    assert abs(t1.array[labels == 1].mean() - t1.array[labels == 0].mean()) < 2
    for placement in (ALIGNED, DISPLACED):
        made = simulate(t1, labels, placement, contrast(0), 7)
        points = points_of(made.volume.grid)
        indices = np.rint(points @ made.label_grid.ras_to_ijk[:3, :3].T + made.label_grid.ras_to_ijk[:3, 3]).astype(int)
        inside = ((indices >= 0) & (indices < made.label_grid.shape_ijk)).all(-1)
        i, j, k = np.moveaxis(np.where(inside[..., None], indices, 0), -1, 0)
        here = np.where(inside, made.labels[k, j, i], -1)
        assert made.volume.array[here == 1].mean() > made.volume.array[here == 0].mean() + 60


@pytest.mark.parametrize(("placement", "distance", "degrees"), [(DISPLACED, 5.0, 5.0), (ALIGNED, None, None)])
def test_the_patient_has_moved_as_far_as_the_condition_says(placement, distance, degrees):
    for patient in range(5):
        made = simulate(*t1_and_labels(), placement, contrast(0), patient)
        motion = made.label_grid.ijk_to_ras @ GRID.ras_to_ijk
        angle = np.degrees(np.arccos(np.clip((np.trace(motion[:3, :3]) - 1) / 2, -1, 1)))
        shift = np.linalg.norm(motion[:3, 3])  # of the centre, which is at the origin
        if distance is None:
            assert shift < 0.7 * np.sqrt(3)
            assert angle < np.sqrt(3)
        else:
            assert shift == pytest.approx(distance, abs=1e-6)
            assert angle == pytest.approx(degrees, abs=1e-6)


def test_other_recipes_are_other_contrasts_that_stay_where_they_can_be_seen():
    recipes = [contrast(number) for number in range(20)]
    assert len({recipe.curve for recipe in recipes}) == 20
    for recipe in recipes:
        assert sorted(recipe.curve, reverse=True) == list(recipe.curve)
        assert 0.1 < max(map(abs, recipe.offsets)) < 0.2


# patients and rows


def write_patients(folder, count: int):
    t1, labels = t1_and_labels()
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in range(count):
        write_volume(folder / "images" / f"p{number:02}.nii.gz", t1.array, GRID)
        write_volume(folder / "labels" / f"p{number:02}.nii.gz", labels, GRID)
    return folder


def test_patients_are_split_in_ascending_order_70_10_20(tmp_path):
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
        for number in range(200):
            (tmp_path / part / f"h_{number:03}.nii.gz").touch()
    split = split_of(tmp_path, tmp_path / "cache")
    assert [len(part) for part in (split.training, split.validation, split.test)] == [140, 20, 40]
    assert split.test[0].image.name == "h_160.nii.gz"
    assert split.validation[0].number == 140


def test_every_row_is_a_valid_configuration_and_all_have_the_same_augmentation_and_length():
    configs = {name: Run(name, 14, 1, 300).config("gated") for name in ROWS}
    assert len({repr(config.synthesis) for config in configs.values()}) == 1
    assert {config.training.iterations for config in configs.values()} == {300}
    assert configs["4"].network.fusion == "bottleneck"
    assert configs["9"].network.fusion == "gated"
    weights = {name: (c.semi_supervised.csc > 0, c.semi_supervised.cac > 0) for name, c in configs.items()}
    assert [weights[name] for name in ("6", "7", "8", "9")] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]
    assert set(ORDER) | {"u1", "u2", "u9"} == set(ROWS)


def test_a_variant_changes_what_it_names_and_has_a_folder_of_its_own():
    run = Run("9", 14, 0, 300, "strong", {"semi_supervised.csc": 1.0, "network.channels": [4, 8]})
    assert run.name == "9-14-0-strong"
    config = run.config("gated")
    assert config.semi_supervised.csc == 1.0
    assert config.network.channels == (4, 8)


def test_unpaired_patients_have_the_first_or_the_second_scan_in_turn(tmp_path):
    patients = split_of(write_patients(tmp_path, 10), tmp_path / "cache").training[:4]
    assert [slots for _, slots in chosen(patients, ROWS["u9"])] == [(0,), (1,), (0,), (1,)]
    assert [patient.number for patient, _ in chosen(patients, ROWS["u2"])] == [1, 3]
    assert [slots for _, slots in chosen(patients, ROWS["9"])] == [(0, 1)] * 4


# early fusion


def test_early_fusion_has_as_many_parameters_as_asked_and_one_label_map_for_both_scans():
    network = EarlyFusion(3, 100_000)
    assert count(network) == pytest.approx(100_000, rel=0.2)
    volumes = torch.rand(2, 2, 2, 16, 16, 16)
    first, second = network(volumes, torch.zeros(2, 3, 16, 16, 16), torch.ones(2, 2, dtype=torch.bool))
    assert first.shape == (2, 3, 16, 16, 16)
    assert torch.equal(first, second)
    one, other = EarlyFusion(3, 100_000, heads=2)(
        volumes, torch.zeros(2, 3, 16, 16, 16), torch.ones(2, 2, dtype=torch.bool)
    )
    assert one.shape == other.shape == first.shape
    assert not torch.equal(one, other)


def doubled(sample: Sample) -> Sample:
    """Twice the voxels per axis: early fusion halves three times, and normalises what is left."""
    twice = {
        name: getattr(sample, name).repeat_interleave(2, -1).repeat_interleave(2, -2).repeat_interleave(2, -3)
        for name in ("volumes", "position", "labels")
    }
    return replace(sample, **twice)


def test_early_fusion_sees_zeros_for_an_absent_scan_and_trains_as_the_others_do():
    network = EarlyFusion(2, 30_000)
    sources = [OneLabelMap(LabelledHalves(presence)) for presence in ((True, True), (True, False))]
    samples = [doubled(source.sample(n)) for n, source in enumerate(sources)]
    batch = type(samples[0]).stack(samples)
    loss, parts = Objective(network, Run("3", 14, 0, 10).config("gated"))(batch, None, None, 0)
    assert set(parts) == {"supervised"}
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    batch.volumes[1, 1] = 9.0
    absent, _ = network(batch.volumes, batch.position, batch.presence)
    batch.volumes[1, 1] = -9.0
    assert torch.equal(absent, network(batch.volumes, batch.position, batch.presence)[0])


def test_one_label_map_is_the_first_scans_where_both_are_there():
    both, second = LabelledHalves(), LabelledHalves((False, True))
    sample = both.sample(0)
    sample.labels[1] = 0
    assert torch.equal(OneLabelMap(_Fixed(sample)).sample(0).labels[1], sample.labels[0])
    assert torch.equal(OneLabelMap(second).sample(0).labels, second.sample(0).labels)


class _Fixed(LabelledHalves):
    def __init__(self, sample):
        super().__init__()
        self._sample = sample

    def sample(self, _seed):
        return self._sample


# scores and tables


def scores(row: str, seed: int, dice: dict[str, float], validation: float = 0.5, **more) -> dict:
    """Scores of two patients whose two structures have Dice x and x + 0.1, and NSD 0.9."""

    def of(shift: float) -> dict:
        return {"T1w": {p: {"a": [x + shift, 0.9], "b": [x + shift + 0.1, 0.9]} for p, x in dice.items()}}

    test = {"aligned": of(0), "displaced": of(-0.1), "T1w alone": of(-0.2), "SIM alone": {}}
    held = {name: {"T1w": {"v": {"a": [validation, 1]}}} for name in ("aligned", "displaced")}
    configuration = asdict(Run(row, 14, seed, 10).config("gated"))
    facts = {"row": row, "title": ROWS[row].title, "labelled": 14, "seed": seed, "variant": "", "parameters": 1000}
    facts |= {"configuration": configuration, "second modality": "simulated, recipe 0"}
    return {**facts, "test": test, "validation": held, **more}


def write_scores(folder, *runs: dict) -> None:
    for run in runs:
        place = folder / f"{run['row']}-14-{run['seed']}"
        place.mkdir(parents=True)
        (place / "scores.json").write_text(json.dumps(run))


def test_a_patients_score_is_the_mean_over_seeds_and_structures():
    runs = [scores("9", 0, {"p": 0.6, "q": 0.8}), scores("9", 1, {"p": 0.8, "q": 0.8})]
    assert per_patient(runs, [("aligned", "T1w")], "Dice") == pytest.approx({"p": 0.75, "q": 0.85})
    assert per_patient(runs, COLUMNS["one scan missing"], "Dice") == pytest.approx({"p": 0.55, "q": 0.65})
    assert per_patient(runs, [("aligned", "T1w")], "NSD") == pytest.approx({"p": 0.9, "q": 0.9})
    assert per_patient(runs, [("aligned", "SIM")], "Dice") == {}


def test_a_difference_is_between_scans_and_seeds_that_both_rows_have():
    def with_sim(run, dice):
        test = {
            name: {**scans, "SIM": {"p": {"a": [dice, 0.9], "b": [dice, 0.9]}}} for name, scans in run["test"].items()
        }
        return {**run, "test": test}

    full = [with_sim(scores("9", seed, {"p": 0.9}), 0.7) for seed in (0, 1)]  # T1w 0.95
    first_alone = [scores("1", 0, {"p": 0.85})]  # T1w 0.90
    assert differences(full, first_alone, COLUMNS["aligned"]) == pytest.approx([0.05])
    later = [with_sim(scores("9", 0, {"p": 0.7}), 0.5), with_sim(scores("9", 1, {"p": 0.9}), 0.7)]
    only_second = [with_sim(scores("3", 1, {"p": 0.8}), 0.7)]
    assert differences(later, only_second, COLUMNS["aligned"]) == pytest.approx([0.05])  # (0.95 + 0.7 - 0.85 - 0.7) / 2


def test_a_row_with_one_scan_has_no_mean_over_both_and_unpaired_rows_are_compared_among_themselves(tmp_path):
    both = {name: {s: {"p": {"a": [0.8, 0.9]}} for s in ("T1w", "SIM")} for name in ("aligned", "displaced")}
    both |= {f"{s} alone": {s: {"p": {"a": [0.7, 0.9]}}} for s in ("T1w", "SIM")}
    runs = [scores(row, seed, {"p": 0.6}, test=both) for row in ("9", "u9") for seed in (0, 1)]
    write_scores(tmp_path, *runs, scores("1", 0, {"p": 0.6}), scores("u1", 0, {"p": 0.5}))
    write_table(tmp_path)
    lines = (tmp_path / "table.md").read_text().splitlines()
    means = lines[lines.index("| mean Dice | aligned | displaced | one scan missing | seeds | parameters |") :]
    assert next(line for line in means if line.startswith("| 1.")).count("–") == 3
    start = next(n for n, line in enumerate(lines) if line.startswith("| Dice of row u9 minus that of"))
    assert [line[:5] for line in lines[start + 2 : start + 4]] == ["| u1.", ""]
    assert "+0.250 [+0.250, +0.250]" in lines[start + 2]  # 0.8 - 0.55: of T1w alone


def test_the_interval_holds_the_mean_is_repeatable_and_shrinks_with_patients():
    rng = np.random.default_rng(0)
    few, many = rng.normal(0.8, 0.1, 20), rng.normal(0.8, 0.1, 2000)
    low, high = interval(few)
    assert low < few.mean() < high
    assert interval(few) == (low, high)
    # The normal approximation of the interval of 2000 numbers: 1.96 * 0.1 / sqrt(2000).
    assert interval(many)[1] - many.mean() == pytest.approx(1.96 * 0.1 / np.sqrt(2000), rel=0.1)
    assert interval([0.3, 0.3]) == pytest.approx((0.3, 0.3))


def test_the_table_has_rows_in_order_and_differences_between_the_same_patients(tmp_path):
    write_scores(tmp_path, scores("9", 0, {"p": 0.8, "q": 0.6}), scores("3", 0, {"p": 0.7, "q": 0.5}))
    write_table(tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert "second modality (SIM) simulated" in text
    lines = [line for line in text.splitlines() if line.startswith(("| 3.", "| 9."))]
    # Dice, NSD, by scan, difference of means and by scan
    assert [line[2] for line in lines] == ["3", "9", "3", "9", "3", "9", "3", "3"]
    assert "| 0.750 |" in lines[5]
    assert "+0.100 [+0.100, +0.100]" in lines[-1]


def test_what_a_part_adds_is_the_difference_of_the_rows_with_and_without_it(tmp_path):
    write_scores(tmp_path, scores("5", 0, {"p": 0.7}), scores("4", 0, {"p": 0.6}), scores("6", 0, {"p": 0.8}))
    write_table(tmp_path)
    lines = (tmp_path / "table.md").read_text().splitlines()
    (gates,) = (line for line in lines if line.startswith("| gates in the skips (5 − 4) |"))
    assert "| +0.100 [+0.100, +0.100] |" in gates
    assert not any("(7 − 6)" in line for line in lines)


def test_the_bound_with_all_patients_labelled_stands_in_each_table(tmp_path):
    more = scores("9", 0, {"p": 0.8}, labelled=28)
    write_scores(tmp_path, scores("11", 0, {"p": 0.9}), scores("5", 0, {"p": 0.7}), more)
    write_table(tmp_path)
    second = (tmp_path / "table.md").read_text().split("## 28 labelled patients")[1]
    assert "| 11. " in second
    assert "| 5. " not in second


def test_the_better_fusion_is_chosen_on_validation_patients(tmp_path):
    assert best_fusion(tmp_path, 14) == "gated"
    write_scores(
        tmp_path, scores("4", 0, {"p": 0.1}, 0.7), scores("5", 0, {"p": 0.9}, 0.6), scores("5", 1, {"p": 0.9}, 0.7)
    )
    assert best_fusion(tmp_path, 28) == "bottleneck"  # by the seed that both have, and nothing with 28 is there
    write_scores(tmp_path, scores("4", 1, {"p": 0.1}, 0.2))
    assert best_fusion(tmp_path, 14) == "gated"


def test_scores_of_other_settings_are_not_mixed_into_one_table(tmp_path):
    write_scores(tmp_path, scores("9", 0, {"p": 0.8}))
    refuse_other_settings([Run("9", 14, 0, 10), Run("9", 14, 1, 99)], tmp_path)
    with pytest.raises(SystemExit, match="10 iterations"):
        refuse_other_settings([Run("9", 14, 0, 20)], tmp_path)
    with pytest.raises(SystemExit, match="another configuration"):
        refuse_other_settings([Run("9", 14, 0, 10, changes={"training.batch": 3})], tmp_path)


def test_an_output_folder_belongs_to_one_set_of_patients_and_one_contrast(tmp_path):
    data, other = write_patients(tmp_path / "data", 10), write_patients(tmp_path / "other", 11)
    for _ in range(2):
        claim(tmp_path / "runs", data, 0)
    with pytest.raises(SystemExit, match="other data"):
        claim(tmp_path / "runs", other, 0)
    with pytest.raises(SystemExit, match="recipe 3"):
        claim(tmp_path / "runs", data, 3)


def test_patients_that_cannot_be_split_or_have_no_label_are_named(tmp_path):
    with pytest.raises(SystemExit, match="9 files"):
        split_of(write_patients(tmp_path / "few", 9), tmp_path / "cache")
    data = write_patients(tmp_path / "data", 11)
    (data / "images" / "._p00.nii.gz").write_bytes(b"what a file system left")
    assert len(split_of(data, tmp_path / "cache").training) == 8
    (data / "labels" / "p03.nii.gz").unlink()
    with pytest.raises(SystemExit, match="p03"):
        split_of(data, tmp_path / "cache")


def test_how_unlabelled_patients_are_learnt_from_makes_no_other_supervised_row(tmp_path):
    write_scores(tmp_path, scores("9", 0, {"p": 0.8}), scores("5", 0, {"p": 0.8}))
    other = {"semi_supervised.cac": 0.7}
    refuse_other_settings([Run("5", 14, 0, 10, changes=other)], tmp_path)
    with pytest.raises(SystemExit, match="another configuration"):
        refuse_other_settings([Run("9", 14, 0, 10, changes=other)], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("row", ["3", "9", "u9"])
def test_a_row_trains_scores_and_is_not_repeated(tmp_path, capsys, row):
    data = write_patients(tmp_path / "data", 10)
    arguments = ["--row", row, "--labelled", "3", "--iterations", "2", "--data", data, "--output", tmp_path / "runs"]
    arguments += ["--set", "network.channels=[2,4]", "patch=[24,24,24]", "--variant", "tiny"]
    run_command.main(list(map(str, arguments)))
    found = json.loads((tmp_path / "runs" / f"{row}-3-0-tiny" / "scores.json").read_text())
    assert set(found["test"]) == {"aligned", "displaced", "T1w alone", "SIM alone"}
    assert set(found["test"]["aligned"]) == {"T1w", "SIM"}
    assert set(found["test"]["displaced"]["SIM"]) == {"p08", "p09"}
    assert set(found["test"]["SIM alone"]) == {"SIM"}
    assert found["second modality"] == "simulated, recipe 0"
    capsys.readouterr()
    run_command.main(list(map(str, arguments)))
    assert "done before" in capsys.readouterr().out


def test_no_label_of_an_unlabelled_patient_is_read(tmp_path):
    patient = split_of(write_patients(tmp_path / "data", 10), tmp_path / "cache").training[5]
    patient.simulate(0)
    labelled = patient.case((0, 1), True, 1.0)
    assert labelled.labels.unique().tolist() == [0, 1, 2]
    assert not patient.case((0, 1), False, 1.0).labels.any()
    assert patient.case((1,), True, 1.0).presence == (False, True)
    source = CaseSource([labelled], Run("9", 3, 0, 10).config("gated"))
    assert source.sample(0).volumes.shape == (2, 2, 40, 56, 40)


def test_rows_share_their_beginning_where_they_differ_in_the_unlabelled_losses_alone():
    def beginning(row, seed=0, **changes):
        run = Run(row, 14, seed, 100, "-".join(changes), {k.replace("__", "."): v for k, v in changes.items()})
        return beginning_of(run, run.config("gated"))

    assert beginning("5") == beginning("6") == beginning("9") == beginning("9", semi_supervised__cac=0.5)
    different = [beginning("5"), beginning("4"), beginning("5", seed=1), beginning("5", training__learning_rate=0.1)]
    different += [beginning("5", training__iterations=50), beginning("9", semi_supervised__start=0.1)]
    assert len(set(different)) == 6
    assert [row for row in ROWS if ROWS[row].begins_alike] == ["4", "5", "6", "7", "8", "9", "10"]


@pytest.mark.slow
def test_real_pairs_are_left_out_one_by_one_and_nothing_is_trained_twice(tmp_path, capsys):
    t1, labels = t1_and_labels()
    for name in ("a", "b", "c"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        for scan in ("FLAIR", "T1c"):
            write_volume(folder / f"{scan}.nii.gz", t1.array, GRID)
        if name != "c":
            write_volume(folder / "labels.nii.gz", 2 * labels, GRID)
    arguments = ["--data", tmp_path / "data", "--output", tmp_path / "runs", "--iterations", "2"]
    glioma.main(list(map(str, arguments)))
    printed = capsys.readouterr().out
    assert "1-a: 2/2, supervised" in printed
    assert "9-b: 2/2, supervised" in printed
    assert "pseudo_label" in printed.split("9-b: 2/2")[1]  # of patient c, who has no labels
    assert "| Dice, whole tumour | a | b | mean |" in printed
    (row_9,) = [line for line in printed.splitlines() if line.startswith("| 9. full method |")]
    assert row_9.count(" / ") == 3, "a label map per scan"
    only_first = json.loads((tmp_path / "runs" / "2" / "1-a" / "scores.json").read_text())["scores"]
    assert set(only_first) == {"FLAIR"}
    glioma.main(list(map(str, arguments)))
    assert "2/2" not in capsys.readouterr().out
    arguments += ["--rows", "1", "--patients", "b", "--set", "training.learning_rate=0.1"]
    arguments[3] = tmp_path / "other"
    glioma.main(list(map(str, arguments)))
    assert [path.name for path in (tmp_path / "other" / "2").glob("*-*")] == ["1-b"]
    with pytest.raises(SystemExit):
        glioma.main([*map(str, arguments), "--patients", "c"])
    with pytest.raises(SystemExit, match="1-b has scores of other settings"):
        glioma.main([*map(str, arguments), "--set", "training.learning_rate=0.2"])


def test_other_settings_do_not_get_into_the_table_of_the_real_pairs(tmp_path, capsys):
    with pytest.raises(SystemExit):
        glioma.main(["--data", str(tmp_path), "--set", "training.learning_rate=0.1"])
    assert "an --output of its own" in capsys.readouterr().err


def test_a_curve_is_the_mean_over_the_seeds_as_far_as_all_have_come(tmp_path):
    for seed, dice in ((0, [[0.2, 0.4], [0.6, 0.8]]), (1, [[0.4, 0.6]])):
        folder = tmp_path / f"9-14-{seed}"
        folder.mkdir()
        curve = [{"step": 10 * (n + 1), "loss": 1.0, "dice": each} for n, each in enumerate(dice)]
        (folder / "scores.json").write_text(json.dumps({"curve": curve}))
    steps, mean = mean_curve(tmp_path.glob("9-14-[0-9]/scores.json"))
    assert steps.tolist() == [10]
    assert mean == pytest.approx([0.4])
    curves.main(["--output", str(tmp_path), "--picture", str(tmp_path / "picture.png")])
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_tables_in_the_docs_are_those_of_the_scores_that_are_kept(tmp_path):
    kept = tmp_path / "measured"
    shutil.copytree(MEASURED, kept)
    write_table(kept)
    assert_shows(REPOSITORY / "docs" / "method.md", (kept / "table.md").read_text(encoding="utf-8"))
    assert_shows(REPOSITORY / "docs" / "method.md", glioma.table(MEASURED.parent / "measured-glioma" / "600"))


def test_scores_that_are_kept_are_those_that_the_campaign_would_measure():
    names = {path.parent.name for path in MEASURED.glob("*/scores.json")}
    wanted = argparse.Namespace(labelled=14, few_labelled=4, more_labelled=28, seeds=2, iterations=1500, set=[])
    runs = list(plan(wanted))
    assert names <= {run.name for run in runs}
    refuse_other_settings(runs, MEASURED)
