"""The segments in a .seg.nrrd file of 3D Slicer: their fields, and their voxels in one or several layers.

Source: Slicer developer guide, "Segmentation labelmap file format (.seg.nrrd)", and what Slicer's
``vtkMRMLSegmentationStorageNode`` reads. Since Slicer 4.11, segments that do not overlap share a layer, in which each
has a ``LabelValue``; before, each segment was a layer of its own, and had neither ``Layer`` nor ``LabelValue``.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from CrossModalSegLib.errors import LabelError
from CrossModalSegLib.labels import LabelMap, Structure, Terminology
from CrossModalSegLib.plurals import some_of

TERMINOLOGY_TAG = "TerminologyEntry"
BINARY = "Binary labelmap"
_FIELD = re.compile(r"Segment(\d{1,9})_(\w+)")
_REPRESENTATIONS = ("Segmentation_SourceRepresentation", "Segmentation_MasterRepresentation")
_GREY = "0.5 0.5 0.5"
_SAVE_AGAIN = "save the segmentation again"


@dataclass(frozen=True)
class Segment:
    """One segment: its structure, whose value is the one that it has in ``layer``; ``own_layer`` where the whole layer
    is it, whatever its value."""

    structure: Structure
    layer: int
    own_layer: bool = False

    def mask(self, layers: np.ndarray) -> np.ndarray:
        """Where it is, in layers (K, J, I, layer)."""
        stored = layers[..., self.layer]
        return stored != 0 if self.own_layer else stored == self.structure.value


def has_segments(fields: Mapping[str, str]) -> bool:
    """Whether an NRRD file's own fields are those of a segmentation."""
    return any(_FIELD.fullmatch(key) for key in fields)


def segments_in(fields: Mapping[str, str], layers: int, path: Path) -> list[Segment]:
    """The segments that the ``fields`` of a file with so many ``layers`` describe.

    Raises LabelError ``bad-label-map``, ``bad-terminology``, or ``fractional-segments`` where voxels hold no labels.
    """
    named = next((fields[key] for key in _REPRESENTATIONS if key in fields), BINARY)
    if named != BINARY:
        what = f"{path} holds a {named.lower()!r}, whose voxels are no labels"
        raise LabelError("fractional-segments", what, "save it as a binary labelmap")
    found: dict[int, dict[str, str]] = {}
    for key, value in fields.items():
        if match := _FIELD.fullmatch(key):
            found.setdefault(int(match[1]), {})[match[2]] = value
    is_old = not any("LabelValue" in segment or "Layer" in segment for segment in found.values())
    segments = []
    for position, (number, segment) in enumerate(sorted(found.items())):
        try:
            layer = position if is_old and layers > 1 else int(segment.get("Layer", "0"))
            own_value = 1 if is_old else int(segment["LabelValue"])
            is_whole_layer = is_old and (layers > 1 or len(found) == 1)
            segments.append(Segment(_structure(segment, own_value), layer, is_whole_layer))
        except (KeyError, ValueError) as error:
            raise LabelError("bad-label-map", f"{path}: Segment{number}_*: {error}", _SAVE_AGAIN) from error
    _refuse_impossible(segments, layers, path)
    return segments


def merged(layers: np.ndarray, segments: Sequence[Segment], path: Path) -> tuple[np.ndarray, LabelMap]:
    """All segments in one array (K, J, I), and their label map; ``layers`` (K, J, I, layer).

    Segments keep their values where each has one of its own; else they are numbered from 1, in their order.

    Raises LabelError ``overlapping-segments`` (names two), ``unknown-label-values`` where voxels are of no segment,
    ``bad-label-map``.
    """
    values = [one.structure.value for one in segments]
    if len(set(values)) < len(values):
        values = list(range(1, len(values) + 1))
    structures = tuple(replace(one.structure, value=value) for one, value in zip(segments, values, strict=True))
    try:
        label_map = LabelMap(structures)
    except LabelError as error:
        raise LabelError(error.code, f"{path}: {error.message}", _SAVE_AGAIN) from error
    labels = np.zeros(layers.shape[:3], np.uint8 if max(values) < 256 else np.uint16)
    for segment, value in zip(segments, values, strict=True):
        mask = segment.mask(layers)
        clash = labels[mask]
        if clash.any():
            other = label_map.by_value(int(clash[clash > 0][0])).name
            what = (
                f"{path}: segments {other!r} and {segment.structure.name!r} overlap in {np.count_nonzero(clash)} voxels"
            )
            hint = "a voxel can have one label: remove the overlap in the Segment Editor"
            raise LabelError("overlapping-segments", what, hint)
        labels[mask] = value
    _refuse_nameless(layers, segments, path)
    return labels, label_map


def _structure(segment: Mapping[str, str], value: int) -> Structure:
    parts = [float(part) for part in segment.get("Color", _GREY).split()]
    if len(parts) != 3 or not np.isfinite(parts).all():
        raise ValueError(f"{segment['Color']!r} is no colour")
    red, green, blue = (round(part * 255) for part in parts)
    tags = dict(tag.split(":", 1) for tag in segment.get("Tags", "").split("|") if ":" in tag)
    entry = tags.get(TERMINOLOGY_TAG)
    return Structure(
        value=value,
        name=segment.get("Name") or segment["ID"],
        color=(red, green, blue),
        terminology=Terminology.from_slicer_tag(entry) if entry else None,
    )


def _refuse_impossible(segments: Sequence[Segment], layers: int, path: Path) -> None:
    beyond = [repr(one.structure.name) for one in segments if not 0 <= one.layer < layers]
    if beyond:
        what = f"{path} has {layers} layers, and {some_of(beyond)} elsewhere"
        raise LabelError("bad-label-map", what, _SAVE_AGAIN)
    nothing = [repr(one.structure.name) for one in segments if one.structure.value < 1]
    if nothing:
        raise LabelError("bad-label-map", f"{path}: {some_of(nothing)} with the value of background", _SAVE_AGAIN)
    for (layer, value), count in Counter((one.layer, one.structure.value) for one in segments).items():
        if count > 1:
            raise LabelError("bad-label-map", f"{path}: value {value} occurs twice in layer {layer}", _SAVE_AGAIN)


def _refuse_nameless(layers: np.ndarray, segments: Sequence[Segment], path: Path) -> None:
    """Voxels that no segment describes would be background, and nobody would know."""
    for layer in range(layers.shape[3]):
        own = [one for one in segments if one.layer == layer]
        if any(one.own_layer for one in own):
            continue
        unknown = set(np.unique(layers[..., layer]).tolist()) - {0, *(one.structure.value for one in own)}
        if unknown:
            listed = some_of([f"{value:g}" for value in sorted(unknown)])
            raise LabelError("unknown-label-values", f"{path}: voxels hold {listed}, which no segment has", _SAVE_AGAIN)
