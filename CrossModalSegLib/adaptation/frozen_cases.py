"""Frozen cases: what a model must not forget. They come with the bundle, and are never trained on.

A bundle carries them as ``frozen/<id>/<modality>.nrrd`` and ``frozen/<id>/<modality>.seg.nrrd``, hashed like its other
files; the segments of a label file say which structures it would show. For a bundle that carries none, the sample pair
of this software serves where it knows the structures.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from CrossModalSegLib.adaptation.site_data import DataCase, read_labels
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.imaging.segmentation_io import SLICER_SUFFIX, read_segmentation, write_segmentation
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.temporary import temporary_folder

FOLDER = "frozen"
SAMPLE_PAIR = "sample pair"


def frozen_cases(bundle: Bundle, translation: Mapping[int, int]) -> list[DataCase]:
    """The bundle's frozen cases, else the sample pair, else none; ``translation`` holds the new model's label value for
    each of the bundle's."""
    carried: dict[str, list[Path]] = {}
    for name in sorted(bundle.files):
        path = Path(name)
        if path.parts[0] == FOLDER and len(path.parts) == 3:
            carried.setdefault(path.parts[1], []).append(bundle.path / path)
    cases = [_carried(case_id, files, bundle) for case_id, files in carried.items()]
    return [_in_values_of(case, translation) for case in cases or _sample_pair(bundle)]


def with_modalities(case: DataCase, wanted: Collection[str]) -> DataCase | None:
    """The case with these scans alone, under an id of its own; itself where it has no others, None where no labelled
    scan is among them."""
    scans, labels = ({k: v for k, v in files.items() if k in wanted} for files in (case.scans, case.labels))
    if scans == dict(case.scans):
        return case
    return replace(case, id=f"{case.id} {'+'.join(scans)}", scans=scans, labels=labels) if labels else None


def frozen_files(bundle: Bundle) -> dict[str, bytes]:
    """The files of the frozen cases, to be handed on to a bundle with the same label map that descends from this
    one."""
    names = [name for name in bundle.files if name.startswith(f"{FOLDER}/")]
    return {name: (bundle.path / name).read_bytes() for name in names}


def translated_files(cases: Sequence[DataCase], label_map: LabelMap) -> dict[str, bytes]:
    """The files of frozen cases, to be handed on to a bundle with another ``label_map``: their labels in its values,
    and with those structures alone that they would show. New ones are not scored on them."""
    files: dict[str, bytes] = {}
    for case in cases:
        known = LabelMap(tuple(one for one in label_map.structures if one.value in case.values))
        folder = f"{FOLDER}/{case.id.replace(' ', '-')}"
        files |= {f"{folder}/{name}.nrrd": path.read_bytes() for name, path in case.scans.items()}
        with temporary_folder() as place:
            for name, (labels, grid) in case.reference().items():
                file = place / f"{name}{SLICER_SUFFIX}"
                write_segmentation(file, labels, grid, known)
                files[f"{folder}/{file.name}"] = file.read_bytes()
    return files


def _in_values_of(case: DataCase, translation: Mapping[int, int]) -> DataCase:
    return replace(case, translation=translation, values=tuple(translation[value] for value in case.values))


def _carried(case_id: str, files: list[Path], bundle: Bundle) -> DataCase:
    labels = {path.name.removesuffix(SLICER_SUFFIX): path for path in files if path.name.endswith(SLICER_SUFFIX)}
    scans = {path.stem: path for path in files if not path.name.endswith(SLICER_SUFFIX)}
    shown = _shown_by(labels.values(), bundle.label_map)
    return DataCase(case_id, case_id, scans, labels, shown, label_map=bundle.label_map)


def _shown_by(files: Iterable[Path], label_map: LabelMap) -> tuple[int, ...]:
    """The values of the structures that all of these label files name; one that names none knows all."""
    known = [found for file in files if (found := read_segmentation(file)[2]) is not None]
    return tuple(one.value for one in label_map.structures if all(found.names(one.name) for found in known))


def _sample_pair(bundle: Bundle) -> list[DataCase]:
    """The digital phantom, whose labels are true for its T1w."""
    beside = Path(__file__).resolve().parents[2]
    places = (beside / "CrossModalSeg" / "Resources", beside / "Resources")  # source tree, installed extension
    folder = next((place / "SampleData" for place in places if (place / "SampleData").is_dir()), None)
    if folder is None or not {"T1w", "T2w"} <= set(bundle.modalities):
        return []
    file = folder / "phantom_labels.nrrd"
    present = set(read_labels(file)[0].ravel().tolist()) - {0}
    if not present <= set(bundle.label_map.values):
        return []
    scans = {name: folder / f"phantom_{name}.nrrd" for name in ("T1w", "T2w")}
    return [DataCase(SAMPLE_PAIR, SAMPLE_PAIR, scans, {"T1w": file}, tuple(sorted(present)))]
