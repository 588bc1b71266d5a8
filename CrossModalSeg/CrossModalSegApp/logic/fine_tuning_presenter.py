"""Fine-tuning a model to the site: start and cancel, how far it is, the new model with its report, and the way back."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.presenter import Host, Presenter
from CrossModalSegApp.logic.scans_presenter import ScansPresenter
from CrossModalSegApp.logic.translation import tr as _
from CrossModalSegApp.logic.wording import button_words, command_words, sentence
from CrossModalSegApp.process.background_command import CommandStatus
from CrossModalSegApp.process.fine_tuning import FineTuningResult, can_resume, latest_result
from CrossModalSegApp.process.run_state import Outcome
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.site.models import adopt


@dataclass(frozen=True)
class FineTuningSectionState:
    """``lines``: what is going on, and the plan; or an ``error`` with its ``hint``; or the ``verdict`` on the new
    model, what speaks for it, and its ``report``. ``previous``: the name of the model that the chosen one was
    fine-tuned from."""

    button: str
    is_enabled: bool
    is_running: bool
    percent: int
    lines: tuple[str, ...]
    error: str
    hint: str
    verdict: str
    summary: tuple[str, ...]
    report: Path | None
    can_use: bool
    previous: str


class FineTuningPresenter(Presenter):
    """Fine-tunes the model that is chosen; ``on_model(name)`` is called with the one that the user wants to work with
    from now on, ``on_end`` when the site may have a new one."""

    def __init__(
        self,
        logic: SegmentationLogic,
        scans: ScansPresenter,
        host: Host,
        on_model: Callable[[str], None],
        on_end: Callable[[], None],
    ):
        super().__init__(host)
        self._logic, self._scans, self._on_model, self._on_end = logic, scans, on_model, on_end
        self._folder: Path | None = None
        self._result: FineTuningResult | None = None
        self._bundle: Bundle | None = None  # that `_previous` was looked up for
        self._previous = ""
        logic.fine_tuning.listen(self._on_status)

    @property
    def state(self) -> FineTuningSectionState:
        status, result = self._logic.fine_tuning.status, self._result
        stopped = _("Stopped. It can go on from here.") if status.outcome is Outcome.CANCELLED else ""
        words = command_words(status) or stopped
        shown = result if result is not None and not words and status.error is None else None
        return FineTuningSectionState(
            button=button_words(status, _("Fine-tune the model"), _("Cancel fine-tuning")),
            is_enabled=status.is_running or (self._folder is not None and self._scans.bundle is not None),
            is_running=status.is_running,
            percent=round(100 * status.fraction),
            lines=(words, *status.plan) if words else (),
            error=status.error.message if status.error else "",
            hint=sentence(status.error.hint) if status.error else "",
            verdict=_verdict(shown) if shown else "",
            summary=(*shown.summary, "; ".join(shown.reasons)) if shown else (),
            report=shown.report if shown else None,
            can_use=result is not None and result.is_offered and not status.is_running,
            previous=self._previous,
        )

    def show_site(self, folder: Path | None) -> None:
        """The site folder; None where there is no site yet."""
        self._folder, self._result = folder, None
        self._result = self._tried(lambda: latest_result(folder)) if folder else None
        self.changed()

    def show_model(self) -> None:
        """Another model may be chosen: it is the one to fine-tune."""
        bundle = self._scans.bundle
        if bundle is not self._bundle:
            previous = self._logic.previous_model(bundle) if bundle else None
            self._bundle, self._previous = bundle, previous.name if previous else ""
        self.changed()

    def start_or_cancel(self, minutes: float, keep_general: bool) -> None:
        """For this site, or to ``keep_general``; where a fine-tuning was stopped, the user may go on with that."""
        if self._logic.fine_tuning.status.is_running:
            self._logic.fine_tuning.cancel()
            return
        folder, bundle = self._folder, self._scans.bundle
        if folder is None or bundle is None or not self._host.ready():
            return
        device = self._host.device()
        resume = lambda: self._tried(lambda: self._logic.fine_tuning.resume(folder, device))
        begin = lambda: self._tried(
            lambda: self._logic.fine_tuning.start(folder, bundle, minutes, device, keep_general)
        )
        if can_resume(folder):
            question = _(
                "An earlier fine-tuning was stopped before its end. Go on with it? Otherwise a new one begins."
            )
            self._host.dialogs.ask(question, _("Go on"), resume, begin)
        else:
            begin()

    def use_result(self) -> None:
        """Work with the new model from now on."""
        result, folder = self._result, self._folder
        if result is not None and folder is not None:
            model = self._tried(lambda: adopt(folder, result.bundle))
            if model is not None:
                self._on_model(model.name)

    def go_back(self) -> None:
        """Work with the model before again."""
        if self._previous:
            self._on_model(self._previous)

    def close(self) -> None:
        """Listen no more."""
        self._logic.fine_tuning.forget(self._on_status)

    def _on_status(self, status: CommandStatus) -> None:
        self.changed()
        if status.result is not None:
            self._on_end()


def _verdict(result: FineTuningResult) -> str:
    """What the comparison with the previous model means for the user."""
    return {
        "promote": _("The new model is better for this site's next patients."),
        "insufficient-evidence": _(
            "The new model may be better: the evidence is insufficient. Look at the report first."
        ),
        "keep": _("The model stays: the new one would be worse."),
    }.get(result.decision, result.decision)
