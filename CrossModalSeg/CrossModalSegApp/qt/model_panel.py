"""The model section: which model, what it says about itself, import and removal."""

from collections.abc import Callable
from html import escape
from typing import Any

from slicer.i18n import tr as _

from CrossModalSegApp.logic.logic import SegmentationLogic
from CrossModalSegApp.logic.wording import model_facts, structure_names
from CrossModalSegApp.qt.dialogs import Dialogs
from CrossModalSegLib.bundles.bundle import Bundle
from CrossModalSegLib.bundles.bundle_metadata import MODEL_CARD_FILE
from CrossModalSegLib.errors import CrossModalSegError


class ModelPanel:
    """Lists the installed models; ``on_chosen(name)`` is called when the user picks one."""

    def __init__(self, ui: Any, logic: SegmentationLogic, dialogs: Dialogs, on_chosen: Callable[[str], None]):
        self._ui, self._logic, self._dialogs, self._on_chosen = ui, logic, dialogs, on_chosen
        self._bundles: list[Bundle] = []
        self._is_filling = False
        ui.modelSelector.currentIndexChanged.connect(self._choose)
        ui.importFolderButton.clicked.connect(self._import_folder)
        ui.importZipButton.clicked.connect(self._import_zip)
        ui.removeModelButton.clicked.connect(self._remove)

    @property
    def bundle(self) -> Bundle | None:
        """The chosen model, None where none is installed."""
        index = self._ui.modelSelector.currentIndex
        return self._bundles[index] if 0 <= index < len(self._bundles) else None

    def fill(self, name: str) -> None:
        """Read the list of models again and choose ``name``, or the first where it is not there."""
        self._bundles = self._logic.bundles()
        names = [bundle.name for bundle in self._bundles]
        self._is_filling = True
        self._ui.modelSelector.clear()
        for bundle in self._bundles:
            self._ui.modelSelector.addItem(f"{bundle.name} {bundle.version}")
        self._ui.modelSelector.setCurrentIndex(names.index(name) if name in names else min(0, len(names) - 1))
        self._is_filling = False
        self._render()

    def _render(self) -> None:
        bundle = self.bundle
        self._ui.removeModelButton.enabled = bundle is not None and self._logic.is_removable(bundle)
        self._ui.modelLabel.text = description(bundle) if bundle else _("No model is installed. Import one.")
        self._ui.modelLabel.toolTip = structure_names(bundle) if bundle else ""

    def _choose(self, _index: int) -> None:
        if self._is_filling:
            return
        self._render()
        if self.bundle:
            self._on_chosen(self.bundle.name)

    def _import_folder(self, *_args: object) -> None:
        self._import(self._dialogs.choose_folder(_("Choose the folder of a model")))

    def _import_zip(self, *_args: object) -> None:
        self._import(self._dialogs.choose_file(_("Choose the zip file of a model"), "*.zip"))

    def _import(self, path: Any) -> None:
        if path is None:
            return
        try:
            bundle = self._logic.import_bundle(path)
        except CrossModalSegError as error:
            self._dialogs.show_error(error)
            return
        self.fill(bundle.name)
        self._on_chosen(bundle.name)

    def _remove(self, *_args: object) -> None:
        bundle = self.bundle
        if bundle is None or not self._dialogs.confirm(_("Delete the model {name}?").format(name=bundle.name)):
            return
        try:
            self._logic.remove_bundle(bundle.name)
        except CrossModalSegError as error:
            self._dialogs.show_error(error)
        self.fill("")
        if self.bundle:
            self._on_chosen(self.bundle.name)


def description(bundle: Bundle) -> str:
    """A few lines of rich text; what the bundle says is escaped, for it may come from anywhere."""
    rows = [f"<b>{escape(title)}:</b> {escape(content)}" for title, content in model_facts(bundle)]
    lines = [escape(bundle.metadata["description"]), *rows]
    card = bundle.path / MODEL_CARD_FILE
    return "<br>".join(lines) + f'<br><a href="{card.as_uri()}">{escape(_("Model card: data, scores, limits"))}</a>'
