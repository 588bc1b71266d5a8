"""NIfTI files for tests: written by nibabel, then changed byte by byte as old tools and bad disks do."""

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

# Where the fields of a NIfTI-1 header lie, by nifti1.h.
DIM, DATATYPE, BITPIX, PIXDIM, VOX_OFFSET = 40, 70, 72, 76, 108
SLOPE, INTERCEPT, UNITS, QFORM_CODE, SFORM_CODE, QUATERNION, SROW = 112, 116, 123, 252, 254, 256, 280
DATA = np.random.default_rng(0).integers(0, 900, (5, 6, 7)).astype(np.int16)  # (i, j, k)
AFFINE = np.array([[-2.0, 0, 0, 53], [0, 2.5, 0, -65], [0, 0, 4.0, -43], [0, 0, 0, 1]])


def write_nifti(
    path: Path,
    data: np.ndarray = DATA,
    sform: np.ndarray | None = AFFINE,
    qform: np.ndarray | None = AFFINE,
    codes: tuple[int, int] = (1, 1),
    kind: type = nib.Nifti1Image,
    units: str = "mm",
    endianness: str = "<",
) -> Path:
    """``codes`` are the sform's and the qform's."""
    header = kind.header_class(endianness=endianness)  # type: ignore[attr-defined]
    image = kind(data, None, header)
    image.set_sform(sform, codes[0])
    image.set_qform(qform, codes[1])
    image.header.set_xyzt_units(units)
    image.set_data_dtype(data.dtype)
    nib.save(image, path)
    return path


def patch(path: Path, offset: int, form: str, *values: Any) -> Path:
    """Change bytes of the file, or of what a .gz file holds."""
    is_zipped = path.name.endswith(".gz")
    content = bytearray(gzip.decompress(path.read_bytes()) if is_zipped else path.read_bytes())
    struct.pack_into(form, content, offset, *values)
    path.write_bytes(gzip.compress(bytes(content)) if is_zipped else bytes(content))
    return path
