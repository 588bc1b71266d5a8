"""Which structure of a prediction is which of its reference: by name where both have names, else by value."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from CrossModalSegLib.errors import InputError, LabelError
from CrossModalSegLib.label_translation import by_names, joined
from CrossModalSegLib.labels import LabelMap, Structure
from CrossModalSegLib.plurals import some_of

GREY = (128, 128, 128)


@dataclass(frozen=True, eq=False)
class LabelledSide:
    """Label values (K, J, I) int32, and the label map of their file, where it has one."""

    labels: np.ndarray
    own: LabelMap | None

    @property
    def present(self) -> frozenset[int]:
        """The values that occur, without background."""
        return frozenset(np.unique(self.labels).tolist()) - {0}


@dataclass(frozen=True, eq=False)
class Matched:
    """Both sides in the values of one label map. ``notes`` say in words what has no counterpart."""

    prediction: np.ndarray
    reference: np.ndarray
    label_map: LabelMap
    notes: tuple[str, ...] = ()


def matched(prediction: LabelledSide, reference: LabelledSide, wanted: LabelMap | None = None) -> Matched:
    """Both sides in the values of ``wanted``, else of the prediction and of what the reference names beside it.

    Raises LabelError ``names-differ`` where two with names share none, InputError ``no-structure`` where nothing is
    there.
    """
    for one, other in ((reference, prediction.own), (prediction, wanted), (reference, wanted)):
        _refuse_without_common_name(one, other)
    label_map = wanted or _label_map_of_both(prediction, reference)
    in_prediction, of_prediction = _in_values_of(label_map, prediction, "prediction")
    in_reference, of_reference = _in_values_of(label_map, reference, "reference")
    one_sided = [] if wanted else _one_sided(prediction, reference)
    notes = (*_by_value(prediction, reference), *of_prediction, *of_reference, *one_sided)
    return Matched(in_prediction, in_reference, label_map, notes)


def named(values: Sequence[int], label_map: LabelMap | None) -> LabelMap:
    """A label map of ``values``, named as in ``label_map`` where that has them."""
    known = {structure.value: structure for structure in label_map.structures} if label_map else {}
    return LabelMap(tuple(known.get(value, Structure(value, f"label {value}", GREY)) for value in values))


def _refuse_without_common_name(side: LabelledSide, other: LabelMap | None) -> None:
    if side.own is None or other is None or not side.present:
        return
    if not any(other.names(one.name) for one in side.own.structures):
        names = (some_of([one.name for one in each.structures]) for each in (side.own, other))
        what = "no structure of the one side ({}) has the name of one of the other ({})".format(*names)
        raise LabelError("names-differ", what, "rename the segments, or give --labels with a translation of values")


def _label_map_of_both(prediction: LabelledSide, reference: LabelledSide) -> LabelMap:
    """The structures of the prediction's file, and after them those that the reference alone names and holds."""
    if prediction.own is None or reference.own is None:
        return prediction.own or reference.own or _label_map_of(prediction, reference)
    more = _only_in_reference(prediction.own, reference)
    return joined([prediction.own, LabelMap(more)]) if more else prediction.own


def _only_in_reference(own: LabelMap, reference: LabelledSide) -> tuple[Structure, ...]:
    structures = reference.own.structures if reference.own else ()
    return tuple(one for one in structures if one.value in reference.present and not own.names(one.name))


def _label_map_of(prediction: LabelledSide, reference: LabelledSide) -> LabelMap:
    """A label map of every value found on either side."""
    values = sorted(prediction.present | reference.present)
    if not values:
        raise InputError(
            "no-structure", "prediction and reference are both empty", "check that these are the right files"
        )
    return named(values, None)


def _in_values_of(label_map: LabelMap, side: LabelledSide, what: str) -> tuple[np.ndarray, list[str]]:
    """Labels in values of ``label_map``, and in words what it does not have."""
    if side.own is None:
        labels, strange = side.labels, [str(value) for value in sorted(side.present - set(label_map.values))]
    else:
        found = by_names(side.labels, side.own, label_map)
        labels, strange = found.labels.astype(np.int32), [repr(one.name) for one in found.missing]
    notes = [f"the {what} holds {some_of(strange)}, which is not scored and counts as background"] if strange else []
    return labels, notes


def _by_value(prediction: LabelledSide, reference: LabelledSide) -> list[str]:
    """In words, that one of two files alone has names: that its values mean the same in the other is not known."""
    without = [what for side, what in ((prediction, "prediction"), (reference, "reference")) if side.own is None]
    return [f"the {without[0]} has no names: structures are matched by their values"] if len(without) == 1 else []


def _one_sided(prediction: LabelledSide, reference: LabelledSide) -> list[str]:
    """In words, the structures that only one of two files with names knows."""
    if prediction.own is None or reference.own is None:
        return []
    more = _only_in_reference(prediction.own, reference)
    less = [one for one in prediction.own.structures if not reference.own.names(one.name)]
    named_by_one = ((more, "prediction"), (less, "reference"))
    return [
        f"the {side}'s file does not name {some_of([repr(x.name) for x in found])}"
        for found, side in named_by_one
        if found
    ]
