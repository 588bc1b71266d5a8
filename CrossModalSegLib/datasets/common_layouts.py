"""Layouts in common use: nnU-Net raw data, BIDS with derivatives."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from CrossModalSegLib.datasets.layout import HINT, Items, Names, images_in, merged, natural, patient_items, stem_of
from CrossModalSegLib.datasets.monai_layout import (
    channel_names,
    read_dataset_json,
    refuse,
    refuse_foreign,
    wanted_channels,
)
from CrossModalSegLib.errors import DataError

CHANNEL = re.compile(r"(.+)_(\d{4})$")  # nnU-Net: case_0000
BIDS_SCAN = re.compile(r"(sub-[a-zA-Z0-9]+(?:_ses-[a-zA-Z0-9]+)?)(?:_[a-zA-Z0-9-]+)*_([a-zA-Z0-9]+)$")
BIDS_SPACE = re.compile(r"_space-([a-zA-Z0-9]+)")


class NnunetRaw:
    """imagesTr/CASE_0000.nii.gz, imagesTr/CASE_0001.nii.gz, labelsTr/CASE.nii.gz and dataset.json, which names the
    channels (``channel_names``, or ``modality`` before version 2). A case without a label is unlabelled; imagesTs is
    for testing and is not read."""

    name = "nnU-Net raw"

    def recognises(self, folder: Path) -> bool:
        """imagesTr with names that end in the number of the first channel."""
        return any(stem.endswith("_0000") for stem in images_in(folder / "imagesTr"))

    def items(self, folder: Path, modalities: Names) -> Items:
        """One entry per case."""
        modality_of = self._channels(folder, modalities)
        labels = images_in(folder / "labelsTr")
        cases: dict[str, dict[str, Path]] = {}
        for stem, path in images_in(folder / "imagesTr").items():
            match = CHANNEL.match(stem)
            modality = modality_of.get(int(match[2])) if match else None
            if match and modality:
                cases.setdefault(match[1], {})[modality] = path
        return merged(patient_items(scans, {}, labels.get(case)) for case, scans in cases.items())

    def _channels(self, folder: Path, modalities: Names) -> dict[int, str]:
        """Modality of each channel number that dataset.json names; channels of other names are left out."""
        problems: list[str] = []
        channels = channel_names(read_dataset_json(folder), problems)
        wanted = wanted_channels(channels, modalities, problems)
        refuse(problems, folder / "dataset.json")
        refuse_foreign(channels, wanted, folder / "dataset.json", modalities)
        return wanted


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
