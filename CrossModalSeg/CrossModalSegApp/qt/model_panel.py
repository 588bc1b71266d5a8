"""The model section: which model, what it says about itself, import and removal."""

from html import escape
from typing import Any

from slicer.i18n import tr as _

from CrossModalSegApp.logic.scans_presenter import ScansPresenter, ScansSectionState
from CrossModalSegApp.qt.dialogs import Dialogs
from CrossModalSegApp.qt.selector import Selector
from CrossModalSegLib.bundles.bundle_metadata import MODEL_CARD_FILE


class ModelPanel:
    """Draws the models of a `ScansPresenter`."""

    def __init__(self, ui: Any, dialogs: Dialogs, presenter: ScansPresenter):
        self._ui, self._dialogs, self._presenter = ui, dialogs, presenter
        self._selector = Selector(ui.modelSelector, presenter.choose_model)
        ui.importFolderButton.clicked.connect(self._import_folder)
        ui.importZipButton.clicked.connect(self._import_zip)
        ui.removeModelButton.clicked.connect(lambda *_args: presenter.remove_model())
        presenter.listen(self._draw)

    def _draw(self) -> None:
        state, ui = self._presenter.state, self._ui
        self._selector.show(state.models, state.model)
        ui.removeModelButton.enabled = state.can_remove
        text = self._description(state)
        if ui.modelLabel.text != text:
            ui.modelLabel.text, ui.modelLabel.toolTip = text, state.structures

    def _description(self, state: ScansSectionState) -> str:
        """A few lines of rich text; what the model says is escaped, for it may come from anywhere."""
        rows = [f"<b>{escape(title)}:</b> {escape(content)}" for title, content in state.model_facts]
        lines = [escape(state.description), *rows]
        bundle = self._presenter.bundle
        if bundle is not None:
            card = (bundle.path / MODEL_CARD_FILE).as_uri()
            lines.append(f'<a href="{card}">{escape(_("Model card: data, scores, limits"))}</a>')
        return "<br>".join(lines)

    def _import_folder(self, *_args: object) -> None:
        self._import(self._dialogs.choose_folder(_("Choose the folder of a model")))

    def _import_zip(self, *_args: object) -> None:
        self._import(self._dialogs.choose_file(_("Choose the zip file of a model"), "*.zip"))

    def _import(self, path: Any) -> None:
        if path is not None:
            self._presenter.import_model(path)
