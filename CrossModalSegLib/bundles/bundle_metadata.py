"""What ``configs/metadata.json`` of a model bundle says: MONAI's bundle schema plus our section ``crossmodalseg``.

Source: MONAI Bundle Specification, and its JSON schema ``meta_schema_20240725.json``. MONAI's tools read the outer
part; the section says all that segmenting needs: modalities, label map, grid, intensity rules, network, file hashes.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version as installed_version
from pathlib import PurePosixPath
from typing import Any

from CrossModalSegLib.errors import LabelError
from CrossModalSegLib.labels import LabelMap

SECTION = "crossmodalseg"
WEIGHTS_FILE = "models/model.safetensors"
LOCATOR_FILE = "models/locator.safetensors"
INFERENCE_FILE = "configs/inference.json"
MODEL_CARD_FILE = "docs/README.md"
SEAL_FILE = "configs/metadata.sha256"  # the hash of the metadata themselves
INTENDED_USE = "Research and education. Not for clinical use."

_SMALLEST_SPACING_MM = 0.01  # below that a head has more cells than a computer has bytes
_SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
_REQUIRED_BY_MONAI = (
    "schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version", "required_packages_version",
    "task", "description", "authors", "copyright", "network_data_format",
)  # fmt: skip
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")  # modality names become parts of file names
_LARGEST_NUMBER = 1e6  # of voxels or millimetres
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class BundleDescription:
    """What a bundle says of itself.

    ``spacing_mm`` is in (i, j, k) order, ``patch_size`` in (k, j, i) order; ``intensity`` has one rule per modality;
    ``modality_aliases`` lists other names under which a modality may be given; ``single_component``: all structures
    form one connected piece, so that islands elsewhere are errors; ``mirror``: predictions are averaged with those for
    the mirrored scans; ``requires_both``: one scan alone is refused; ``locator``: the fields of
    ``bundle.LocatorSettings``, for a bundle with the weights of one; ``expected_ml``: by name of a structure, the
    lowest and the highest volume that is expected of it, in mL; ``created``: the date of the training, as in ISO
    8601 (2026-11-23);
    ``network`` holds the constructor arguments of ``CrossModalNetwork``; ``parent`` is the sha256 of the bundle that
    this one was fine-tuned from. ``training`` and ``scores`` are free: data, time, hardware; figures per structure.
    """

    version: str
    task: str
    description: str
    authors: str
    copyright_notice: str
    licence: str
    modalities: Sequence[str]
    label_map: LabelMap
    spacing_mm: Sequence[float]
    patch_size: Sequence[int]
    intensity: Mapping[str, Mapping[str, Any]]
    network: Mapping[str, Any]
    training: Mapping[str, Any]
    scores: Mapping[str, Any]
    modality_aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    single_component: bool = False
    mirror: bool = False
    requires_both: bool = False
    locator: Mapping[str, Any] | None = None
    expected_ml: Mapping[str, Sequence[float]] = field(default_factory=dict)
    created: str | None = None
    parent: str | None = None
    changelog: Mapping[str, str] = field(default_factory=dict)

    def metadata(self) -> dict[str, Any]:
        """Complete metadata for ``publish_bundle``, which adds the hashes of the files."""
        return {
            "schema": _SCHEMA,
            "version": self.version,
            "changelog": dict(self.changelog) or {self.version: "first version"},
            "monai_version": installed_version("monai"),
            "pytorch_version": installed_version("torch"),
            "numpy_version": installed_version("numpy"),
            "required_packages_version": {name: installed_version(name) for name in ("safetensors", "SimpleITK")},
            "task": self.task,
            "description": self.description,
            "authors": self.authors,
            "copyright": self.copyright_notice,
            "intended_use": INTENDED_USE,
            "network_data_format": _network_data_format(self.modalities, self.label_map, self.patch_size),
            SECTION: self._section(),
        }

    def _section(self) -> dict[str, Any]:
        locator, expected = self.locator, self.expected_ml
        return {
            "modalities": list(self.modalities),
            "modality_aliases": {name: list(aliases) for name, aliases in self.modality_aliases.items()},
            "single_component": self.single_component,
            "mirror": self.mirror,
            "requires_both": self.requires_both,
            **({"locator": {**locator, "patch_size": list(locator["patch_size"])}} if locator else {}),
            **({"expected_ml": {name: list(ends) for name, ends in expected.items()}} if expected else {}),
            "created": self.created,
            "label_map": self.label_map.to_json(),
            "spacing_mm": [float(length) for length in self.spacing_mm],
            "patch_size": [int(size) for size in self.patch_size],
            "intensity": {modality: dict(rule) for modality, rule in self.intensity.items()},
            "network": dict(self.network),
            "parent": self.parent,
            "training": dict(self.training),
            "scores": dict(self.scores),
            "licence": self.licence,
            "intended_use": INTENDED_USE,
        }


def inference_config(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """``configs/inference.json``: how MONAI's ``ConfigParser`` builds the network and the sliding window."""
    section = metadata[SECTION]
    return {
        "network_def": {"_target_": "CrossModalSegLib.network.CrossModalNetwork", **section["network"]},
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": section["patch_size"],
            "overlap": 0.5,
            "mode": "gaussian",
        },
    }


def metadata_sha256(metadata: Mapping[str, Any]) -> str:
    """Identity of a bundle: SHA-256 over the metadata, which holds the hash of every other file.

    Taken over the content, not the bytes of ``metadata.json``: order of keys and white space do not matter.
    """
    canonical = json.dumps(metadata, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def metadata_problems(metadata: Any, hashed: bool = True) -> list[str]:
    """Everything that is wrong with ``metadata``, in words; empty if it describes a usable bundle.

    ``hashed``: the hashes of the files must be there, as they are in a published bundle.
    """
    if not isinstance(metadata, dict) or not isinstance(metadata.get(SECTION), dict):
        return [f'no section "{SECTION}"']
    problems = [f'no "{key}"' for key in _REQUIRED_BY_MONAI if key not in metadata]
    if not isinstance(metadata.get("version"), str):
        problems.append(f"version {metadata.get('version')!r} is no text")
    if not _is_text_of_characters(metadata):
        problems.append("it holds halves of characters, which no file can hold")
    problems += _section_problems(metadata[SECTION])
    if hashed:
        problems += _hash_problems(metadata[SECTION].get("sha256"))
    return problems


def _is_text_of_characters(content: Any) -> bool:
    """Whether all text can be written as UTF-8; JSON can name the halves of which UTF-16 makes characters."""
    try:
        json.dumps(content, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _section_problems(section: dict[str, Any]) -> Iterator[str]:
    yield from _modality_problems(section.get("modalities"), section.get("intensity"))
    yield from _alias_problems(section.get("modalities"), section.get("modality_aliases", {}))
    if not _is_list_of((int, float), section.get("spacing_mm"), length=3, positive=True):
        yield f"spacing_mm {section.get('spacing_mm')} is not three lengths above 0"
    elif min(section["spacing_mm"]) < _SMALLEST_SPACING_MM:
        yield f"spacing_mm {section['spacing_mm']} is finer than {_SMALLEST_SPACING_MM} mm"
    if not _is_list_of(int, section.get("patch_size"), length=3, positive=True):
        yield f"patch_size {section.get('patch_size')} is not three integers above 0"
    for switch in ("single_component", "mirror", "requires_both"):
        if not isinstance(section.get(switch, False), bool):
            yield f"{switch} {section.get(switch)} is neither true nor false"
    yield from _locator_problems(section.get("locator"), section.get("sha256"))
    if not _is_date(section.get("created")):
        yield f"created {section.get('created')!r} is not a date such as 2026-11-23"
    if not isinstance(section.get("network"), dict):
        yield f"network {section.get('network')} is not a set of constructor arguments"
    if "not for clinical use" not in str(section.get("intended_use")).lower():
        yield 'intended_use does not say "not for clinical use"'
    if not section.get("licence"):
        yield "no licence"
    yield from _label_map_problems(section.get("label_map"))
    yield from _expected_problems(section.get("expected_ml", {}), section.get("label_map"))


def _locator_problems(locator: Any, hashes: Any) -> Iterator[str]:
    if locator is None:
        return
    if not isinstance(locator, dict):
        yield f"locator {locator} is not a table"
        return
    for name in ("spacing_mm", "margin_mm", "reach_mm"):
        value = locator.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not (0 < value <= _LARGEST_NUMBER):
            yield f"locator.{name} {value} is no length above 0"
    threshold = locator.get("threshold", 0.5)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold < 1:
        yield f"locator.threshold {threshold} is no probability between 0 and 1"
    if not _is_list_of(int, locator.get("patch_size"), length=3, positive=True):
        yield f"locator.patch_size {locator.get('patch_size')} is not three integers above 0"
    if not isinstance(locator.get("network"), dict):
        yield f"locator.network {locator.get('network')} is not a set of constructor arguments"
    if isinstance(hashes, dict) and LOCATOR_FILE not in hashes:
        yield f"no hash of {LOCATOR_FILE}"


def _modality_problems(modalities: Any, intensity: Any) -> Iterator[str]:
    if not _is_list_of(str, modalities, length=2) or len(set(modalities)) != 2:
        yield f"modalities {modalities} are not two different names"
        return
    if not all(_FILE_NAME.fullmatch(name) for name in modalities):
        yield f"modalities {modalities}: use letters, digits and _ . + - only"
    if not isinstance(intensity, dict) or set(intensity) != set(modalities):
        yield f"intensity rules {intensity} are not one per modality {modalities}"


def _alias_problems(modalities: Any, aliases: Any) -> Iterator[str]:
    if not isinstance(aliases, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) and _FILE_NAME.fullmatch(name) for name in names)
        for names in aliases.values()
    ):
        yield f"modality_aliases {aliases} are not lists of names"
    elif _is_list_of(str, modalities, length=2) and not set(aliases) <= set(modalities):
        yield f"modality_aliases {list(aliases)} are of modalities that are not in {modalities}"


def _label_map_problems(entry: Any) -> Iterator[str]:
    try:
        LabelMap.from_json(entry)
    except LabelError as error:
        yield f"label_map: {error.message}"


def _expected_problems(expected: Any, label_map: Any) -> Iterator[str]:
    if not isinstance(expected, dict):
        yield f"expected_ml {expected} is not a table of ranges by structure"
        return
    for name, ends in expected.items():
        is_range = _is_list_of((int, float), ends, length=2) and 0 <= ends[0] <= ends[1] <= _LARGEST_NUMBER
        if not is_range or ends[1] == 0:
            yield f"expected_ml.{name} {ends} is not the lowest and the highest volume in mL"
    try:
        names = {one.name for one in LabelMap.from_json(label_map).structures}
    except LabelError:  # told of already
        return
    if unknown := [name for name in expected if name not in names]:
        yield f"expected_ml names {', '.join(unknown)}, which the label map does not have"


def _hash_problems(hashes: Any) -> Iterator[str]:
    if not isinstance(hashes, dict):
        yield 'no "sha256" with the hash of each file'
        return
    yield from (f"no hash of {name}" for name in (WEIGHTS_FILE, INFERENCE_FILE, MODEL_CARD_FILE) if name not in hashes)
    for name, value in hashes.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            yield f"hashed file {name!r} lies outside the bundle"
        if not isinstance(value, str) or not _SHA256.fullmatch(value):
            yield f"hash {value!r} of {name} is not a SHA-256"


def _is_date(text: Any) -> bool:
    """Also None, for bundles that do not say when they were made."""
    try:
        return text is None or bool(date.fromisoformat(text))
    except (TypeError, ValueError):
        return False


def _is_list_of(kind: Any, items: Any, length: int, positive: bool = False) -> bool:
    if not isinstance(items, list) or len(items) != length:
        return False
    if not all(isinstance(item, kind) and not isinstance(item, bool) for item in items):
        return False
    return not positive or all(0 < item <= _LARGEST_NUMBER for item in items)


def _network_data_format(
    modalities: Sequence[str], label_map: LabelMap, patch_size: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """Arguments and results of ``CrossModalNetwork.forward``, in their order, in MONAI's words."""
    classes = ["background", *(structure.name for structure in label_map.structures)]
    image = {"type": "image", "spatial_shape": list(patch_size), "dtype": "float32", "is_patch_data": True}
    volumes = image | {
        "format": "magnitude",
        "modality": ", ".join(modalities),
        "num_channels": 2,
        "value_range": [0, 1.5],
        "channel_def": {"0": "normalised intensity", "1": "1 where the modality covers the voxel, else 0"},
        "shape": "(batch, modality, channel, k, j, i)",
    }
    presence = {
        "type": "tuples",
        "format": "classes",
        "num_channels": len(modalities),
        "spatial_shape": [],
        "dtype": "bool",
        "value_range": [0, 1],
        "channel_def": {str(channel): f"{modality} is given" for channel, modality in enumerate(modalities)},
    }
    logits = image | {
        "format": "labels",
        "num_channels": len(classes),
        "value_range": [],
        "channel_def": {str(channel): name for channel, name in enumerate(classes)},
    }
    return {
        "inputs": {"volumes": volumes, "presence": presence},
        "outputs": {modality: logits | {"modality": modality} for modality in modalities},
    }
