"""Data as MONAI and the Medical Segmentation Decathlon list them: ``image``, ``label``, and channels that have
numbers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CrossModalSegLib.datasets.layout import HINT, Items, Names, merged
from CrossModalSegLib.errors import DataError, GeometryError, InputError
from CrossModalSegLib.imaging.channels import channel_path
from CrossModalSegLib.imaging.volume import channel_count
from CrossModalSegLib.json_file import read_json

PARTS = {"training": "training", "validation": "validation", "unlabelled": "unlabelled", "unlabeled": "unlabelled"}


class Decathlon:
    """dataset.json whose ``training`` lists ``image`` and ``label``, as in the Medical Segmentation Decathlon: the
    image is one modality's, a list with one file per channel, or one file that holds all channels of ``modality`` (or
    ``channel_names``)."""

    name = "Medical Segmentation Decathlon (MONAI)"

    def recognises(self, folder: Path) -> bool:
        """dataset.json beside imagesTr."""
        return (folder / "dataset.json").is_file() and (folder / "imagesTr").is_dir()

    def items(self, folder: Path, modalities: Names) -> Items:
        """One entry per listed case; ``unlabeled`` cases too."""
        return monai_items(read_dataset_json(folder), folder / "dataset.json", folder, modalities)


def is_monai(content: Mapping[str, Any], modalities: Names) -> bool:
    """Whether a list names its scans ``image``, as MONAI does, and not by their modalities."""
    lists = [content.get(key) for key in PARTS]
    listed = (item for one in lists if isinstance(one, list) for item in one)
    return "image" not in modalities.modalities and any(
        isinstance(item, Mapping) and "image" in item for item in listed
    )


def monai_items(content: Mapping[str, Any], source: Path, base: Path, modalities: Names) -> Items:
    """One entry per listed case, with paths below ``base``; ``source`` is the file with this content.

    Raises DataError ``datalist``, which lists all entries that have another form than they must, and all files that
    hold another number of channels than are named; ``layout`` where no channel is of the wanted modalities.
    """
    problems: list[str] = []
    channels = channel_names(content, problems)
    if channels and sorted(channels) != list(range(len(channels))):
        problems.append(f"channels: expected the numbers 0 to {len(channels) - 1}, found {sorted(channels)}")
    wanted = wanted_channels(channels, modalities, problems)
    of_list = _Channels(channels, wanted, base)
    items = [
        {part: [_entry(item, f"{key}[{n}]", part, of_list, problems)]}
        for key, part in PARTS.items()
        for n, item in enumerate(_list(content, key, problems))
    ]
    refuse(problems, source)
    refuse_foreign(channels, wanted, source, modalities)
    return merged(items)


def read_dataset_json(folder: Path) -> dict[str, Any]:
    """The content of dataset.json. Raises DataError ``layout``."""
    return read_json(
        folder / "dataset.json", "layout", "restore or correct it: it says which channel is which modality"
    )


def channel_names(content: Mapping[str, Any], problems: list[str]) -> dict[int, str]:
    """Name of each channel by its number, from ``channel_names`` or ``modality``; what is wrong goes to
    ``problems``."""
    key = "channel_names" if "channel_names" in content else "modality"
    named = content.get(key, {})
    if isinstance(named, str):
        return {0: named}
    if isinstance(named, list):
        named = {str(number): name for number, name in enumerate(named)}
    if not isinstance(named, Mapping):
        problems.append(f"{key}: expected a name for each channel, found {named!r}")
        return {}
    problems += [f"{key}: the channel {n!r} is no number" for n in named if not n.isdecimal()]
    problems += [
        f"{key}.{n}: expected a name, found {name!r}" for n, name in named.items() if not isinstance(name, str)
    ]
    return {int(n): name for n, name in named.items() if n.isdecimal() and isinstance(name, str)}


def wanted_channels(channels: Mapping[int, str], modalities: Names, problems: list[str]) -> dict[int, str]:
    """The wanted modality of each channel that is one; channels of other names are left out.

    Where several go by names of one modality, it is the one that has the modality's own.
    """
    found: dict[int, str] = {}
    for modality in modalities.modalities:
        of_it = {n: name for n, name in channels.items() if modalities.find(name) == modality}
        own = [n for n, name in of_it.items() if Names([modality]).find(name)]
        if len(own or of_it) > 1:
            listed = ", ".join(f'"{of_it[n]}"' for n in own or of_it)
            problems.append(f"the channels {listed} all go by {modality}: call one of them so, or drop an alias")
        found |= dict.fromkeys(own or of_it, modality)
    return found


def refuse(problems: list[str], source: Path) -> None:
    """Raises DataError ``datalist`` with all problems, where there are any."""
    if problems:
        raise DataError("datalist", f"{source}: {'; '.join(problems)}", "correct these entries")


def refuse_foreign(channels: Mapping[int, str], wanted: Mapping[int, str], source: Path, modalities: Names) -> None:
    """Raises DataError ``layout`` where no channel is a wanted modality's."""
    if not wanted:
        listed = ", ".join(f'"{name}"' for name in channels.values()) or "none"
        example = ", ".join(f'"{number}": "{name}"' for number, name in enumerate(modalities.modalities))
        hint = HINT if channels else f'say which channel is what, as in "channel_names": {{{example}}}'
        message = f"{source}: its channels are {listed}, not {' and '.join(modalities.modalities)}"
        raise DataError("layout", message, hint)


def _list(content: Mapping[str, Any], key: str, problems: list[str]) -> list[Any]:
    listed = content.get(key, [])
    if isinstance(listed, list):
        return listed
    problems.append(f"{key}: expected a list, found {listed!r}")
    return []


@dataclass(frozen=True)
class _Channels:
    """Names of the channels by number, which of them are wanted and as what, and what paths are relative to."""

    names: Mapping[int, str]
    wanted: Mapping[int, str]
    base: Path


def _entry(item: Any, where: str, part: str, channels: _Channels, problems: list[str]) -> dict[str, Any]:
    """A case as our own lists have it; what is wrong goes to ``problems``."""
    if isinstance(item, str):
        item = {"image": item}
    if not isinstance(item, Mapping):
        problems.append(f"{where}: expected an object, found {item!r}")
        return {}
    entry: dict[str, Any] = {key: item[key] for key in ("aligned", "assume_orientation") if key in item}
    names, wanted = channels.names, channels.wanted
    files = _files(item.get("image"), f"{where}.image", channels.base, problems)
    if files and names:
        problems += _wrong_count(files, f"{where}.image", names)
        paths = files if len(files) > 1 or len(names) == 1 else [channel_path(files[0], n) for n in sorted(names)]
        entry |= {wanted[n]: str(path) for n, path in enumerate(paths) if n in wanted}
    if "label" in item and part != "unlabelled":
        labels = _files(item["label"], f"{where}.label", channels.base, problems, most=1)
        if labels:
            entry["label"] = str(labels[0])
    return entry


def _files(value: Any, where: str, base: Path, problems: list[str], most: int | None = None) -> list[Path]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        problems.append(f"{where}: expected a file{'' if most == 1 else ' or a list of files'}, found {value!r}")
    elif most and len(names) > most:
        problems.append(f"{where}: expected a file, found {len(names)} of them")
    else:
        return [base / name for name in names]
    return []


def _wrong_count(files: list[Path], where: str, channels: Mapping[int, str]) -> Iterator[str]:
    """Of several files, or of one that holds several channels, there must be as many as there are names."""
    named = ", ".join(channels.values())
    if len(files) > 1 and len(files) != len(channels):
        yield f"{where}: {len(files)} files, but the channels are {named}"
    if len(files) == 1 and len(channels) > 1 and files[0].is_file():
        try:
            count = channel_count(files[0])
        except (InputError, GeometryError) as error:
            yield f"{where}: {error.message}"
        else:
            if count != len(channels):
                yield (
                    f"{where}: {files[0]} has {count} of the channels {named}; a file must hold all, or a list "
                    "name one for each"
                )
