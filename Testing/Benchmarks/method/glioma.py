"""Real pairs: FLAIR and contrast-enhanced T1w of four patients with glioma, whole tumour, one patient left out at a time.

    python -m Testing.Benchmarks.method.glioma

Rows 1, 2, 3 and 9 of rows.py; the patients without labels are the unlabelled pool of row 9. Resumable; writes
OUTPUT/<iterations>/<row>-<patient>/ and OUTPUT/<iterations>/table.md. Four patients rank no methods: this shows that the path works on real pairs.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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
from Testing.Benchmarks.method.run import REPOSITORY, tell
from Testing.Benchmarks.method.scoring import Window, rate

DATA = REPOSITORY.parent / "shared" / "data" / "glioma"
OUTPUT = REPOSITORY / "runs" / "glioma"
SCANS = ("FLAIR", "T1c")
TUMOUR = LabelMap((Structure(1, "whole tumour", (200, 60, 60)),))
TITLES = {
    "1": "supervised, FLAIR alone",
    "2": "supervised, T1c alone",
    "3": "supervised, early fusion",
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
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    patients = [GliomaPatient(folder) for folder in sorted(args.data.iterdir()) if folder.is_dir()]
    output = args.output / str(args.iterations)
    for row in args.rows:
        for left_out in (patient for patient in patients if patient.labelled):
            carry_out(row, left_out, [one for one in patients if one is not left_out], output, args.iterations)
    write_atomically(output / "table.md", table(output).encode())
    print(table(output))


def carry_out(
    row: str, left_out: GliomaPatient, others: Sequence[GliomaPatient], output: Path, iterations: int
) -> None:
    """Train without one patient and score on that patient; nothing where scores are there."""
    folder = output / f"{row}-{left_out.folder.name}"
    if (folder / "scores.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    config, kind = config_of(row, iterations), ROWS[row]
    torch.manual_seed(0)
    network = make_network(kind, config, 2)
    source = labelled_source(kind, [p.case(kind.scans) for p in others if p.labelled], config)
    pool = [p.case(kind.scans) for p in others if not p.labelled] if kind.semi is not None else None
    fit(config, ["whole tumour"], source, pool, None, network, folder, tell(folder.name))
    window = Window(config.patch, (SPACING,) * 3, TUMOUR)
    rated = rate(network, {slot: left_out.scan(slot) for slot in kind.scans}, window)
    scores = {SCANS[slot]: structures["whole tumour"] for slot, structures in rated.items()}
    write_atomically(
        folder / "scores.json", json.dumps({"iterations": iterations, "scores": scores}, indent=1).encode()
    )


def config_of(row: str, iterations: int) -> TrainingConfig:
    """The hippocampus benchmark's configuration on a coarser grid."""
    config = Run(row, 0, 0, iterations).config("gated")
    return replace(config, name="glioma-pair", modalities=SCANS, spacing=SPACING)


def table(output: Path) -> str:
    """Dice of the patient that was left out, by row."""
    found: dict[str, Mapping[str, Mapping[str, Sequence[float]]]] = {}
    for row in TITLES:
        runs = sorted(output.glob(f"{row}-*/scores.json"))
        found[row] = {path.parent.name[2:]: json.loads(path.read_text("utf-8"))["scores"] for path in runs}
    names = sorted({name for patients in found.values() for name in patients})
    lines = [f"| Dice, whole tumour | {' | '.join(names)} | mean |", "|---" * (len(names) + 2) + "|"]
    for row, patients in found.items():
        dice = [
            np.mean([pair[0] for pair in patients[name].values()]) if name in patients else np.nan for name in names
        ]
        cells = " | ".join(f"{value:.3f}" for value in [*dice, np.mean(dice)])
        lines.append(f"| {row}. {TITLES[row]} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
