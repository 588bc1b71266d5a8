"""The page: templates of its sections, with the state that the sections show and the triggers that they listen to."""

from pathlib import Path

from trame.ui.vuetify3 import VAppLayout
from trame.widgets import html
from trame_server import Server

from CrossModalSegApp.web.editor import Editor
from CrossModalSegApp.web.views import Views

_HERE = Path(__file__).parent
_STATIC, _ICONS = "crossmodalseg", "crossmodalseg_icons"
_TITLE = "CrossModalSeg"
_BEHIND = ':inert="dialog.is_open"'  # neither mouse nor keyboard reaches what is behind a dialog


def build_page(server: Server, views: Views, editor: Editor) -> None:
    """Make the page that ``server`` serves."""
    served = {_STATIC: _HERE / "static", _ICONS: _HERE.parents[1] / "Resources" / "Icons"}
    server.enable_module(
        {
            "serve": {name: str(folder) for name, folder in served.items() if folder.is_dir()},
            "scripts": [f"{_STATIC}/workstation.js"],
            "styles": [f"{_STATIC}/workstation.css"],
        }
    )
    server.state.trame__title = _TITLE
    server.state.trame__favicon = f"{_ICONS}/CrossModalSeg.png"
    with VAppLayout(server, theme="dark") as page, html.Div(classes="workstation"):
        html.Header(_template("header"), classes="bar", raw_attrs=[_BEHIND])
        with html.Aside(classes="panel", raw_attrs=['aria-label="Case"', _BEHIND]):
            for name in ("files", "scans", "run", "result", "review"):
                html.Section(_template(name), classes=f"section {name}")
            with html.Section("<h2>Correct</h2>", classes="section correct", v_show="correct.modality"):
                editor.place()
                html.Div(_template("correct"))
            html.Section(_template("compare"), classes="section compare")
            html.Section(_template("legend"), classes="section legend")
            html.Section(_template("site"), classes="section site")
        with html.Main(classes="views", raw_attrs=['aria-label="Views"', _BEHIND]):
            views.place_in(page)
        html.Footer(_template("place"), classes="place", raw_attrs=[_BEHIND])
        html.Div("{{ correct.cursor }}", id="cursor-note", raw_attrs=['aria-hidden="true"'])
        html.Div(_template("dialog"), v_if="dialog.is_open", classes="veil")


def _template(name: str) -> str:
    return (_HERE / "templates" / f"{name}.html").read_text(encoding="utf-8")
