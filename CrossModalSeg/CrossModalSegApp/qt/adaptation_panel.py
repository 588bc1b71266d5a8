"""Adapting the model to the site: start and cancel, how far it is, the new model with its report, and the way back."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.wording import adaptation_words, button_words, error_html, verdict_words
from CrossModalSegApp.process.adaptation import AdaptationResult, can_resume, latest_result
from CrossModalSegApp.process.background_command import CommandStatus
from CrossModalSegApp.qt.dialogs import Dialogs
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.errors import CrossModalSegError


class AdaptationPanel:
    """Renders the status of an `Adaptation`.

    ``ready`` is asked before a start and may install packages, ``device`` says what to compute on. ``on_model(name)`` is
    called with the model that the user wants to work with from now on, ``on_end`` when the site may have a new model.
    """

    def __init__(
        self,
        ui: Any,
        logic: SegmentationLogic,
        dialogs: Dialogs,
        ready: Callable[[], bool],
        device: Callable[[], str],
        on_model: Callable[[str], None],
        on_end: Callable[[], None],
    ):
        self._ui, self._logic, self._dialogs, self._ready, self._device = ui, logic, dialogs, ready, device
        self._on_model, self._on_end = on_model, on_end
        self._folder: Path | None = None
        self._bundle: Bundle | None = None
        self._result: AdaptationResult | None = None
        ui.adaptButton.clicked.connect(self._start_or_cancel)
        ui.useModelButton.clicked.connect(self._use)
        ui.previousModelButton.clicked.connect(self._go_back)
        logic.adaptation.listen(self._on_status)
        self._render()

    def show_site(self, folder: Path | None) -> None:
        """The site folder; None where there is no site yet."""
        self._folder, self._result = folder, None
        try:
            self._result = latest_result(folder) if folder else None
        except CrossModalSegError as error:
            self._dialogs.show_error(error)
        self._render()

    def show_model(self, bundle: Bundle | None) -> None:
        """The model that is chosen: it is the one to adapt."""
        self._bundle = bundle
        self._render()

    def close(self) -> None:
        """Listen no more."""
        self._logic.adaptation.forget(self._on_status)

    # --- what the user does

    def _start_or_cancel(self, *_args: object) -> None:
        if self._logic.adaptation.status.is_running:
            self._logic.adaptation.cancel()
        elif self._folder is not None and self._bundle is not None and self._ready():
            self._start(self._folder, self._bundle)

    def _start(self, folder: Path, bundle: Bundle) -> None:
        question = _("An earlier adaptation was stopped before its end. Go on with it? Otherwise a new one begins.")
        try:
            if can_resume(folder) and self._dialogs.confirm(question):
                self._logic.resume_adaptation(folder, self._device())
            else:
                general = self._ui.keepGeneralCheck.checked
                self._logic.adapt(folder, bundle, self._ui.budgetSpin.value, self._device(), general)
        except CrossModalSegError as error:
            self._dialogs.show_error(error)

    def _use(self, *_args: object) -> None:
        if self._result is None or self._folder is None:
            return
        try:
            model = self._logic.adopt(self._result, self._folder)
        except CrossModalSegError as error:
            self._dialogs.show_error(error)
            return
        self._on_model(model.name)

    def _go_back(self, *_args: object) -> None:
        previous = self._logic.previous_model(self._bundle) if self._bundle else None
        if previous is not None:
            self._on_model(previous.name)

    # --- rendering

    def _on_status(self, status: CommandStatus) -> None:
        self._render()
        if status.result is not None:
            self._on_end()

    def _render(self) -> None:
        status, ui = self._logic.adaptation.status, self._ui
        ui.adaptButton.text = button_words(status, _("Adapt the model"), _("Cancel adapting"))
        ui.adaptButton.enabled = status.is_running or (self._folder is not None and self._bundle is not None)
        ui.budgetSpin.enabled = ui.keepGeneralCheck.enabled = not status.is_running
        ui.adaptBar.visible = status.is_running
        ui.adaptBar.value = round(100 * status.fraction)
        ui.adaptLabel.text = self._words(status)
        ui.adaptLabel.visible = bool(ui.adaptLabel.text)
        self._render_models()

    def _render_models(self) -> None:
        is_running = self._logic.adaptation.status.is_running
        offered = self._result is not None and self._result.is_offered
        self._ui.useModelButton.enabled = offered and not is_running
        previous = self._logic.previous_model(self._bundle) if self._bundle else None
        self._ui.previousModelButton.enabled = previous is not None
        words = _("Back to {name}").format(name=previous.name) if previous else _("Back to the previous model")
        self._ui.previousModelButton.text = words

    def _words(self, status: CommandStatus) -> str:
        if status.error is not None:
            return error_html(status.error)
        words = adaptation_words(status)
        if words:
            return "<br>".join(map(escape, (words, *status.plan)))
        return _verdict(self._result) if self._result else ""


def _verdict(result: AdaptationResult) -> str:
    said = [escape(sentence) for sentence in (*result.summary, "; ".join(result.reasons))]
    report = f'<a href="{result.report.resolve().as_uri()}">{escape(_("Open the report"))}</a>'
    return "<br>".join([f"<b>{escape(verdict_words(result))}</b>", *said, report])
