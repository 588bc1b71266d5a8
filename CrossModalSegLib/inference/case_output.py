"""One case from files to files: reads the volumes, segments them, writes everything a person needs to judge it."""

import gc
import json
import math
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from CrossModalSegLib import __version__
from CrossModalSegLib.atomic import staged_folder
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.dice import dice, joint_counts
from CrossModalSegLib.errors import OutputError
from CrossModalSegLib.imaging.channels import whole_of
from CrossModalSegLib.imaging.finding import Finding
from CrossModalSegLib.imaging.geometry import coverage
from CrossModalSegLib.imaging.label_counts import counts_by_slice, sums_by_value
from CrossModalSegLib.imaging.preflight import Preflight, examine
from CrossModalSegLib.imaging.segmentation_io import NIFTI_SUFFIX, SLICER_SUFFIX, write_segmentation
from CrossModalSegLib.imaging.volume import read_volume, write_volume
from CrossModalSegLib.inference.contents import Look, findings_of_names, look_into
from CrossModalSegLib.inference.inference import ModalityResult, SegmentationResult, Segmenter, modality_slot
from CrossModalSegLib.inference.overview import write_overview
from CrossModalSegLib.inference.result_origin import fingerprint
from CrossModalSegLib.inference.review import review_places
from CrossModalSegLib.inference.sliding_window import Report
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.pacs.export import SUFFIX as DICOM_SUFFIX
from CrossModalSegLib.pacs.export import SegmentedScan, require_exportable, write_objects
from CrossModalSegLib.pacs.made_object import Model
from CrossModalSegLib.pacs.report_object import measured_in
from CrossModalSegLib.pacs.segmentation_object import TYPES, SegmentationType
from CrossModalSegLib.pacs.source_images import source_images

DICOM = "dicom-seg"
_SUFFIXES = {"seg.nrrd": SLICER_SUFFIX, "nii.gz": NIFTI_SUFFIX, DICOM: DICOM_SUFFIX}


@dataclass(frozen=True)
class OutputOptions:
    """What is written: ``format`` of the segmentations ("seg.nrrd", "nii.gz" or "dicom-seg"), probabilities or not.

    In DICOM, ``seg_type`` is that of the segmentations; ``uncertainty_map`` asks for the uncertainty as a map,
    ``structure_set`` for the contours.
    ``look`` finds out beforehand what the scans show; None: only how they are stored is looked at.
    ``assumed_orientation`` (such as "RAS") is that of scans that do not say theirs. ``overview``: a picture as well.
    """

    format: str = "seg.nrrd"
    save_probabilities: bool = False
    overwrite: bool = False
    look: Look | None = look_into
    assumed_orientation: str | None = None
    seg_type: SegmentationType = "binary"
    uncertainty_map: bool = False
    overview: bool = True
    structure_set: bool = False

    def __post_init__(self) -> None:
        """Raises OutputError ``unknown-format``."""
        for given, known in ((self.format, [*_SUFFIXES]), (self.seg_type, TYPES)):
            if given not in known:
                raise OutputError("unknown-format", f"the format {given!r}", f"use one of {', '.join(known)}")


def segment_case(
    segmenter: Segmenter, inputs: Mapping[str, Path], output: Path, options: OutputOptions, report: Report
) -> dict[str, Any]:
    """Segment the volumes in ``inputs`` (modality name -> file) into the folder ``output``; returns the report.

    The folder appears complete or not at all. Raises InputError, GeometryError, OutputError, DeviceError.
    """
    for name in inputs:
        modality_slot(segmenter.bundle, name)
    _refuse_inputs_within(output, inputs)
    with staged_folder(output, options.overwrite) as folder:
        report("reading", 0.0)
        started = time.perf_counter()
        volumes = {name: read_volume(path, name, options.assumed_orientation) for name, path in inputs.items()}
        if options.format == DICOM:
            require_exportable(volumes)
        origin = made_of(segmenter.bundle, inputs, options)
        preflight = examine(list(volumes.values()))
        preflight.raise_if_refused()
        reading = time.perf_counter() - started
        checking = time.perf_counter()
        if options.look is not None:
            report("checking", 0.0)
            found = options.look(segmenter, volumes, lambda _stage, fraction: report("checking", fraction))
            preflight = preflight.with_findings([*findings_of_names(segmenter.bundle, inputs), *found.findings])
        checking = time.perf_counter() - checking
        result = segmenter.segment(volumes, report)
        preflight = preflight.with_findings(_nothing_found(result))
        report("writing", 0.0)
        started = time.perf_counter()
        with _writing_to(output):
            _write_volumes(folder, result, segmenter.bundle.label_map, options)
            if options.overview:
                title = f"{segmenter.bundle.name} {segmenter.bundle.version}    not for clinical use"
                write_overview(folder / "overview.png", result.modalities, segmenter.bundle.label_map, title)
                gc.collect()  # matplotlib's figure, whose parts refer to each other
            writing = time.perf_counter() - started
            seconds = {
                "reading": round(reading, 3),
                "checking": round(checking, 3),
                **result.seconds,
                "writing": round(writing, 3),
            }
            content = case_report(segmenter, result, preflight, seconds) | {"made of": origin}
            if options.format == DICOM:
                _write_dicom(folder, result, segmenter.bundle, content, options)
            (folder / "report.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    report("done", 1.0)
    return content


def _nothing_found(result: SegmentationResult) -> list[Finding]:
    """One finding for each scan whose result is empty: in a table of cases nobody else would tell."""
    empty = [name for name, item in result.modalities.items() if not item.labels.any()]
    remedy = "look at the scan, and whether the model is meant for it"
    return [Finding("warning", "nothing-found", f"{name}: no structure was found.", remedy) for name in empty]


def segmentation_name(modality: str, options: OutputOptions) -> str:
    """Of the file in a result's folder."""
    return f"{modality}_segmentation{_SUFFIXES[options.format]}"


def made_of(bundle: Bundle, inputs: Mapping[str, Path], options: OutputOptions) -> dict[str, Any]:
    """What a result is made of, for `refuse_other_result`: scans by a hash, never by their names. Raises InputError."""
    return {
        "bundle": bundle.sha256,
        "scans": {name: fingerprint(path) for name, path in inputs.items()},
        "options": [options.format, options.save_probabilities, options.assumed_orientation, *_dicom_options(options)],
    }


def _dicom_options(options: OutputOptions) -> list[Any]:
    if options.format != DICOM:
        return []
    return [options.seg_type, options.uncertainty_map, *(["structure-set"] if options.structure_set else [])]


def case_report(
    segmenter: Segmenter, result: SegmentationResult, preflight: Preflight, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """What ``report.json`` holds; volumes in mL, confidence and agreement from 0 to 1, times in seconds, memory in
    GB."""
    bundle = segmenter.bundle
    return {
        "crossmodalseg": __version__,
        "bundle": {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256},
        "intended_use": bundle.intended_use,
        "preflight": preflight.to_json(),
        "structures": _structures(result, bundle),
        "agreement": agreement(result, bundle.label_map),
        "review": [place.to_json() for place in review_places(result, bundle.label_map)],
        "device": result.device,
        "fallbacks": list(result.fallbacks),
        "seconds": dict(seconds),
        "peak_memory_gb": peak_memory_gb(),
    }


def agreement(result: SegmentationResult, label_map: LabelMap) -> dict[str, float | None] | None:
    """Dice per structure between the modalities' results; None for a single modality.

    Compared on the model grid, where both scans cover; a structure that neither has there is None and not in the mean.
    """
    if len(result.modalities) < 2:
        return None
    a, b = (item.best[1].long() for item in result.modalities.values())
    both = _covered_by_all(result)
    found = dice(joint_counts(a[both], b[both], len(label_map.channels)))[1:].tolist()
    names = (structure.name for structure in label_map.structures)
    scores = {name: None if math.isnan(score) else score for name, score in zip(names, found, strict=True)}
    known = [score for score in scores.values() if score is not None]
    return {"mean": sum(known) / len(known) if known else None} | scores


def _covered_by_all(result: SegmentationResult) -> torch.Tensor:
    masks = [coverage(item.volume.grid, result.model_grid) for item in result.modalities.values()]
    return torch.from_numpy(np.logical_and.reduce(masks))


def _structures(result: SegmentationResult, bundle: Bundle) -> list[dict[str, Any]]:
    """Per structure and modality: volume in mL and mean confidence of its voxels (None where it was not found); the
    volumes that are expected of it, where the bundle says them."""
    measured = {name: _measure(item, bundle.label_map) for name, item in result.modalities.items()}
    expected = bundle.expected_ml
    return [
        {
            "value": structure.value,
            "name": structure.name,
            "volume_ml": {name: values[structure.value][0] for name, values in measured.items()},
            "confidence": {name: values[structure.value][1] for name, values in measured.items()},
            **({"expected_ml": list(expected[structure.name])} if structure.name in expected else {}),
        }
        for structure in bundle.label_map.structures
    ]


def _measure(item: ModalityResult, label_map: LabelMap) -> dict[int, tuple[float, float | None]]:
    size = max(label_map.values) + 1
    counts = counts_by_slice(item.labels, size).sum(axis=0)
    sums = sums_by_value(item.labels, item.confidence, size)
    voxel_ml = item.volume.grid.voxel_volume_ml
    return {
        value: (float(counts[value] * voxel_ml), float(sums[value] / counts[value]) if counts[value] else None)
        for value in label_map.values
    }


def _write_volumes(folder: Path, result: SegmentationResult, label_map: LabelMap, options: OutputOptions) -> None:
    for name, item in result.modalities.items():
        if options.format != DICOM:
            segmentation = folder / segmentation_name(name, options)
            write_segmentation(segmentation, item.labels, item.volume.grid, label_map, item.volume.forms)
        write_volume(folder / f"uncertainty_{name}.nrrd", _uncertainty_percent(item), item.volume.grid)
        if options.save_probabilities:
            _write_probabilities(folder / f"probabilities_{name}.npz", item, result, label_map)


def _uncertainty_percent(item: ModalityResult) -> np.ndarray:
    return np.round((1 - item.confidence) * 100).astype(np.uint8)


def _write_dicom(
    folder: Path, result: SegmentationResult, bundle: Bundle, report: Mapping[str, Any], options: OutputOptions
) -> None:
    scans = {
        name: SegmentedScan(
            source_images(item.volume),
            item.labels,
            measured_in(report, name),
            _uncertainty_percent(item) if options.uncertainty_map else None,
        )
        for name, item in result.modalities.items()
    }
    write_objects(
        folder,
        scans,
        bundle.label_map,
        Model.of(bundle),
        options.seg_type,
        with_structure_set=options.structure_set,
    )


def _write_probabilities(path: Path, item: ModalityResult, result: SegmentationResult, label_map: LabelMap) -> None:
    """NumPy archive: probabilities (C, K, J, I) float16 on the model grid, channels (label values), ijk_to_ras."""
    np.savez_compressed(
        path,
        probabilities=item.probabilities.cpu().numpy(),
        channels=np.array(label_map.channels),
        ijk_to_ras=result.model_grid.ijk_to_ras,
    )


def _refuse_inputs_within(output: Path, inputs: Mapping[str, Path]) -> None:
    """The output folder is replaced as a whole: a scan in it would be gone."""
    for name, path in inputs.items():
        if whole_of(Path(path)).resolve().is_relative_to(Path(output).resolve()):
            raise OutputError(
                "input-in-output", f"input {name}: {path} lies in the output folder {output}", "choose another folder"
            )


@contextmanager
def _writing_to(output: Path) -> Iterator[None]:
    """A full disk is no fault of the program: OutputError ``cannot-write``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError("cannot-write", f"{output}: {reason}", "check that the disk has space") from error


def peak_memory_gb() -> dict[str, float]:
    """Highest memory of this process so far, and on the GPU where there is one, in GB (10⁹ bytes)."""
    peaks = {"process": round(_peak_process_bytes() / 1e9, 2)}
    if torch.cuda.is_available():
        peaks["gpu"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    return peaks


def _peak_process_bytes() -> int:
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024
