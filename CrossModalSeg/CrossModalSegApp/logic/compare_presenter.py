"""The section Compare: the result that is shown beside another one, in figures, outlines and a list of differences."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from CrossModalSegApp.logic.presenter import Host, Presenter
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.comparison import Compared, Other, compare, others
from CrossModalSegApp.scene.review import ReviewList, add_review
from CrossModalSegApp.scene.subject_tree import remove

_HINT = _(
    "Where this result and the other one differ, largest first. Click one to see it in all views; N and P go on. "
    "Rims a voxel thin are not listed."
)
_NOTHING = _("The two results differ nowhere by more than a voxel.")


@dataclass(frozen=True)
class CompareState:
    """``others``: id and title of each result that this one can be compared with; ``current``: the id of the one that
    is, "" for none.

    ``columns`` and ``rows`` are the figures, ``summary`` says in words how much differs.
    """

    is_there: bool
    others: tuple[tuple[str, str], ...]
    current: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    summary: str


class ComparePresenter(Presenter):
    """Compares the result that is shown with the model's own or another result of the scene (``cases``).

    ``on_compare(nodes, review)`` is called with the other segmentation nodes by modality and the list of differences;
    with nothing and None when comparing ends.
    """

    def __init__(
        self,
        host: Host,
        cases: Callable[[], Sequence[CaseNodes]],
        on_compare: Callable[[Mapping[str, Any], ReviewList | None], None],
    ):
        super().__init__(host)
        self._cases, self._on_compare = cases, on_compare
        self._case: CaseNodes | None = None
        self._others: dict[str, Other] = {}
        self._current = ""
        self._compared: Compared | None = None
        self._list: ReviewList | None = None

    @property
    def state(self) -> CompareState:
        found = self._compared
        return CompareState(
            is_there=bool(self._others),
            others=tuple((one.id, one.title or _("the model's own result")) for one in self._others.values()),
            current=self._current,
            columns=_columns(found) if found else (),
            rows=tuple(_rows(found)) if found else (),
            summary=_summary(found) if found else "",
        )

    def show_case(self, case: CaseNodes | None) -> None:
        """Another result is shown, or none: comparing ends."""
        self._end()
        self._case = case
        self.look()

    def look(self) -> None:
        """List anew what there is to compare with; what has gone, as a whole or in part, is not compared with any
        more."""
        found = {one.id: one for one in others(self._case, self._cases())} if self._case is not None else {}
        if self._current and _nodes(found, self._current) != _nodes(self._others, self._current):
            self._end()
        self._others = found
        self.changed()

    def choose(self, other_id: str) -> None:
        """Compare with this one, as both are now; "" ends it."""
        self._end()
        case, other = self._case, self._others.get(other_id)
        if case is not None and other is not None:
            found = self._tried(lambda: compare(case, other))
            if found is not None:
                self._begin(case, other, found)
        self.changed()

    def _begin(self, case: CaseNodes, other: Other, found: Compared) -> None:
        self._current, self._compared = other.id, found
        scene = next(iter(case.segmentations.values())).GetScene()
        self._list = add_review(scene, found.places, scene.GetUniqueNameByString("differences"))
        self._list.table.SetSaveWithScene(False)
        self._list.table.SetHideFromEditors(True)
        self._on_compare(other.nodes, self._list)

    def _end(self) -> None:
        if self._list is not None:
            former, self._list = self._list, None
            self._current, self._compared = "", None
            self._on_compare({}, None)
            remove(former.table)


def _nodes(found: Mapping[str, Other], other_id: str) -> Mapping[str, Any]:
    return found[other_id].nodes if other_id in found else {}


def review_words() -> tuple[str, str]:
    """What the review list says of differences, and where there is none."""
    return _HINT, _NOTHING


def _columns(found: Compared) -> tuple[str, ...]:
    columns = [(f"{name} Dice", _("{name} here (mL)").format(name=name), _("{name} there (mL)").format(name=name))
               for name in found.modalities]  # fmt: skip
    return (_("structure"), *(title for titles in columns for title in titles))


def _rows(found: Compared) -> list[tuple[str, ...]]:
    """What agrees least comes first."""
    rows = []
    for name, by_modality in sorted(found.figures.items(), key=lambda item: min(one.dice for one in item[1].values())):
        cells = []
        for modality in found.modalities:
            one = by_modality.get(modality)
            cells += [f"{one.dice:.3f}", f"{one.here_ml:.2f}", f"{one.there_ml:.2f}"] if one else ["", "", ""]
        rows.append((name, *cells))
    return rows


def _summary(found: Compared) -> str:
    means = []
    for modality in found.modalities:
        dices = [by[modality].dice for by in found.figures.values() if modality in by]
        mean = sum(dices) / len(dices) if dices else 1.0
        words = _("{modality}: mean Dice {mean:.3f}, {rest:.2f} mL differ in thin rims")
        means.append(words.format(modality=modality, mean=mean, rest=found.rest_ml[modality]))
    return "; ".join(means)
