"""The stand-in for Slicer's desktop: it behaves as Slicer does, and it catches mistakes that would only show there."""

import sys
import types

import pytest

MODULE = """
import qt
import slicer
from slicer.ScriptedLoadableModule import *
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.util import VTKObservationMixin


@parameterNodeWrapper
class GreeterParameters:
    scan: slicer.vtkMRMLScalarVolumeNode
    loud: bool = True


class Greeter(ScriptedLoadableModule):
    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("Greeter")
        parent.categories = ["Examples"]


class GreeterWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    calls = []

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self):
        super().setup()
        self.calls.append("setup")
        content = slicer.util.loadUI(self.resourcePath("UI/Greeter.ui"))
        self.layout.addWidget(content)
        self.ui = slicer.util.childWidgetVariables(content)
        content.setMRMLScene(slicer.mrmlScene)
        self.logic = GreeterLogic()
        self.ui.greetButton.connect("clicked()", self.greet)
        self.parameters = GreeterParameters(self.logic.getParameterNode())
        self.parameters.connectGui(self.ui)
        self.loaded = True
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, lambda *_: self.calls.append("closed"))

    def greet(self):
        with slicer.util.tryWithErrorDisplay("Greeting failed.", waitCursor=True):
            self.ui.greetingLabel.text = self.logic.greeting(self.parameters.scan)

    def enter(self):
        self.calls.append("enter")

    def exit(self):
        self.calls.append("exit")

    def cleanup(self):
        self.calls.append("cleanup")
        self.removeObservers()


class GreeterLogic(ScriptedLoadableModuleLogic):
    def greeting(self, scan):
        return f"Hello {scan.GetName()}"
"""

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Greeter</class>
 <widget class="qMRMLWidget" name="Greeter"><layout class="QVBoxLayout" name="verticalLayout">
  <item><widget class="ctkCollapsibleButton" name="inputsButton">
   <property name="text"><string>Inputs</string></property>
   <layout class="QFormLayout" name="formLayout">
    <item row="0" column="0"><widget class="QLabel" name="scanLabel">
     <property name="text"><string>Scan:</string></property></widget></item>
    <item row="0" column="1"><widget class="qMRMLNodeComboBox" name="scanSelector">
     <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
     <property name="noneEnabled"><bool>true</bool></property>
     <property name="SlicerParameterName" stdset="0"><string>scan</string></property></widget></item>
    <item row="1" column="1"><widget class="QCheckBox" name="loudBox">
     <property name="text"><string>Loud</string></property>
     <property name="SlicerParameterName" stdset="0"><string>loud</string></property></widget></item>
   </layout></widget></item>
  <item><widget class="QPushButton" name="greetButton"><property name="text"><string>Greet</string></property></widget>
  </item>
  <item><widget class="QLabel" name="greetingLabel"/></item>
 </layout></widget>
 <customwidgets/><resources/>
 <connections><connection><sender>Greeter</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
  <receiver>scanSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections>
</ui>
"""


@pytest.fixture
def write_greeter(tmp_path):
    """Writes the module Greeter, with texts replaced in its file and its .ui file; returns the path of Greeter.py."""

    def write(code=("", ""), ui=("", "")):
        assert code[0] in MODULE
        assert ui[0] in UI
        (tmp_path / "Resources/UI").mkdir(parents=True)
        (tmp_path / "Resources/UI/Greeter.ui").write_text(UI.replace(*ui) if ui[0] else UI)
        (tmp_path / "Greeter.py").write_text(MODULE.replace(*code) if code[0] else MODULE)
        return tmp_path / "Greeter.py"

    return write


@pytest.fixture
def greeter(desktop, write_greeter):
    return desktop.load_module(write_greeter())


def test_a_module_is_loaded_opened_left_and_unloaded_as_slicer_does(desktop, greeter):
    import slicer

    assert slicer.modules.greeter.title == "Greeter"
    assert slicer.modules.greeter.widgetRepresentation().self() is greeter
    assert slicer.util.getModuleWidget("Greeter") is slicer.modules.GreeterWidget is greeter
    desktop.exit()
    assert not desktop.frame.isEntered
    calls = greeter.calls
    desktop.unload()
    assert calls == ["setup", "enter", "exit", "cleanup"]


def test_reload_runs_the_changed_file_in_the_same_frame(desktop, greeter, tmp_path):
    frame = desktop.frame
    (tmp_path / "Greeter.py").write_text(MODULE.replace("Hello {", "Goodbye {"))
    panel = desktop.reload()
    assert desktop.frame is frame
    assert panel is not greeter
    assert greeter.calls == ["setup", "enter", "cleanup"]
    assert panel.calls == ["setup"], "as in Slicer, where the module that is shown is not entered by Reload"
    scan = desktop.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "T1w")
    panel.ui.scanSelector.setCurrentNode(scan)
    panel.ui.greetButton.click()
    assert panel.ui.greetingLabel.text == "Goodbye T1w"


def test_a_click_reaches_the_function_and_the_node_selector_the_parameter_node(desktop, greeter):
    scan = desktop.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "T1w")
    greeter.ui.scanSelector.setCurrentNode(scan)
    assert greeter.parameters.scan is scan
    greeter.ui.greetButton.click()
    assert greeter.ui.greetingLabel.text == "Hello T1w"


def test_an_error_in_a_click_is_shown_once_and_fails_a_test_that_does_not_expect_it(desktop, greeter):
    greeter.ui.greetButton.click()
    assert desktop.dialogs.texts() == ["Greeting failed.\n\n'NoneType' object has no attribute 'GetName'"]
    (error,) = desktop.take_errors()
    assert isinstance(error, AttributeError)


def test_closing_the_scene_tells_observers_and_leaves_no_current_node(desktop, greeter):
    scan = desktop.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "T1w")
    greeter.ui.scanSelector.setCurrentNode(scan)
    desktop.close_scene()
    assert "closed" in greeter.calls
    assert greeter.ui.scanSelector.currentNode() is None
    assert greeter.parameters.scan is None


def test_widgets_and_parameters_follow_each_other(greeter):
    assert greeter.ui.loudBox.checked
    greeter.parameters.loud = False
    assert not greeter.ui.loudBox.checked
    greeter.ui.loudBox.click()
    assert greeter.parameters.loud is True
    assert greeter.logic.getParameterNode().GetParameter("loud") == "True"


# --- mistakes that only Slicer would show


SEEDED_IN_CODE = {
    "misspelled attribute": ("self.loaded = True", "self.ui.greetingLabel.txt = 'x'", "'txt' does not exist on QLabel"),
    "method overwritten": ("self.loaded = True", "self.ui.greetButton.setText = 'x'", "Slot 'setText' can not be"),
    "getter of a property called": (
        "self.loaded = True",
        "self.ui.greetingLabel.text()",
        "'str' object is not callable",
    ),
    "read-only property": (
        "self.loaded = True",
        "self.ui.greetingLabel.width = 5",
        "'width' of QLabel is not writable",
    ),
    "text that is None": ("self.loaded = True", "self.ui.greetingLabel.text = None", "does not accept None"),
    "keyword in a constructor": ("self.loaded = True", "qt.QLabel(text='x')", "takes no keyword arguments"),
    "misspelled widget": ("self.loaded = True", "self.ui.greatButton", "no attribute 'greatButton'"),
    "unknown signal": ('connect("clicked()"', 'connect("klicked()"', r"no signal 'klicked\(\)'"),
    "arguments that the signal has not": (
        'connect("clicked()"',
        'connect("clicked(int)"',
        r"no signal 'clicked\(int\)'",
    ),
    "connection undone that never was": (
        "self.loaded = True",
        "self.ui.loudBox.disconnect('toggled(bool)', print)",
        "is not connected",
    ),
    "unknown field of the module": ('parent.title = _("Greeter")', 'parent.titel = "x"', "'titel' does not exist"),
    "misspelled parameter": ("self.loaded = True", "self.parameters.lowd = True", "no parameter 'lowd'"),
    "parameter of the wrong type": ("self.loaded = True", "self.parameters.loud = 'yes'", "must be of type"),
    "parameter type that cannot be stored": ("loud: bool = True", "loud: bytes = b''", "Unable to create serializer"),
    "reserved name of a parameter": ("loud: bool = True", "Modified: bool = True", "reserved name 'Modified'"),
    "widget that is gone": (
        "self.loaded = True",
        "label = qt.QLabel(); label.delete(); label.text",
        "destroyed QLabel",
    ),
}


@pytest.mark.parametrize("name", SEEDED_IN_CODE)
def test_a_mistake_in_the_code_is_caught(desktop, write_greeter, name):
    right, wrong, message = SEEDED_IN_CODE[name]
    with pytest.raises((AttributeError, TypeError, ValueError), match=message):
        desktop.load_module(write_greeter(code=(right, wrong)))


SEEDED_IN_UI = {
    "unknown widget class": ('class="QCheckBox"', 'class="QTickBox"', "does not know: QTickBox"),
    "unknown property": ('name="noneEnabled"', 'name="noneAllowed"', "no property 'noneAllowed'"),
    "unknown parameter": ("<string>loud</string>", "<string>lowd</string>", "Cannot find a param.*lowd"),
    "widget that cannot show its parameter": ('class="QCheckBox"', 'class="QLabel"', "Unable to create GUI connector"),
    "unknown signal of a connection": ("<signal>mrmlSceneChanged", "<signal>sceneChanged", "no signal 'sceneChanged"),
    "unknown slot of a connection": ("<slot>setMRMLScene", "<slot>setScene", "scanSelector has no slot setScene"),
    "unknown widget of a connection": ("<receiver>scanSelector", "<receiver>scan", "names 'scan', which is no widget"),
}


@pytest.mark.parametrize("name", SEEDED_IN_UI)
def test_a_mistake_in_the_ui_file_is_caught(desktop, write_greeter, name):
    right, wrong, message = SEEDED_IN_UI[name]
    with pytest.raises((RuntimeError, ValueError), match=message):
        desktop.load_module(write_greeter(ui=(right, wrong)))


def test_a_selector_that_never_gets_the_scene_stays_empty(desktop, write_greeter):
    """As in Slicer, where a forgotten connection shows as a grey selector."""
    connection = UI[UI.index("<connections>") : UI.index("</connections>")]
    panel = desktop.load_module(write_greeter(ui=(connection, "<connections>")))
    desktop.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "T1w")
    assert panel.ui.scanSelector.nodeCount() == 0


def test_a_warning_of_qt_and_an_exception_in_a_slot_are_noticed(desktop):
    button = desktop.qt.QPushButton("x")
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    widget = desktop.qt.QWidget()
    desktop.qt.QVBoxLayout(widget)
    desktop.qt.QVBoxLayout(widget)
    error, warning = desktop.take_errors()
    assert isinstance(error, ZeroDivisionError)
    assert "already has a layout" in warning


def test_nothing_of_the_desktop_stays_behind(slicer_names, slicer_logics):
    import slicer

    packages = {"CrossModalSegApp": types.ModuleType("CrossModalSegApp"), "CrossModalSegApp.x": types.ModuleType("x")}
    with pytest.MonkeyPatch.context() as patch:
        for name, module in packages.items():
            patch.setitem(sys.modules, name, module)
        with slicer_names.installed(slicer_names.make_application()):
            assert slicer.mrmlScene is slicer_logics.scene
            sys.modules["CrossModalSegApp"] = types.ModuleType("CrossModalSegApp")  # as Reload does
            del sys.modules["CrossModalSegApp.x"]
            assert "qt" in sys.modules
        assert {name: sys.modules[name] for name in packages} == packages
    assert not {"qt", "ctk", "SampleData", "slicer.i18n"} & set(sys.modules)
    assert not {"app", "mrmlScene", "modules", "qMRMLWidget"} & set(vars(slicer))
