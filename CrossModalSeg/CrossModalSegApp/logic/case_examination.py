"""What is found out about the chosen scans before a run: preflight, what they show, a previewed alignment, remedies."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from CrossModalSegApp.logic.alignment import AlignmentPreview, preview
from CrossModalSegApp.logic.case_selection import Check, Remedy, check
from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.process.run_state import RunState
from CrossModalSegApp.scene.rendering import one_render
from CrossModalSegApp.scene.scene_io import harden_copy
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import CrossModalSegError
from CrossModalSegLib.imaging.content_findings import Contents
from CrossModalSegLib.imaging.registration import RigidRefinement


class Choice(Protocol):
    """The model and the scans that are chosen in a view."""

    @property
    def bundle(self) -> Bundle | None: ...

    @property
    def volumes(self) -> Mapping[str, Any]:
        """The chosen volume nodes by modality."""

    def choose(self, volumes: Mapping[str, Any]) -> None:
        """Choose these volume nodes by modality, and none for the others or where it is None."""


class CaseExamination:
    """Examines a `Choice`; ``on_change`` is called after each finding, ``on_error`` with what went wrong.

    ``check`` is the preflight, None while it is not known; ``preview_words`` what an alignment that is only previewed
    does, "" without one; ``is_aligning`` whether one is being computed that the user has asked for.
    """

    def __init__(
        self,
        logic: SegmentationLogic,
        choice: Choice,
        on_change: Callable[[], None],
        on_error: Callable[[CrossModalSegError], None],
    ):
        self._logic, self._choice, self._on_change, self._on_error = logic, choice, on_change, on_error
        self._preview: AlignmentPreview | None = None
        self._shown: RigidRefinement | None = None  # by the preview
        self.reset()

    @property
    def can_start(self) -> bool:
        is_chosen = self._choice.bundle is not None and self.check is not None and self.check.allows_run
        return is_chosen and not self.is_previewing

    @property
    def is_outdated(self) -> bool:
        """Whether something else is chosen, or lies elsewhere, than what was examined last."""
        return self._identity() != self._examined

    def reset(self) -> None:
        """Nothing is known; call `end_preview` before where there may be one."""
        self._examined: Any = None
        self.forget()

    def forget(self) -> None:
        """What was found out no longer holds."""
        self._logic.forget_questions()
        self.check: Check | None = None
        self.is_aligning = False
        self._contents: Contents | None = None

    def examine(self) -> None:
        """The preflight; and a question to the worker what the scans show."""
        bundle = self._choice.bundle
        if bundle is None:
            return
        asked = self._examined = self._identity()
        self.check, scans = check(bundle, self._choice.volumes)
        is_idle = self._logic.status.state is RunState.IDLE
        if self.check.allows_run and not self.is_aligning and is_idle:
            self._logic.look_into(bundle, self._choice.volumes, lambda found: self.add_contents(asked, found), scans)
        self._on_change()

    def add_contents(self, asked: Any, contents: Contents) -> None:
        """What the worker has found out, unless the scans were changed meanwhile."""
        if asked == self._identity() and self.check is not None:
            self._contents, self.check = contents, self.check.with_contents(contents)
            self._on_change()

    def apply(self, remedy: Remedy) -> None:
        """Do what a note offers; nothing where there is no model to say which scan is which."""
        if self._choice.bundle is None:
            return
        actions: dict[Remedy, Callable[[], None]] = {
            "swap": self._swap,
            "clear-second": lambda: self._replace(1, None),
            "harden-first": lambda: self._harden(0),
            "harden-second": lambda: self._harden(1),
            "refine": self._align,
        }
        try:
            actions[remedy]()
        except CrossModalSegError as error:
            self._on_error(error)

    # --- alignment

    @property
    def is_previewing(self) -> bool:
        """Whether an alignment is shown that is neither kept nor undone."""
        return self._preview is not None and self._shown is not None

    @property
    def preview_words(self) -> str:
        if self._preview is None or self._shown is None:
            return ""
        words = _("Preview: the second scan is moved by {mm:.1f} mm and {degrees:.1f}°. Look at both, then choose.")
        return words.format(mm=self._shown.displacement_mm, degrees=self._shown.rotation_degrees)

    def end_preview(self, keep: bool) -> None:
        """Keep the alignment that is shown, or put the second scan back; nothing where there is none."""
        if self._preview is None:
            return
        shown, self._preview = self._preview, None
        if keep:
            shown.keep()
        else:
            shown.undo()
        self._on_change()

    def _align(self) -> None:
        if self._contents is not None and self._contents.refinement is not None:
            self._show_alignment(self._contents.refinement, None)
        else:
            self.is_aligning = True
            try:
                self._estimate(self._show_alignment)
            except CrossModalSegError:
                self.is_aligning = False
                raise
            self._on_change()

    def _show_alignment(self, refinement: RigidRefinement | None, error: CrossModalSegError | None) -> None:
        self.is_aligning = False
        try:
            if refinement is None:
                raise error or CrossModalSegError("no-alignment", _("No alignment was found"), _("align by hand"))
            first, second = self._choice.volumes.values()
            self.end_preview(keep=False)
            with one_render():
                self._preview = preview(first, second, refinement)
            self._shown = refinement
        except CrossModalSegError as problem:
            self._on_error(problem)
        self._on_change()

    def _estimate(self, answer: Callable[[RigidRefinement | None, CrossModalSegError | None], None]) -> None:
        first, second = self._choice.volumes.values()
        asked = self._identity()

        def on_answer(refinement: RigidRefinement | None, error: CrossModalSegError | None) -> None:
            if asked == self._identity():
                answer(refinement, error)
            elif self.is_aligning:  # of scans that were changed meanwhile
                self.is_aligning = False
                self._on_change()

        self._logic.estimate_displacement(first, second, on_answer)

    # --- what is chosen

    def _identity(self) -> Any:
        """Changes with the model, the scans, and where they lie."""
        bundle = self._choice.bundle
        return (
            bundle.sha256 if bundle else None,
            *((name, node.GetID(), node.GetTransformNodeID()) for name, node in self._choice.volumes.items()),
        )

    def _swap(self) -> None:
        first, second = self._modalities
        volumes = self._choice.volumes
        self._choice.choose({first: volumes.get(second), second: volumes.get(first)})

    def _replace(self, place: int, node: Any) -> None:
        self._choice.choose({**self._choice.volumes, self._modalities[place]: node})

    def _harden(self, place: int) -> None:
        self._replace(place, harden_copy(self._choice.volumes[self._modalities[place]]))

    @property
    def _modalities(self) -> tuple[str, ...]:
        assert self._choice.bundle is not None
        return self._choice.bundle.modalities
