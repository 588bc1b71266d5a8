"""Writes an array as NIfTI-1 with the place that a scan's own header states: both forms, their codes, size and units.

ITK would write its own reading of the place in both forms. A result must lie on its scan in every viewer, also in those
that read another of the two forms than we do, and where the scan does not say how it lies.
"""

import gzip
import struct
from pathlib import Path

import numpy as np

from CrossModalSegLib.atomic import staged_file
from CrossModalSegLib.errors import OutputError
from CrossModalSegLib.imaging.nifti import HEADER_BYTES, TYPES, header_dtype
from CrossModalSegLib.imaging.nifti_forms import NiftiForms

_VOXELS_AT = 352
_MAGIC = b"n+1\0"


def write_nifti_like(path: Path, array: np.ndarray, forms: NiftiForms) -> None:
    """Write ``array`` (K, J, I) to the .nii.gz file ``path``, lying as the scan whose header has these ``forms``.

    The file appears complete or not at all. Raises OutputError ``cannot-write``, ``unknown-format`` for a type of
    number that NIfTI does not have.
    """
    content = _header(array, forms)
    with staged_file(path) as staged:
        try:
            with (
                Path(staged).open("wb") as file,
                gzip.GzipFile("", "wb", fileobj=file, mtime=0) as zipped,
            ):
                zipped.write(content)
                zipped.write(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
        except OSError as error:
            raise OutputError("cannot-write", f"{path}: {error.strerror}", "check space and rights") from error


def _header(array: np.ndarray, forms: NiftiForms) -> bytes:
    code = next((code for code, name in TYPES.items() if np.dtype(name) == array.dtype.newbyteorder("=")), None)
    if code is None:
        raise OutputError("unknown-format", f"voxels of the type {array.dtype}", "use integers or floats")
    fields = np.zeros((), header_dtype(HEADER_BYTES, "<"))
    fields["dim"] = [3, *array.shape[::-1], 1, 1, 1, 1]
    fields["datatype"], fields["bitpix"] = code, 8 * array.dtype.itemsize
    with np.errstate(over="ignore"):  # lengths of NIfTI-2 that float32 cannot hold make no sense in either
        fields["pixdim"][:4] = forms.pixdim
        fields["quatern"], fields["qoffset"], fields["srow"] = forms.quaternion, forms.offset, forms.srow
    fields["vox_offset"], fields["scl_slope"] = _VOXELS_AT, 1
    fields["xyzt_units"], fields["qform_code"], fields["sform_code"] = (
        forms.xyzt_units,
        forms.qform_code,
        forms.sform_code,
    )
    content = bytearray(fields.tobytes()) + bytes(_VOXELS_AT - HEADER_BYTES)
    struct.pack_into("<i", content, 0, HEADER_BYTES)
    content[HEADER_BYTES - len(_MAGIC) : HEADER_BYTES] = _MAGIC
    return bytes(content)
