"""Real pairs: FLAIR and contrast-enhanced T1w of four patients with glioma, whole tumour, one patient left out at a
time.

    python -m Testing.Benchmarks.method.glioma

Rows 1, 2, 3, 5 and 9 of rows.py; the patients without labels are the unlabelled pool of row 9. Resumable; writes
OUTPUT/<iterations>/<row>-<patient>/ and OUTPUT/<iterations>/table.md. Four patients rank no methods: this shows that
the path works on real pairs.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from CrossModalSegLib.atomic import write_atomically
from CrossModalSegLib.imaging.segmentation_io import read_segmentation
from CrossModalSegLib.imaging.volume import read_volume
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.training.config import TrainingConfig
from CrossModalSegLib.training.training_case import TrainingCase, training_case
from Testing.Benchmarks.method.fitting import fit, labelled_source, make_network
from Testing.Benchmarks.method.patients import Scan
from Testing.Benchmarks.method.rows import ROWS, Run
from Testing.Benchmarks.method.run import REPOSITORY, changes_of, tell
from Testing.Benchmarks.method.scoring import Window, rate

DATA = REPOSITORY.parent / "shared" / "data" / "glioma"
OUTPUT = REPOSITORY / "runs" / "glioma"
SCANS = ("FLAIR", "T1c")
TUMOUR = LabelMap((Structure(1, "whole tumour", (200, 60, 60)),))
TITLES = {
    "1": "supervised, FLAIR alone",
    "2": "supervised, T1c alone",
    "3": "supervised, early fusion",
    "5": "supervised, this network, gated fusion",
    "9": "full method",
}
SPACING = 3.0


@dataclass(frozen=True)
class GliomaPatient:
    """A folder with FLAIR.nii.gz, T1c.nii.gz and, where the patient has labels, labels.nii.gz."""

    folder: Path

    @property
    def labelled(self) -> bool:
        """There are labels."""
        return (self.folder / "labels.nii.gz").exists()

    def scan(self, slot: int) -> Scan:
        """One scan; its labels are 1 wherever the expert's are not 0, and empty where there are none."""
        volume = read_volume(self.folder / f"{SCANS[slot]}.nii.gz", SCANS[slot])
        if not self.labelled:
            return Scan(volume, np.zeros(volume.array.shape, np.int16), volume.grid)
        labels, grid, _ = read_segmentation(self.folder / "labels.nii.gz")
        return Scan(volume, (np.rint(labels) > 0).astype(np.int16), grid)

    def case(self, slots: Sequence[int]) -> TrainingCase:
        """The scans for training."""
        scans = {slot: self.scan(slot) for slot in slots}
        labels = {slot: (scan.labels, scan.label_grid) for slot, scan in scans.items() if self.labelled}
        return training_case({slot: scan.volume for slot, scan in scans.items()}, labels, (0, 1), SPACING)


def main(argv: Sequence[str] | None = None) -> None:
    """Every row with every patient left out, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", nargs="*", choices=list(TITLES), default=list(TITLES), help="only these rows")
    parser.add_argument("--patients", nargs="*", help="leave only these out, one at a time")
    parser.add_argument("--set", nargs="*", default=[], metavar="TABLE.KEY=VALUE", help="other than in base.toml")
    args = parser.parse_args(argv)
    if args.set and args.output.resolve() == OUTPUT:
        parser.error("--set needs an --output of its own: scores of other settings would end in one table")
    torch.set_num_threads(args.threads)
    patients = [GliomaPatient(folder) for folder in sorted(args.data.iterdir()) if folder.is_dir()]
    output = args.output / str(args.iterations)
    labelled = {one.folder.name: one for one in patients if one.labelled}
    if not labelled or not set(args.patients or ()) <= labelled.keys():
        parser.error(f"{args.data} has labels of these patients: {', '.join(labelled) or 'none'}")
    tested = [labelled[name] for name in args.patients or labelled]
    for row in args.rows:
        config = config_of(row, args.iterations, changes_of(args.set))
        for left_out in tested:
            carry_out(row, left_out, [one for one in patients if one is not left_out], output, config)
    write_atomically(output / "table.md", table(output).encode())
    print(table(output))


def carry_out(
    row: str, left_out: GliomaPatient, others: Sequence[GliomaPatient], output: Path, config: TrainingConfig
) -> None:
    """Train without one patient and score on that patient; nothing where scores are there. Leaves the program where
    they are of other settings; those of before settings were noted are taken for the default ones."""
    folder = output / f"{row}-{left_out.folder.name}"
    settings = json.loads(json.dumps(asdict(config)))
    if (folder / "scores.json").exists():
        before = json.loads((folder / "scores.json").read_text("utf-8")).get("configuration")
        if (before or default_settings(row, config)) != settings:
            sys.exit(f"{folder} has scores of other settings: give another --output")
        return
    folder.mkdir(parents=True, exist_ok=True)
    kind = ROWS[row]
    torch.manual_seed(0)
    network = make_network(kind, config, 2)
    source = labelled_source(kind, [p.case(kind.scans) for p in others if p.labelled], config)
    pool = [p.case(kind.scans) for p in others if not p.labelled] if kind.semi is not None else None
    fit(config, ["whole tumour"], source, pool, None, network, folder, tell(folder.name))
    window = Window(config.patch, (SPACING,) * 3, TUMOUR)
    rated = rate(network, {slot: left_out.scan(slot) for slot in kind.scans}, window)
    scores = {SCANS[slot]: structures["whole tumour"] for slot, structures in rated.items()}
    write_atomically(
        folder / "scores.json",
        json.dumps({"scores": scores, "configuration": settings}, indent=1).encode(),
    )


def default_settings(row: str, config: TrainingConfig) -> dict[str, Any]:
    """As JSON, those of a row that is trained as long as ``config`` says."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(config_of(row, config.training.iterations, {}))))
    return settings


def config_of(row: str, iterations: int, changes: Mapping[str, Any]) -> TrainingConfig:
    """The hippocampus benchmark's configuration on a coarser grid; ``changes`` are entries by dotted name."""
    config = Run(row, 0, 0, iterations, changes=changes).config("gated")
    return replace(config, name="glioma-pair", modalities=SCANS, spacing=SPACING)


def table(output: Path) -> str:
    """Dice of the patient that was left out, by row; of FLAIR's label map / of T1c's, where a row has two."""
    found = {row: _dice(output, row) for row in TITLES}
    names = sorted({name for patients in found.values() for name in patients})
    lines = [f"| Dice, whole tumour | {' | '.join(names)} | mean |", "|---" * (len(names) + 2) + "|"]
    for row, patients in found.items():
        if patients:
            means = [np.mean(scan) for scan in zip(*patients.values(), strict=True)]
            cells = [_cell(patients.get(name, ())) for name in names] + [_cell(means)]
            lines.append(f"| {row}. {TITLES[row]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _dice(output: Path, row: str) -> dict[str, list[float]]:
    """By patient, of each scan."""
    runs = sorted(output.glob(f"{row}-*/scores.json"))
    scores = {path.parent.name[2:]: json.loads(path.read_text("utf-8"))["scores"] for path in runs}
    return {patient: [scans[name][0] for name in SCANS if name in scans] for patient, scans in scores.items()}


def _cell(values: Sequence[float]) -> str:
    return " / ".join(dict.fromkeys(f"{value:.3f}" for value in values)) or "–"


if __name__ == "__main__":
    main()
