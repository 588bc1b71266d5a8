"""From a bundle's label map to a site's: structures that are renamed, renumbered or new, and the heads that grow for
them.

A mapping is a JSON file that names, for each structure of the site, the bundle's structure that it is, or null where it
is new; ``start`` says which of the bundle's structures a new one may begin as (background where it is left out)::

    {"map": {"17": 17, "500": null}, "start": {"500": 2}}

The new model has all structures of the bundle, in their order, and then the new ones. Structures of the bundle that the
site's label map does not have, or that nobody draws there though the parent sees them, are not lost: what the parent
sees takes the place of the missing labels.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from CrossModalSegLib.errors import LabelError, read_error
from CrossModalSegLib.json_file import each_name_once
from CrossModalSegLib.labels import LabelMap, Structure

RARE = 2.0  # how much the logit of a new structure lies below the one that it begins as
SIDES_HINT = 'in the site\'s label map, begin both names with the side: "left hippocampus" and "right hippocampus"'
_SIDE = re.compile(r"^(left|right)|(?<![a-z0-9])(left|right|lh|rh|l|r)(?![a-z0-9])", re.IGNORECASE)
HINT = "see docs/site-adaptation.md, or let --propose-mapping write one"


@dataclass(frozen=True)
class LabelMapping:
    """How the ``site``'s structures stand to those of the ``base``.

    ``origin`` holds the parent's value for each value of the site, None for a new structure; ``start`` the parent's
    value that a new structure begins as; ``undrawn`` the site's values that no correction shows and the parent finds
    all the same. Raises LabelError ``bad-mapping``, naming all problems.
    """

    base: LabelMap
    site: LabelMap
    origin: Mapping[int, int | None]
    start: Mapping[int, int] = field(default_factory=dict)
    undrawn: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        known, wanted = set(self.base.values), set(self.site.values)
        problems = [f"the site's {value} is not mapped" for value in self.site.values if value not in self.origin]
        problems += [f"the site has no {value}" for value in {*self.origin, *self.start} - wanted]
        problems += [
            f"the bundle has no {value}" for value in {*self.origin.values(), *self.start.values()} - known - {None}
        ]
        problems += [
            f"{v} cannot be kept from the bundle, which has none" for v in self.undrawn if not self.origin.get(v)
        ]
        used = [value for value in self.origin.values() if value is not None]
        problems += [f"several structures are mapped to the bundle's {v}" for v in sorted({*used}) if used.count(v) > 1]
        problems += [f"{v} begins as another structure, but is not new" for v in self.start if self.origin.get(v)]
        if problems:
            raise LabelError("bad-mapping", "; ".join(problems), HINT)
        _ = self.label_map

    @property
    def label_map(self) -> LabelMap:
        """The new model's: values and names of the site where it has them. Raises LabelError ``bad-label-map``."""
        return LabelMap((*(self._kept(one) for one in self.base.structures), *self.new))

    @property
    def new(self) -> tuple[Structure, ...]:
        """The structures that the parent does not have."""
        return tuple(one for one in self.site.structures if self.origin[one.value] is None)

    @property
    def drawn(self) -> frozenset[int]:
        """The values that the site's corrections decide about: where they do not show one of these, there is none."""
        return frozenset(self.site.values) - self.undrawn

    @property
    def needs_parent(self) -> bool:
        """Whether labels are completed with what the parent sees."""
        return not self.drawn >= set(self.label_map.values)

    @property
    def translation(self) -> dict[int, int]:
        """The new model's value for each value of the parent."""
        pairs = zip(self.base.values, self.label_map.values, strict=False)  # the new ones come last
        return dict(pairs)

    @property
    def is_identity(self) -> bool:
        """Nothing is new, and every structure keeps its value."""
        return not self.new and all(old == new for old, new in self.translation.items())

    def complete(self, corrected: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Training labels: what was corrected, and where that is background, the structures that the site does not
        draw as the parent sees them. ``predicted`` in values of the new model, both on one grid."""
        unlabelled = np.array([value for value in self.label_map.values if value not in self.drawn])
        return np.where((corrected == 0) & np.isin(predicted, unlabelled), predicted, corrected).astype(np.uint16)

    def grow(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parent's weights with one more output per new structure in each head: a copy of what it begins as, rarer.

        ``weights`` of ``CrossModalNetwork``: ``heads.<m>.weight`` (C0, K, s, s, s) and ``heads.<m>.bias`` (K,).
        """
        begins = [self.base.channels.index(self.start.get(one.value, 0)) for one in self.new]
        grown = dict(weights)
        for name, tensor in weights.items():
            if begins and name.startswith("heads."):
                axis = 1 if name.endswith("weight") else 0
                more = tensor.index_select(axis, torch.tensor(begins))
                grown[name] = torch.cat([tensor, more if axis else more - RARE], dim=axis)
        return grown

    def require_sides(self) -> None:
        """For a base that averages its predictions with those for the mirrored scans: left and right must be told by
        the new names as they are by the parent's.

        Raises LabelError ``sides-lost`` where structures of the parent would have another mirror image than before, or
        the name of a new one tells a side that ``LabelMap.mirrored_channels`` does not read.
        """
        label_map = self.label_map
        try:
            before, after = self.base.mirrored_channels(), label_map.mirrored_channels()
        except LabelError as error:
            raise LabelError("sides-lost", f"the bundle mirrors, and there is {error.message}", SIDES_HINT) from error
        pairs = zip(label_map.structures, before[1:], after[1:], strict=False)  # the new ones come last
        lost = [one.name for one, old, new in pairs if old != new]
        lost += [
            one.name for one in self.new if _SIDE.search(one.name) and not one.name.startswith(("left ", "right "))
        ]
        if lost:
            what = f"the bundle mirrors, and these names do not tell left from right: {', '.join(lost)}"
            raise LabelError("sides-lost", what, SIDES_HINT)

    def in_words(self) -> list[str]:
        """What the mapping does, one sentence per structure that is not simply kept."""
        names = {one.value: one.name for one in self.base.structures}
        said = []
        for one in self.site.structures:
            origin = self.origin[one.value]
            if origin is None:
                begins = f'"{names[self.start[one.value]]}"' if one.value in self.start else "background"
                said.append(f'new structure "{one.name}" ({one.value}), whose head begins as {begins}')
            elif (origin, names[origin]) != (one.value, one.name):
                said.append(f'"{names[origin]}" ({origin}) becomes "{one.name}" ({one.value})')
        missing = [names[old] for old, new in self.translation.items() if new not in self.site.values]
        if missing:
            said.append(f"not labelled by the site, taken from the parent's segmentation: {', '.join(missing)}")
        return [*said, *self.undrawn_in_words()]

    def undrawn_in_words(self) -> list[str]:
        """What is kept though nobody draws it, in one sentence; empty where that is nothing."""
        kept = [one.name for one in self.site.structures if one.value in self.undrawn]
        what = "drawn in no correction though the model finds it, and therefore taken from the parent's segmentation"
        return [f"{what}: {', '.join(kept)} (if it is truly absent: --absent NAME)"] if kept else []

    def _kept(self, structure: Structure) -> Structure:
        by_origin = {origin: value for value, origin in self.origin.items() if origin is not None}
        return self.site.by_value(by_origin[structure.value]) if structure.value in by_origin else structure

    def to_json(self) -> dict[str, Any]:
        """What `read_mapping` reads again."""
        content: dict[str, Any] = {
            "map": {str(value): origin for value, origin in self.origin.items()},
            "start": {str(value): origin for value, origin in self.start.items()},
        }
        return content | ({"undrawn": sorted(self.undrawn)} if self.undrawn else {})


def propose_mapping(base: LabelMap, site: LabelMap) -> LabelMapping:
    """By equal names, whatever their values; all other structures of the site are new."""
    by_name = {one.name.strip().lower(): one.value for one in base.structures}
    return LabelMapping(base, site, {one.value: by_name.get(one.name.strip().lower()) for one in site.structures})


def same_structures(base: LabelMap, site: LabelMap) -> LabelMapping:
    """The mapping that needs no file: every structure of the site is one of the bundle's, by value and name.

    Raises LabelError ``labels-differ``.
    """
    names = {one.value: one.name for one in base.structures}
    differing = [f'{one.value} "{one.name}"' for one in site.structures if names.get(one.value) != one.name]
    if differing:
        message = f"the bundle has no {', '.join(differing)}, which the site has"
        raise LabelError("labels-differ", message, f"give --mapping: {HINT}")
    return LabelMapping(base, site, {value: value for value in site.values})


def read_mapping(path: Path, base: LabelMap, site: LabelMap) -> LabelMapping:
    """The mapping in a JSON file. Raises LabelError ``bad-mapping``, or those of `read_error`."""
    try:
        return mapping_from_json(
            json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=each_name_once), base, site
        )
    except OSError as error:
        raise read_error(str(path), error, LabelError) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{path}: {type(error).__name__} {error}"
        raise LabelError("bad-mapping", what, 'expected {"map": {"17": 17, "500": null}}') from error


def mapping_from_json(content: Mapping[str, Any], base: LabelMap, site: LabelMap) -> LabelMapping:
    """What `LabelMapping.to_json` gave. Raises LabelError ``bad-mapping``; KeyError and the like for other content."""
    origin = {int(key): None if value is None else int(value) for key, value in content["map"].items()}
    start = {int(key): int(value) for key, value in content.get("start", {}).items()}
    return LabelMapping(base, site, origin, start, frozenset(map(int, content.get("undrawn", ()))))
