"""The section Structures: a legend of what the views show, which also says what is shown."""

from collections.abc import Callable
from dataclasses import dataclass

from CrossModalSegApp.logic.presenter import Host, Presenter
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.scene.case_nodes import CaseNodes
from CrossModalSegApp.scene.measures import Measure, measure
from CrossModalSegApp.scene.structure_display import ShownStructure, StructureDisplay
from CrossModalSegLib.errors import CrossModalSegError


@dataclass(frozen=True)
class LegendRow:
    """One structure; ``color`` is that of the views, as ``#rrggbb``."""

    value: int
    name: str
    color: str
    is_shown: bool


@dataclass(frozen=True)
class LegendState:
    """``rows``: the structures whose names have words that begin with those of ``words``.

    ``current``: the value of the one that is chosen, 0 for none, and ``opacity`` (percent) its own; ``count``: how many
    are shown, in words; ``measures``: volume and intensities of the one that is chosen, a line for each scan.
    """

    is_there: bool
    rows: tuple[LegendRow, ...]
    words: str
    current: int
    name: str
    opacity: int
    count: str
    measures: tuple[str, ...]


class LegendPresenter(Presenter):
    """The structures of the result that is shown.

    ``on_choose(value)`` is called when the user chooses one, ``on_looks`` when one is shown or hidden.
    """

    def __init__(self, host: Host, on_choose: Callable[[int], None], on_looks: Callable[[], None]):
        super().__init__(host)
        self._on_choose, self._on_looks = on_choose, on_looks
        self._display: StructureDisplay | None = None
        self._words = ""
        self._current = 0
        self._structures: tuple[ShownStructure, ...] = ()
        self._case: CaseNodes | None = None
        self._measures: tuple[str, ...] = ()

    @property
    def state(self) -> LegendState:
        wanted = self._words.lower().split()
        rows = tuple(
            LegendRow(one.value, one.name, _hex(one.color), one.is_shown)
            for one in self._structures
            if _is_found(one.name, wanted)
        )
        current = next((one for one in self._structures if one.value == self._current), None)
        shown = sum(one.is_shown for one in self._structures)
        return LegendState(
            is_there=bool(self._structures),
            rows=rows,
            words=self._words,
            current=current.value if current else 0,
            name=current.name if current else "",
            opacity=round(100 * current.opacity) if current else 100,
            count=_("{shown} of {all} shown").format(shown=shown, all=len(self._structures)),
            measures=self._measures if current else (),
        )

    def show_case(self, case: CaseNodes | None) -> None:
        """The legend of this result."""
        self._case = case
        if self._display is not None:
            self._display.close()
        segmentations = list(case.segmentations.values()) if case else []
        self._display = StructureDisplay(segmentations, self._read) if segmentations else None
        self._measures = ()
        self._read()
        self._host.soon(self.look)

    def search(self, words: str) -> None:
        """List the structures whose names have words that begin with all of these; all without any."""
        self._words = words
        self.changed()

    def choose(self, value: int) -> None:
        """Choose a structure: it is the one to edit."""
        self.note_current(value)
        self._on_choose(value)

    def choose_named(self, name: str) -> None:
        """Choose the structure of this name, where there is one."""
        found = next((one.value for one in self._structures if one.name == name), 0)
        if found:
            self.choose(found)

    def note_current(self, value: int) -> None:
        """Another structure is being edited."""
        if value != self._current:
            self._current, self._measures = value, ()
            self.changed()
            self._host.soon(self.look)

    def look(self) -> None:
        """Measure the structure that is chosen, as it is now."""
        case, value = self._case, self._current
        try:
            found = measure(case, value) if case is not None and value else []
        except CrossModalSegError:  # what cannot be measured is told where it is saved
            found = []
        self._measures = tuple(map(_measure_words, found))
        self.changed()

    def show(self, value: int, is_shown: bool) -> None:
        """Show a structure, or hide it."""
        if self._display is not None:
            self._display.show([value], is_shown)

    def show_only(self, value: int) -> None:
        """Hide all other structures."""
        if self._display is not None:
            self._display.show_only(value)

    def show_found(self, is_shown: bool) -> None:
        """Show all structures that are listed, or hide them."""
        if self._display is not None:
            self._display.show([row.value for row in self.state.rows], is_shown)

    def set_opacity(self, percent: float) -> None:
        """Of the structure that is chosen."""
        if self._display is not None and self._current:
            self._display.set_opacity([self._current], min(max(percent / 100, 0.0), 1.0))

    def _read(self) -> None:
        self._structures = self._display.structures() if self._display is not None else ()
        self._on_looks()
        self.changed()


def _measure_words(one: Measure) -> str:
    if one.mean is None or one.deviation is None:
        return _("{modality}: nothing").format(modality=one.modality)
    words = _("{modality}: {volume:.2f} mL, intensity {mean:.4g} ± {deviation:.3g}")
    return words.format(modality=one.modality, volume=one.volume_ml, mean=one.mean, deviation=one.deviation)


def _is_found(name: str, words: list[str]) -> bool:
    """Whether each of ``words`` is how a word of the name begins: "right" is not in "bright"."""
    parts = name.lower().split()
    return all(any(part.startswith(word) for part in parts) for word in words)


def _hex(color: tuple[float, ...]) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in color)
