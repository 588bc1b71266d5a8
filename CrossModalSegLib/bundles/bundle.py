"""Model bundles: a folder in MONAI Bundle layout with hashed files and safetensors weights.

``configs/metadata.json`` describes the model (see ``BundleDescription``) and holds the SHA-256 of every other file:
``configs/inference.json``, ``models/model.safetensors``, ``docs/README.md`` (the model card). Loading checks all
hashes; no pickle is ever opened. A bundle's name is the name of its folder, its identity is the hash of its metadata,
which ``configs/metadata.sha256`` holds, so that they cannot change unnoticed either; older bundles have no such file.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from CrossModalSegLib.atomic import staged_folder
from CrossModalSegLib.bundles.bundle_metadata import (
    INFERENCE_FILE,
    LOCATOR_FILE,
    MODEL_CARD_FILE,
    SEAL_FILE,
    SECTION,
    WEIGHTS_FILE,
    inference_config,
    metadata_problems,
    metadata_sha256,
)
from CrossModalSegLib.errors import BundleError, InputError, read_error
from CrossModalSegLib.labels import LabelMap
from CrossModalSegLib.user_folder import user_folder

SEARCH_PATH_VARIABLE = "CROSSMODALSEG_BUNDLES"
METADATA_FILE = "configs/metadata.json"

_PICKLED = frozenset((".pt", ".pth", ".ts", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz"))
_NUMPY_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2"}
_NUMPY_TYPES |= {"I8": "i1", "U8": "u1", "BOOL": "?"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocatorSettings:
    """How a bundle finds its anatomy before it segments it: a coarse ``network`` (constructor arguments) at
    ``spacing_mm`` in windows of ``patch_size`` (k, j, i). The model sees the anatomy's box and ``margin_mm`` around it;
    nothing is labelled further than ``reach_mm`` from what was found, which is what has at least the probability
    ``threshold``."""

    network: dict[str, Any]
    spacing_mm: float
    patch_size: tuple[int, int, int]
    margin_mm: float
    reach_mm: float
    threshold: float = 0.5


@dataclass(frozen=True)
class Bundle:
    """A model bundle on disk, as its metadata describe it.

    ``modality_aliases`` lists other names under which a modality may be given. ``single_component``: all structures
    form one connected piece; ``mirror``: predictions are averaged with those for the mirrored scans; ``requires_both``:
    one scan alone is refused; ``locator``: None for bundles that look at the whole body. ``spacing_mm`` is in (i, j, k)
    order, ``patch_size`` in (k, j, i) order. ``intensity`` has one rule per modality, ``network`` the constructor
    arguments of ``CrossModalNetwork``. ``sha256`` identifies the bundle: it changes with any of its files.
    """

    path: Path
    name: str
    version: str
    modalities: tuple[str, ...]
    modality_aliases: dict[str, list[str]]
    single_component: bool
    mirror: bool
    requires_both: bool
    locator: LocatorSettings | None
    label_map: LabelMap
    spacing_mm: tuple[float, float, float]
    patch_size: tuple[int, int, int]
    intensity: dict[str, dict[str, Any]]
    network: dict[str, Any]
    sha256: str
    metadata: dict[str, Any]

    @property
    def parent(self) -> str | None:
        """The SHA-256 of the bundle that it was fine-tuned from."""
        return self._section.get("parent")

    @property
    def created(self) -> str:
        """The day of its training (ISO 8601), or nothing."""
        return self._section.get("created") or ""

    @property
    def description(self) -> str:
        """What it does, in a sentence or two."""
        return str(self.metadata["description"])

    @property
    def licence(self) -> str:
        """Under which it may be used."""
        return str(self._section["licence"])

    @property
    def intended_use(self) -> str:
        """What it is for, and not for."""
        return str(self._section["intended_use"])

    @property
    def files(self) -> dict[str, str]:
        """The SHA-256 of each of its files but the metadata, by path."""
        return dict(self._section["sha256"])

    @property
    def training(self) -> dict[str, Any]:
        """What its training left: data, time, hardware, configuration; free in form."""
        return dict(self._section.get("training", {}))

    @property
    def expected_ml(self) -> dict[str, tuple[float, float]]:
        """By structure's name, the lowest and the highest volume (mL) that is expected of it; often of none."""
        return {name: (float(low), float(high)) for name, (low, high) in self._section.get("expected_ml", {}).items()}

    @property
    def _section(self) -> dict[str, Any]:
        section: dict[str, Any] = self.metadata[SECTION]
        return section

    def modality_named(self, name: str) -> str:
        """The modality called ``name``, by its own name or an alias, in any case of letters.

        Raises InputError ``unknown-modality``.
        """
        known = {alias.lower(): modality for modality, aliases in self.modality_aliases.items() for alias in aliases}
        known |= {modality.lower(): modality for modality in self.modalities}
        if name.lower() not in known:
            words = ", ".join(self.modalities)
            raise InputError("unknown-modality", f'modality "{name}"', f"bundle {self.name} knows {words}")
        return known[name.lower()]

    def verify(self) -> None:
        """Check each file's hash, that no file is a pickle, and that all weights are finite.

        Raises BundleError ``bundle-corrupt`` (names the file, the expected and the actual hash) or ``bundle-unsafe``.
        """
        self.verify_files()
        self.read_weights()
        if self.locator:
            self.read_weights(LOCATOR_FILE)

    def verify_files(self) -> None:
        """What `verify` checks, except for the weights' values: needs nothing but the standard library."""
        _refuse_pickles(self.path)
        _check_seal(self)
        for name, expected in self.files.items():
            _check_hash(self, name, expected)

    def read_locator(self) -> tuple[LocatorSettings, bytes] | None:
        """Settings and weights file of the locator, for a bundle that is made from this one; None where there is
        none."""
        return (self.locator, (self.path / LOCATOR_FILE).read_bytes()) if self.locator else None

    def read_weights(self, file: str = WEIGHTS_FILE) -> dict[str, np.ndarray]:
        """The tensors of the network, or of the locator, by name; all floating types come back as float32 (half and
        bfloat16 exactly).

        Raises BundleError ``bundle-corrupt`` for a damaged file or values that are not finite.
        """
        import safetensors  # here, because bundles are listed before the packages for segmenting are installed

        try:
            tensors = safetensors.deserialize((self.path / file).read_bytes())
        except (OSError, safetensors.SafetensorError) as error:
            raise _corrupt(self.path, f"{file} cannot be read: {error}") from error
        weights = {name: _to_numpy(f"{file}: tensor {name}", tensor, self.path) for name, tensor in tensors}
        broken = [name for name, array in weights.items() if not np.isfinite(array).all()]
        if broken:
            raise _corrupt(self.path, f"{file} has values that are not finite in {', '.join(broken)}")
        return weights


def load_bundle(name_or_folder: str | Path, search_path: Sequence[Path] | None = None) -> Bundle:
    """The verified bundle in a folder, or the first of that name on the search path.

    Raises BundleError ``bundle-not-found`` (lists what there is and where it was looked for), ``bundle-invalid`` (lists
    all that is wrong with the metadata), ``bundle-corrupt`` or ``bundle-unsafe``.
    """
    bundle = read_bundle(_find(name_or_folder, search_path))
    bundle.verify()
    return bundle


def read_bundle(folder: str | Path) -> Bundle:
    """The bundle in ``folder`` by its metadata alone; weights and hashes are not looked at.

    Raises BundleError ``bundle-invalid``.
    """
    folder = Path(folder).resolve()
    try:
        metadata = json.loads((folder / METADATA_FILE).read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except PermissionError as error:
        raise read_error(f"bundle {folder}, {METADATA_FILE}", error, BundleError) from error
    except (OSError, ValueError, RecursionError) as error:
        raise _invalid(folder, f"{METADATA_FILE} cannot be read: {error}") from error
    problems = metadata_problems(metadata)
    if problems:
        raise _invalid(folder, "; ".join(problems))
    section = metadata[SECTION]
    spacing_i, spacing_j, spacing_k = map(float, section["spacing_mm"])
    return Bundle(
        path=folder,
        name=folder.name,
        version=metadata["version"],
        modalities=tuple(section["modalities"]),
        modality_aliases=section.get("modality_aliases", {}),
        single_component=section.get("single_component", False),
        mirror=section.get("mirror", False),
        requires_both=section.get("requires_both", False),
        locator=_locator(section.get("locator")),
        label_map=LabelMap.from_json(section["label_map"]),
        spacing_mm=(spacing_i, spacing_j, spacing_k),
        patch_size=tuple(section["patch_size"]),
        intensity=section["intensity"],
        network=section["network"],
        sha256=metadata_sha256(metadata),
        metadata=metadata,
    )


def list_bundles(search_path: Sequence[Path] | None = None) -> list[Bundle]:
    """The bundles on the search path by name, the first of each name, not verified; broken ones are logged instead."""
    bundles = []
    for folder in _bundle_folders(search_path).values():
        try:
            bundles.append(read_bundle(folder))
        except BundleError as error:
            _log.warning("%s", error)
    return bundles


def bundle_search_path() -> tuple[Path, ...]:
    """Where bundles are looked for, first match wins.

    The folders in the environment variable CROSSMODALSEG_BUNDLES, the module's own ``Resources/Bundles`` (in the
    source tree, or beside this library where the Slicer extension is installed), then the user's folder.
    """
    beside = Path(__file__).resolve().parents[2]
    named = [Path(entry) for entry in os.environ.get(SEARCH_PATH_VARIABLE, "").split(os.pathsep) if entry]
    shipped = [beside / "CrossModalSeg" / "Resources" / "Bundles", beside / "Resources" / "Bundles"]
    return (*named, *shipped, user_bundle_folder())


def user_bundle_folder() -> Path:
    """Where this user's own bundles are kept; it may not exist yet."""
    return user_folder() / "bundles"


def publish_bundle(
    folder: str | Path,
    metadata: Mapping[str, Any],
    weights: Mapping[str, np.ndarray],
    model_card: str,
    overwrite: bool = False,
    more_files: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write a bundle: staged beside ``folder``, verified, then renamed into place.

    ``metadata`` as ``BundleDescription`` gives it; the hashes are added here. Floating weights are stored
    as float16 (``read_weights`` gives float32 back). ``more_files`` are hashed and written beside them. The same
    arguments always give the same ``sha256``.

    Raises OutputError ``output-exists`` or BundleError ``bundle-invalid`` (metadata, or weights that are not finite as
    float16).
    """
    import safetensors.numpy

    folder = Path(folder)
    problems = metadata_problems(metadata, hashed=False)
    if problems:
        raise _invalid(folder, "; ".join(problems))
    files = dict(more_files or {}) | {
        WEIGHTS_FILE: safetensors.numpy.save(_storable(weights, folder)),
        INFERENCE_FILE: _json_bytes(inference_config(metadata), folder),
        MODEL_CARD_FILE: model_card.encode("utf-8"),
    }
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    whole = {**metadata, SECTION: {**metadata[SECTION], "sha256": hashes}}
    files[METADATA_FILE] = _json_bytes(whole, folder)
    files[SEAL_FILE] = metadata_sha256(json.loads(files[METADATA_FILE])).encode()
    with staged_folder(folder, overwrite, marker=METADATA_FILE) as staging:
        for name, content in files.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).write_bytes(content)
        read_bundle(staging).verify()
    return read_bundle(folder)


def _locator(settings: Mapping[str, Any] | None) -> LocatorSettings | None:
    if settings is None:
        return None
    k, j, i = settings["patch_size"]
    lengths = {name: float(settings[name]) for name in ("spacing_mm", "margin_mm", "reach_mm")}
    threshold = float(settings.get("threshold", 0.5))
    return LocatorSettings(network=settings["network"], patch_size=(k, j, i), threshold=threshold, **lengths)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _find(name_or_folder: str | Path, search_path: Sequence[Path] | None) -> Path:
    if (Path(name_or_folder) / METADATA_FILE).is_file():
        return Path(name_or_folder)
    folders = _bundle_folders(search_path)
    if str(name_or_folder) not in folders:
        looked = ", ".join(str(place) for place in _places(search_path))
        there = ", ".join(folders) or "none"
        what = f"folder without {METADATA_FILE}:" if Path(name_or_folder).is_dir() else "no bundle"
        raise BundleError(
            "bundle-not-found",
            f"{what} {str(name_or_folder)!r}; looked in {looked}",
            f"bundles there are: {there}; give one of these or a folder",
        )
    return folders[str(name_or_folder)]


def _bundle_folders(search_path: Sequence[Path] | None) -> dict[str, Path]:
    """Bundle folders by name, in alphabetical order; the first on the search path wins."""
    found: dict[str, Path] = {}
    for place in _places(search_path):
        for file in place.glob(f"[!.]*/{METADATA_FILE}"):  # hidden folders are bundles still being written
            found.setdefault(file.parents[1].name, file.parents[1])
    return dict(sorted(found.items()))


def _places(search_path: Sequence[Path] | None) -> Iterable[Path]:
    return bundle_search_path() if search_path is None else search_path


def _refuse_pickles(folder: Path) -> None:
    pickled = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.suffix.lower() in _PICKLED]
    if pickled:
        raise BundleError(
            "bundle-unsafe",
            f"{folder} holds {', '.join(sorted(pickled))}, which can run code when opened",
            "weights must be safetensors; remove these files",
        )


def _check_hash(bundle: Bundle, name: str, expected: str) -> None:
    try:
        actual = hashlib.sha256((bundle.path / name).read_bytes()).hexdigest()
    except PermissionError as error:
        raise read_error(f"bundle {bundle.path}, {name}", error, BundleError) from error
    except OSError as error:
        raise _corrupt(bundle.path, f"{name} cannot be read: {error.strerror}") from error
    if actual != expected:
        raise _corrupt(bundle.path, f"{name} has sha256 {actual}, expected {expected}")


def _check_seal(bundle: Bundle) -> None:
    """A changed number in the metadata is another model, such as another spacing or label value."""
    try:
        expected = (bundle.path / SEAL_FILE).read_text(encoding="ascii").strip()
    except FileNotFoundError:  # a bundle of an earlier version
        return
    except (OSError, ValueError) as error:
        raise _corrupt(bundle.path, f"{SEAL_FILE} cannot be read: {error}") from error
    if bundle.sha256 != expected:
        raise _corrupt(bundle.path, f"{METADATA_FILE} has sha256 {bundle.sha256}, expected {expected}")


def _to_numpy(name: str, tensor: Mapping[str, Any], folder: Path) -> np.ndarray:
    if tensor["dtype"] not in _NUMPY_TYPES:
        raise _corrupt(folder, f"{name} has type {tensor['dtype']}, which is not supported")
    array = np.frombuffer(tensor["data"], dtype=_NUMPY_TYPES[tensor["dtype"]]).reshape(tensor["shape"])
    if tensor["dtype"] == "BF16":  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if array.dtype.kind == "f" else array.copy()


def _storable(weights: Mapping[str, np.ndarray], folder: Path) -> dict[str, np.ndarray]:
    stored = {}
    for name, array in weights.items():
        floating = np.issubdtype(array.dtype, np.floating)
        with np.errstate(over="ignore"):  # found below
            converted = array.astype(np.float16) if floating else array
        if not np.isfinite(converted).all():
            raise _invalid(folder, f"tensor {name} is not finite as {converted.dtype}")
        stored[name] = np.array(converted, order="C")  # ascontiguousarray would make scalars 1-D
    return stored


def _json_bytes(content: Mapping[str, Any], folder: Path) -> bytes:
    try:
        return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
    except (TypeError, ValueError) as error:  # a NumPy number, or NaN for which JSON has null
        raise _invalid(folder, f"metadata cannot be written as JSON: {error}") from error


def _corrupt(folder: Path, what: str) -> BundleError:
    return BundleError("bundle-corrupt", f"bundle {folder}: {what}", "get the bundle again")


def _invalid(folder: Path, what: str) -> BundleError:
    return BundleError("bundle-invalid", f"bundle {folder}: {what}", "use a bundle made for this version")
