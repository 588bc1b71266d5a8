"""Layouts in common use: nnU-Net raw data, the Medical Segmentation Decathlon, BIDS with derivatives."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from CrossModalSegLib.errors import DataError
from CrossModalSegLib.layout import Items, Names, images_in, merged, natural, patient_items, stem_of

HINT = "name the modalities of the configuration so, or give these names as modality_aliases"
CHANNEL = re.compile(r"(.+)_(\d{4})$")  # nnU-Net: case_0000
BIDS_SCAN = re.compile(r"(sub-[a-zA-Z0-9]+(?:_ses-[a-zA-Z0-9]+)?)(?:_[a-zA-Z0-9-]+)*_([a-zA-Z0-9]+)$")
BIDS_SPACE = re.compile(r"_space-([a-zA-Z0-9]+)")


class NnunetRaw:
    """imagesTr/CASE_0000.nii.gz, imagesTr/CASE_0001.nii.gz, labelsTr/CASE.nii.gz and dataset.json, which names the
    channels (``channel_names``, or ``modality`` before version 2). A case without a label is unlabelled; imagesTs is for
    testing and is not read."""

    name = "nnU-Net raw"

    def recognises(self, folder: Path) -> bool:
        """imagesTr with names that end in the number of the first channel."""
        return any(stem.endswith("_0000") for stem in images_in(folder / "imagesTr"))

    def items(self, folder: Path, modalities: Names) -> Items:
        """One entry per case."""
        modality_of = _channels(folder, modalities)
        labels = images_in(folder / "labelsTr")
        cases: dict[str, dict[str, Path]] = {}
        for stem, path in images_in(folder / "imagesTr").items():
            match = CHANNEL.match(stem)
            modality = modality_of.get(int(match[2])) if match else None
            if match and modality:
                cases.setdefault(match[1], {})[modality] = path
        return merged(patient_items(scans, {}, labels.get(case)) for case, scans in cases.items())


class Decathlon:
    """dataset.json whose ``training`` lists ``image`` and ``label``, as in the Medical Segmentation Decathlon: the image is
    one modality's, or a list with one file per modality of ``modality`` (or ``channel_names``)."""

    name = "Medical Segmentation Decathlon (MONAI)"

    def recognises(self, folder: Path) -> bool:
        """dataset.json beside imagesTr."""
        return (folder / "dataset.json").is_file() and (folder / "imagesTr").is_dir()

    def items(self, folder: Path, modalities: Names) -> Items:
        """One entry per listed case; ``unlabeled`` cases too."""
        modality_of = _channels(folder, modalities)
        content = _dataset_json(folder)
        listed = [(item, "training") for item in content.get("training", [])]
        listed += [(item, "validation") for item in content.get("validation", [])]
        listed += [(item, "unlabelled") for item in content.get("unlabelled", content.get("unlabeled", []))]
        return merged(self._item(folder, item, part, modality_of) for item, part in listed)

    def _item(self, folder: Path, item: Any, part: str, modality_of: Mapping[int, str]) -> Items:
        if isinstance(item, str):
            item = {"image": item}
        images = item.get("image", [])
        files = [images] if isinstance(images, str) else list(images)
        entry = {modality_of[n]: str(folder / file) for n, file in enumerate(files) if n in modality_of}
        if "label" in item and part != "unlabelled":
            entry["label"] = str(folder / item["label"])
        return {part: [entry]}


class Bids:
    """sub-01/anat/sub-01_T1w.nii.gz and the like, with or without sessions; label maps are files that end in ``_dseg``,
    mostly below derivatives/. ``space-T1w`` in the name of a label map says whose it is, in that of a scan that it was
    brought there; a label map without serves all scans. Files in a space that is no wanted scan's, such as that of an
    atlas, are left out: they do not lie on the scans."""

    name = "BIDS with derivatives"

    def recognises(self, folder: Path) -> bool:
        """Folders sub-..."""
        return any(item.is_dir() for item in folder.glob("sub-*"))

    def items(self, folder: Path, modalities: Names) -> Items:
        """One entry per subject and session."""
        scans: dict[str, dict[str, Path]] = {}
        labels: dict[str, dict[str | None, Path]] = {}
        several: list[tuple[Path, Path]] = []
        left_out: list[Path] = []
        for path in sorted(folder.rglob("sub-*_*.nii*"), key=lambda path: natural(str(path))):
            match = BIDS_SCAN.match(stem_of(path) or "")
            if match is None:
                continue
            key, suffix = match[1], match[2]
            if _elsewhere(path, modalities):
                left_out.append(path)
            elif suffix == "dseg":
                self._put(labels.setdefault(key, {}), _space(path, modalities), path, several)
            elif "derivatives" not in path.relative_to(folder).parts and (modality := modalities.find(suffix)):
                self._put(scans.setdefault(key, {}), modality, path, several)
        if several:
            listed = "; ".join(f"{a} and {b}" for a, b in several)
            raise DataError("layout", f"several files for one scan: {listed}", "keep one of each, or give a datalist")
        if not scans:
            raise self._no_scan(folder, modalities, left_out)
        return merged(self._subject(scans[key], labels.get(key, {}), modalities) for key in scans)

    def _subject(self, scans: Mapping[str, Path], labels: Mapping[str | None, Path], modalities: Names) -> Items:
        """A label map that names a scan's space goes before the one that serves all."""
        shared = labels.get(None)
        spaces = {name: _space(path, modalities) or name for name, path in scans.items()}
        own = {name: labels.get(space, shared) for name, space in spaces.items()}
        if shared is not None and set(own.values()) == {shared}:
            return patient_items(scans, {}, shared)
        labelled = {name: path for name, path in own.items() if path is not None}
        return patient_items(scans, labelled, aligned=len(set(spaces.values())) < 2)

    def _no_scan(self, folder: Path, modalities: Names, left_out: Sequence[Path]) -> DataError:
        message = f"{folder} looks like {self.name}, but has no scan named {' or '.join(modalities.modalities)}"
        if left_out:
            message += f"; {len(left_out)} files are in other spaces, such as {left_out[0]}"
        return DataError("layout", message, HINT)

    def _put(self, files: dict[Any, Path], key: Any, path: Path, several: list[tuple[Path, Path]]) -> None:
        if key in files:
            several.append((files[key], path))
        files[key] = path


def _space(path: Path, modalities: Names) -> str | None:
    """The modality on whose scan a BIDS file lies, where its name says so and it is a wanted one."""
    named = BIDS_SPACE.search(path.name)
    return modalities.find(named[1]) if named else None


def _elsewhere(path: Path, modalities: Names) -> bool:
    """Whether a BIDS file names a space that is no wanted modality's."""
    return BIDS_SPACE.search(path.name) is not None and _space(path, modalities) is None


def _channels(folder: Path, modalities: Names) -> dict[int, str]:
    """Modality of each channel number that dataset.json names; channels of other names are left out."""
    content = _dataset_json(folder)
    named = content.get("channel_names", content.get("modality", {}))
    pairs = named.items() if isinstance(named, Mapping) else enumerate(named)
    found = {int(number): modality for number, name in pairs if (modality := modalities.find(str(name)))}
    if not found:
        listed = ", ".join(f'"{name}"' for _, name in pairs) if named else "none"
        wanted = " and ".join(modalities.modalities)
        raise DataError("layout", f"{folder / 'dataset.json'}: its channels are {listed}, not {wanted}", HINT)
    return found


def _dataset_json(folder: Path) -> dict[str, Any]:
    path = folder / "dataset.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError("layout", f"{path}: {error.strerror}", "it says which channel is which modality") from error
    except ValueError as error:
        raise DataError("layout", f"{path} is not JSON: {error}", "correct the file") from error
    if not isinstance(content, dict):
        raise DataError("layout", f"{path} is no JSON object", "correct the file")
    return content

