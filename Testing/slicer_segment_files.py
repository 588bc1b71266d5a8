"""A .seg.nrrd as different versions of 3D Slicer write it, for tests."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from CrossModalSegLib.imaging.grid import LPS_TO_RAS, Grid

Segment = tuple[str, int, int]  # name, value, layer


def write_slicer_file(
    path: Path, layers: Sequence[np.ndarray], grid: Grid, segments: Sequence[Segment], is_old: bool = False, **more: str
) -> Path:
    """``layers`` (K, J, I) uint8 on ``grid``; ``is_old``: as before Slicer 4.11, without values and layers. ``more``
    are fields of the file."""
    lps = LPS_TO_RAS @ grid.ijk_to_ras
    several = len(layers) > 1
    sizes = [*([len(layers)] if several else []), *grid.shape_ijk]
    directions = [*(["none"] if several else []), *(_vector(lps[:3, axis]) for axis in range(3))]
    lines = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, sizes))}",
        f"space directions: {' '.join(directions)}",
        f"kinds: {'list ' if several else ''}domain domain domain",
        "encoding: gzip",
        f"space origin: {_vector(lps[:3, 3])}",
        *(f"{key}:={value}" for key, value in {"Segmentation_MasterRepresentation": "Binary labelmap", **more}.items()),
    ]
    for number, (name, value, layer) in enumerate(segments):
        fields = {"ID": f"Segment_{number + 1}", "Name": name, "Color": "0.5 0.6 0.7", "Extent": "0 9 0 9 0 9"}
        fields |= {} if is_old else {"LabelValue": str(value), "Layer": str(layer)}
        lines += [f"Segment{number}_{key}:={text}" for key, text in fields.items()]
    voxels = np.stack(layers, axis=-1).astype(np.uint8)  # the layer is the fastest axis
    path.write_bytes("\n".join([*lines, "", ""]).encode() + gzip.compress(voxels.tobytes()))
    return path


def _vector(numbers: np.ndarray) -> str:
    return f"({','.join(repr(float(number)) for number in numbers)})"
