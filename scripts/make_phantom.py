"""Make the sample pair: T1w and T2w of a digital head phantom, with the true label map of the T1w.

    python scripts/make_phantom.py --label-maps ../shared/data/brain-label-maps --output /tmp/phantom

The result depends on the label maps and the seed alone. Takes about seven minutes on one core and 3 GB of memory.
"""

import argparse
import logging
import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from phantom_acquisition import Acquisition, acquire, divide_soft_tissue
from phantom_anatomy import BRAIN_LABELS, STRUCTURES, array_to_image, lookup_table, make_virtual_head, neighbourhood

logger = logging.getLogger(__name__)

SEED = 20240607
FINE_SPACING_MM = 0.8
SAMPLE_DATA = Path(__file__).resolve().parents[1] / "CrossModalSeg" / "Resources" / "SampleData"


def rotation(axis: int, degrees: float) -> np.ndarray:
    """3x3 matrix that turns about one LPS axis (0 left, 1 posterior, 2 superior)."""
    transform = sitk.Euler3DTransform()
    angles = [0.0, 0.0, 0.0]
    angles[axis] = float(np.deg2rad(degrees))
    transform.SetRotation(*angles)
    return np.reshape(transform.GetMatrix(), (3, 3))


def centre_of(head: sitk.Image, labels: tuple[int, ...]) -> np.ndarray:
    """LPS point in the middle of the bounding box of some labels."""
    box = neighbourhood(np.isin(sitk.GetArrayViewFromImage(head), labels), margin=0)
    middle = [(side.start + side.stop - 1) / 2 for side in reversed(box)]
    return np.array(head.TransformContinuousIndexToPhysicalPoint(middle))


def t1w_acquisition(head: sitk.Image) -> Acquisition:
    """Whole head, axes to L, P and S, 1.2 mm."""
    spacing = (1.2, 1.2, 1.2)
    box = neighbourhood(sitk.GetArrayViewFromImage(head) > 0, margin=4)
    extent = [(side.stop - side.start) * head.GetSpacing()[0] for side in reversed(box)]
    return Acquisition(
        modality="T1w",
        spacing=spacing,
        size=tuple(int(length / step) for length, step in zip(extent, spacing, strict=True)),
        direction=np.eye(3),
        centre=centre_of(head, tuple(np.unique(sitk.GetArrayViewFromImage(head))[1:])),
        motion=sitk.Transform(3, sitk.sitkIdentity),
        bias=0.12,
        noise=2.5,
    )


def t2w_acquisition(head: sitk.Image) -> Acquisition:
    """Oblique 3 mm slices, stored from the top down (left-handed); 102 mm of the brain's height.

    The patient moved by 1.0 degree about the long axis and by (0.6, -0.5, 0.7) mm (LPS) after the T1w.
    """
    middle = centre_of(head, BRAIN_LABELS)
    top_down = np.diag([1.0, 1.0, -1.0])
    motion = sitk.Euler3DTransform(middle.tolist(), 0.0, 0.0, float(np.deg2rad(1.0)), (0.6, -0.5, 0.7))
    return Acquisition(
        modality="T2w",
        spacing=(0.9, 0.9, 3.0),
        size=(180, 224, 34),
        direction=rotation(0, 12.0) @ rotation(1, 7.0) @ top_down,
        centre=middle + np.array([0.0, 0.0, 4.0]),
        motion=motion,
        bias=0.15,
        noise=2.5,
    )


def true_labels(head: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """Label map (int16) of the 32 structures on the grid of a volume."""
    table = lookup_table({label: label for label in STRUCTURES}, dtype=np.int16)
    kept = array_to_image(table[sitk.GetArrayViewFromImage(head)], like=head)
    return sitk.Resample(kept, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)


def write(image: sitk.Image, path: Path) -> None:
    """Write a gzip-compressed NRRD file and say how large it is."""
    sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=9)
    logger.info("%s: %s voxels, %.2f MB", path, image.GetSize(), path.stat().st_size / 1e6)


def make_pair(head: sitk.Image, output: Path, rng: np.random.Generator) -> None:
    """Write the T1w, the T2w and the true label map of a virtual head to the output folder."""
    tissues = divide_soft_tissue(head, rng)
    t1w = acquire(tissues, t1w_acquisition(head), rng)
    t2w = acquire(tissues, t2w_acquisition(head), rng)
    write(t1w, output / "phantom_T1w.nrrd")
    write(t2w, output / "phantom_T2w.nrrd")
    write(true_labels(head, t1w), output / "phantom_labels.nrrd")


def parse_arguments() -> argparse.Namespace:
    """Command line; the folder of label maps defaults to the one in CROSSMODALSEG_DATA."""
    data = os.environ.get("CROSSMODALSEG_DATA")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--label-maps",
        type=Path,
        default=Path(data) / "brain-label-maps" if data else None,
        required=data is None,
        help="folder with training_seg_01.nii.gz and so on (default: brain-label-maps in CROSSMODALSEG_DATA)",
    )
    parser.add_argument("--output", type=Path, default=SAMPLE_DATA, help="folder to write to (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    """Make the anatomy, scan it twice, write three files."""
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments.output.mkdir(parents=True, exist_ok=True)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # sums in a fixed order: the same phantom on every machine
    anatomy_seed, acquisition_seed = np.random.SeedSequence(SEED).spawn(2)
    head = make_virtual_head(arguments.label_maps, np.random.default_rng(anatomy_seed), FINE_SPACING_MM)
    make_pair(head, arguments.output, np.random.default_rng(acquisition_seed))


if __name__ == "__main__":
    main()
