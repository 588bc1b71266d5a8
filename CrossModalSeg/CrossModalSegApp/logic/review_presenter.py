"""The section Review: numbered places to check, with a tick for each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from CrossModalSegApp.logic.presenter import Host, Presenter
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.review import DIFFERENCE, ReviewEntry, ReviewList
from CrossModalSegApp.scene.review_region import Region, region_of

_FOUND = _("The places most worth checking, most severe first. Click one to see it in all views; N and P go on.")
_NEAR_MM = 6.0  # of a place: what is changed there counts as correcting it
_NOTHING = _("No place stands out. Look the result over all the same.")


@dataclass(frozen=True)
class ReviewRow:
    """One place, and why it should be checked; ``is_corrected`` says that something was changed there since."""

    number: int
    structure: str
    reason: str
    is_done: bool
    is_corrected: bool


@dataclass(frozen=True)
class ReviewSectionState:
    """``current``: the number of the place that was gone to last, 0 at first; ``count``: how many are done, in
    words."""

    is_shown: bool
    entries: tuple[ReviewRow, ...]
    current: int
    count: str
    hint: str


class ReviewPresenter(Presenter):
    """Goes through a `ReviewList`; ``on_jump(ras)`` is called with the place (mm, RAS) that the user goes to,
    ``on_structure(name)`` with the structure that is in question there, and ``on_region(region)`` with where; with None
    once that is over."""

    def __init__(
        self,
        host: Host,
        on_jump: Callable[[tuple[float, float, float]], None],
        on_structure: Callable[[str], None] = lambda _name: None,
        on_region: Callable[[Region | None], None] = lambda _region: None,
    ):
        super().__init__(host)
        self._on_jump, self._on_structure, self._on_region = on_jump, on_structure, on_region
        self._case: CaseNodes | None = None
        self._others: Mapping[str, Any] = {}  # by modality, that the differences are to
        self._list: ReviewList | None = None
        self._hint, self._nothing = _FOUND, _NOTHING
        self._is_corrected: Callable[[ReviewEntry], bool] = lambda _entry: False
        self._corrected: frozenset[int] = frozenset()  # numbers

    @property
    def state(self) -> ReviewSectionState:
        review = self._list
        entries = review.entries if review is not None else ()
        rows = tuple(
            ReviewRow(
                one.number,
                one.structure,
                _reason(one),
                review is not None and review.is_ticked(one.number),
                one.number in self._corrected,
            )
            for one in entries
        )
        current = review.current if review is not None else None
        count = _("{done} of {all} done").format(done=sum(row.is_done for row in rows), all=len(rows))
        hint = self._hint if rows else self._nothing
        return ReviewSectionState(review is not None, rows, current.number if current else 0, count, hint)

    def show(self, case: CaseNodes | None) -> None:
        """The list of the result that is shown, None without any."""
        self._case, self._others = case, {}
        is_corrected = lambda entry: case is not None and case.is_corrected_at(entry.modalities, entry.ras_mm, _NEAR_MM)
        self._show(case.review if case else None, _FOUND, _NOTHING, is_corrected)

    def show_differences(self, differences: ReviewList, others: Mapping[str, Any], hint: str, nothing: str) -> None:
        """Another list instead, of where the result differs from ``others`` by modality; ``hint`` says what it holds,
        ``nothing`` that it is empty."""
        self._others = others
        self._show(differences, hint, nothing, lambda _entry: False)

    def _show(
        self, review: ReviewList | None, hint: str, nothing: str, is_corrected: Callable[[ReviewEntry], bool]
    ) -> None:
        self._list, self._hint, self._nothing, self._is_corrected = review, hint, nothing, is_corrected
        self._on_region(None)
        self.look()

    def look(self) -> None:
        """Something may have been corrected."""
        entries = self._list.entries if self._list is not None else ()
        self._corrected = frozenset(one.number for one in entries if self._is_corrected(one))
        self.changed()

    def go_next(self) -> None:
        self._go(self._list.next() if self._list is not None else None)

    def go_previous(self) -> None:
        self._go(self._list.previous() if self._list is not None else None)

    def go_to(self, number: int) -> None:
        self._go(self._list.go_to(number) if self._list is not None else None)

    def finish(self) -> None:
        """The place that was gone to last is done: go to the next one."""
        current = self._list.current if self._list is not None else None
        if current is not None:
            self.tick(current.number, True)
            self.go_next()

    def tick(self, number: int, is_done: bool) -> None:
        if self._list is not None:
            self._list.tick(number, is_done)
            self.changed()

    def _go(self, entry: ReviewEntry | None) -> None:
        if entry is not None:
            self.look()
            self._on_structure(entry.structure)
            case, others = self._case, self._others
            self._on_region(self._tried(lambda: region_of(case, entry, others)) if case is not None else None)
            self._on_jump(entry.ras_mm)


def _reason(entry: ReviewEntry) -> str:
    if entry.reason == "disagreement":
        return _("the two scans disagree ({volume:.1f} mL)").format(volume=entry.volume_ml)
    where = ", ".join(entry.modalities)
    if entry.reason.startswith(DIFFERENCE):
        return _difference(entry.reason.removeprefix(DIFFERENCE), entry, where)
    return _("uncertain in {where} ({volume:.1f} mL)").format(where=where, volume=entry.volume_ml)


def _difference(other: str, entry: ReviewEntry, where: str) -> str:
    if other == entry.structure:
        return _("only in the other result, {where} ({volume:.2f} mL)").format(where=where, volume=entry.volume_ml)
    if not other:
        return _("only in this result, {where} ({volume:.2f} mL)").format(where=where, volume=entry.volume_ml)
    words = _("{other} in the other result, {where} ({volume:.2f} mL)")
    return words.format(other=other, where=where, volume=entry.volume_ml)
