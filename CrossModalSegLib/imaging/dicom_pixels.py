"""The pixels of DICOM slices: each file by itself, so that what is missing or cannot be decoded is told by name.

What is stored as it is, or run-length encoded (RLE), is decoded by pydicom, which counts the bytes; the JPEG family by
ITK's GDCM, after its streams were looked at: a stream that was cut is decoded to its end without an error otherwise.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import FileDataset
from pydicom.encaps import generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from CrossModalSegLib.errors import InputError, read_error
from CrossModalSegLib.imaging.dicom_header import HEAD_BYTES, Slice, opened, read_data_set
from CrossModalSegLib.temporary import temporary_folder

INVERTED = "MONOCHROME1"  # the highest value is shown black (PS3.3 C.7.6.3.1.2)
_COPY_AGAIN = "copy or export the series again"
_NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
)
# Baseline, extended, lossless (two), JPEG-LS (two), JPEG 2000 (two): what GDCM decodes.
_JPEG = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70, 80, 81, 90, 91))
_STREAM_BEGINS = (b"\xff\xd8", b"\xff\x4f")  # JPEG and JPEG-LS, JPEG 2000
_STREAM_ENDS = b"\xff\xd9"  # in all of them
_PADDING_BYTES = 8
_OVERLAY_GROUPS = 0x60  # 6000 to 60FF (PS3.3 C.9.2)
_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def read_pixels(slices: Sequence[Slice], on_left_out: Callable[[str], None] = lambda _name: None) -> np.ndarray:
    """The slices' values (K, J, I) in their order, rescaled; integers where no rescaling is asked for.

    ``on_left_out(name)`` is called for each file with bits that were left out: beside those that its header says are
    stored, and no overlay. Raises InputError ``unreadable``, ``compression``, ``not-scalar`` or ``mixed-series``, with
    the name of the file.
    """
    files = list(dict.fromkeys(one.file for one in slices))
    if len(files) < len(slices):
        _refuse_several_files(files)
        _refuse_several_scales(slices)
        stored = _frames_of(slices[0].file, slices[0], on_left_out)
        return stored[[one.frame for one in slices]]
    return np.stack([_frames_of(one.file, one, on_left_out)[one.frame] for one in slices])


def same_pixels(first: Slice, second: Slice) -> bool:
    """Whether two files hold the same values, however they are stored. Raises as `read_pixels`."""
    return np.array_equal(_frames_of(first.file, first), _frames_of(second.file, second))


def _refuse_several_files(files: Sequence[Path]) -> None:
    if len(files) > 1:
        message = f"{files[0].parent}: the series is {len(files)} multi-frame files"
        raise InputError("several-volumes", message, "give the one file you mean in a folder of its own")


def _refuse_several_scales(slices: Sequence[Slice]) -> None:
    if len({one.rescale for one in slices}) > 1:
        message = f"{slices[0].file}: frames have different rescale slopes or intercepts"
        raise InputError("mixed-series", message, "export the series as single-frame DICOM, NRRD or NIfTI")


def _frames_of(file: Path, like: Slice, on_left_out: Callable[[str], None] = lambda _name: None) -> np.ndarray:
    """All frames of a file (frame, row, column), rescaled as ``like`` says."""
    try:
        header = read_data_set(file)
        syntax = _transfer_syntax(header)
        if int(header.get("SamplesPerPixel") or 1) != 1 or "PALETTE" in str(header.get("PhotometricInterpretation")):
            raise InputError("not-scalar", f"{file} is a colour image", "give a series with one grey value per voxel")
        if syntax in _NATIVE:
            frames = _native_frames(header, syntax)
            if np.issubdtype(frames.dtype, np.integer):
                bits, high_bit = int(header.BitsStored), int(header.HighBit)
                frames = _without_unused_bits(frames, bits, high_bit)
                if syntax != RLELossless and _left_out(header, frames, bits, high_bit):
                    on_left_out(file.name)
                if header.get("PhotometricInterpretation") == INVERTED:
                    frames = _inverted(frames, bits)
            frames = _rescaled(frames, like.rescale)
        elif syntax in _JPEG:
            _refuse_cut_streams(header, like.frames_in_file)
            frames = _decoded_by_gdcm(file)
        else:
            raise _not_decodable(file, syntax)
        frames = frames.reshape(-1, *frames.shape[-2:])
        if frames.shape != (like.frames_in_file, *like.size):
            raise ValueError(f"pixels of {frames.shape}, the header says {(like.frames_in_file, *like.size)}")
    except (InputError, MemoryError):
        raise
    except PermissionError as error:
        raise read_error(str(file), error) from error
    except OSError as error:
        raise InputError("unreadable", f"{file}: {error.strerror or error}", _COPY_AGAIN) from error
    except Exception as error:  # pydicom raises anything where a file is damaged
        raise InputError("unreadable", f"{file}: {_short(error)}", _COPY_AGAIN) from error
    return frames


def _transfer_syntax(header: FileDataset) -> UID:
    """How the pixels are stored; a file without meta information holds them as they are."""
    named = header.file_meta.get("TransferSyntaxUID")
    if named:
        return UID(named)
    is_implicit, is_little_endian = header.original_encoding
    if is_implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if is_little_endian else ExplicitVRBigEndian


def _native_frames(header: FileDataset, syntax: UID) -> np.ndarray:
    header.file_meta.TransferSyntaxUID = syntax
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        frames = header.pixel_array
    _refuse_surplus(header, syntax, frames, complaints)
    return frames


def _refuse_surplus(
    header: FileDataset, syntax: UID, frames: np.ndarray, complaints: Sequence[warnings.WarningMessage]
) -> None:
    """Raises ValueError where there are more pixels than the header says, by a row or more: it says the wrong size."""
    if syntax == RLELossless:
        told = [str(one.message) for one in complaints if "RLE" in str(one.message)]
        if told:
            raise ValueError(told[0])
        return
    stored = next((header[keyword].value for keyword in _PIXEL_KEYWORDS if keyword in header), b"")
    surplus = len(stored) - frames.nbytes
    if surplus >= frames.shape[-1] * frames.dtype.itemsize:
        raise ValueError(f"{surplus} bytes of pixels more than {frames.shape} values need")


def _without_unused_bits(frames: np.ndarray, bits: int, high_bit: int) -> np.ndarray:
    """Bits above and below the stored ones may hold overlays (PS3.5 8.1.1)."""
    allocated = frames.dtype.itemsize * 8
    if not 0 < bits <= high_bit + 1 <= allocated:
        raise ValueError(f"{bits} bits stored below bit {high_bit} of {allocated}")
    if bits == allocated:
        return frames
    return (frames << (allocated - 1 - high_bit)) >> (allocated - bits)


def _left_out(header: FileDataset, kept: np.ndarray, bits: int, high_bit: int) -> bool:
    """Whether bits beside the ``kept`` ones were set, other than to repeat the sign or for an overlay; pydicom clears
    them."""
    has_overlays = _OVERLAY_GROUPS in {tag.group >> 8 for tag in [*header.keys()]}
    if has_overlays or bits == 8 * kept.itemsize:
        return False
    order: Literal["<", ">"] = "<" if header.original_encoding[1] else ">"
    stored = np.frombuffer(header.PixelData, kept.dtype.newbyteorder(order), count=kept.size).reshape(kept.shape)
    shift = high_bit + 1 - bits
    repeats_nothing = stored == (kept & ((1 << bits) - 1)) << shift
    return not bool((repeats_nothing | (stored == kept << shift)).all())


def _inverted(frames: np.ndarray, bits: int) -> np.ndarray:
    """What is bright on the screen is high, as GDCM does it for compressed files."""
    is_signed = np.issubdtype(frames.dtype, np.signedinteger)
    return -1 - frames if is_signed else (1 << bits) - 1 - frames


def _rescaled(frames: np.ndarray, rescale: tuple[float, float]) -> np.ndarray:
    slope, intercept = rescale
    if (slope, intercept) == (1.0, 0.0):
        return frames
    return (frames * slope + intercept).astype(np.float32)


def _refuse_cut_streams(header: FileDataset, count: int) -> None:
    """Raises ValueError where a frame's compressed stream does not begin or end as such streams do."""
    frames = list(generate_frames(header.PixelData, number_of_frames=count))
    if len(frames) != count:
        raise ValueError(f"{len(frames)} of {count} frames")
    for number, stream in enumerate(frames, start=1):
        end = stream.rstrip(b"\0")[-_PADDING_BYTES:]
        if not stream.startswith(_STREAM_BEGINS) or _STREAM_ENDS not in end:
            raise ValueError(f"the compressed pixels of frame {number} are cut or damaged")


def _decoded_by_gdcm(file: Path) -> np.ndarray:
    reader = sitk.ImageFileReader()
    with _as_itk_opens_it(file) as path:
        reader.SetFileName(path)
        reader.SetImageIO("GDCMImageIO")
        image = reader.Execute()
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError("not-scalar", f"{file} is a colour image", "give a series with one grey value per voxel")
    return sitk.GetArrayFromImage(image)


@contextmanager
def _as_itk_opens_it(file: Path) -> Iterator[str]:
    """The path of the file; of a copy where its name is no text, or where it lacks the preamble, which GDCM needs."""
    with file.open("rb") as stream:
        is_plain = stream.read(HEAD_BYTES)[128:] == b"DICM"
    name = os.fsencode(file).decode("utf-8", "replace")
    if is_plain and name == str(file):
        yield name
        return
    with temporary_folder() as folder, opened(file) as stream:
        content = stream.read()
        copy = folder / "slice.dcm"
        copy.write_bytes(content if content[128:132] == b"DICM" else bytes(128) + b"DICM" + content)
        yield str(copy)


def _not_decodable(file: Path, syntax: UID) -> InputError:
    name = str(syntax) if syntax.name == syntax else f"{syntax.name} ({syntax})"
    hint = "export the series uncompressed, or convert it, for example with gdcmconv --raw or dcmdjpeg"
    return InputError("compression", f"{file} is compressed as {name}, which cannot be decoded here", hint)


def _short(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"its pixels cannot be read ({lines[-1].strip() if lines else type(error).__name__})"
