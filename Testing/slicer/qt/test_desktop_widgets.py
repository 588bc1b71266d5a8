"""The stand-in's widgets, signals and dialogs behave as those of Slicer do, as far as modules rely on it."""

import sys

import pytest


def test_signals_by_signature_give_as_many_arguments_as_the_signature(desktop):
    button, heard = desktop.qt.QPushButton("x"), []

    def note(checked):
        heard.append(checked)

    button.checkable = True
    button.connect("clicked()", lambda *arguments: heard.append(arguments))
    button.connect("clicked(bool)", lambda *arguments: heard.append(arguments))
    button.clicked.connect(note)
    button.click()
    assert heard == [(), (True,), True]


def test_a_disconnected_function_is_not_called_again(desktop):
    slider, heard = desktop.qt.QSlider(), []
    slider.connect("valueChanged(int)", heard.append)
    slider.value = 5
    slider.disconnect("valueChanged(int)", heard.append)
    slider.value = 6
    assert heard == [5]


def test_a_process_tells_its_output_and_its_end(desktop):
    process, heard = desktop.qt.QProcess(), []
    process.connect("readyReadStandardOutput()", lambda: heard.append(bytes(process.readAllStandardOutput()).strip()))
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: heard.append((code, status)))
    process.start(sys.executable, ["-c", "print('hello'); raise SystemExit(3)"])
    desktop.process_events(until=lambda: len(heard) == 2)
    assert heard == [b"hello", (3, desktop.qt.QProcess.NormalExit)]


def test_a_property_and_a_static_method_of_one_name_are_told_apart(desktop):
    timer, heard = desktop.qt.QTimer(), []
    timer.singleShot = True
    assert timer.singleShot is True
    desktop.qt.QTimer.singleShot(0, lambda: heard.append("now"))
    desktop.process_events(until=lambda: heard)


def test_every_property_of_every_widget_can_be_read(desktop):
    """Getters that are virtual in Qt could find the attribute and call themselves."""
    for name in ("QLabel", "QProgressBar", "QTextBrowser", "QTableWidget", "QTreeWidget", "QToolButton", "QSlider"):
        widget = getattr(desktop.qt, name)()
        declared = widget.metaObject()
        for number in range(declared.propertyCount()):
            getattr(widget, declared.property(number).name())


def test_a_folded_section_hides_its_contents_but_not_what_was_hidden_before(desktop):
    section = desktop.ctk.ctkCollapsibleButton("Section")
    layout = desktop.qt.QVBoxLayout(section)
    shown, hidden = desktop.qt.QLabel("shown"), desktop.qt.QLabel("hidden")
    layout.addWidget(shown)
    layout.addWidget(hidden)
    hidden.setVisible(False)
    heard = []
    section.connect("contentsCollapsed(bool)", heard.append)
    section.collapsed = True
    assert (shown.isHidden(), hidden.isHidden(), section.checked) == (True, True, False)
    section.click()
    assert (shown.isHidden(), hidden.isHidden(), section.collapsed) == (False, True, False)
    assert heard == [True, False]


def test_sliders_over_floats_keep_to_their_range_and_tell_each_change_once(desktop):
    for slider in (desktop.ctk.ctkSliderWidget(), desktop.ctk.ctkDoubleSlider()):
        heard = []
        slider.minimum, slider.maximum, slider.singleStep = 0.0, 1.0, 0.01
        slider.connect("valueChanged(double)", heard.append)
        slider.value = 0.25
        slider.value = 0.25
        slider.value = 7.0
        assert heard == [0.25, 1.0]
        assert slider.value == 1.0


def test_the_node_selector_follows_the_scene(desktop):
    import slicer

    selector, heard = slicer.qMRMLNodeComboBox(), []
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.addAttribute("vtkMRMLScalarVolumeNode", "Kind", "MR")
    selector.setMRMLScene(desktop.scene)
    selector.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    for name, kind in (("a", "CT"), ("b", "MR"), ("c", "MR")):
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetName(name)
        node.SetAttribute("Kind", kind)
        desktop.scene.AddNode(node)
    assert selector.nodeCount() == 2
    assert selector.currentNode().GetName() == "b"  # without "None", the first that comes is taken
    desktop.scene.RemoveNode(selector.currentNode())
    assert selector.currentNode().GetName() == "c"
    selector.setCurrentNode(slicer.util.getNode("a"))
    assert selector.currentNode() is None
    assert [node and node.GetName() for node in heard] == ["b", "c", None]


def test_a_selector_takes_the_entry_before_when_its_node_is_removed_also_where_none_could_be_chosen(desktop):
    import slicer

    nodes = [desktop.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name) for name in "abc"]
    selector = slicer.qMRMLNodeComboBox()
    selector.noneEnabled = True
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.setMRMLScene(desktop.scene)
    selector.setCurrentNode(nodes[1])
    desktop.scene.RemoveNode(nodes[2])
    assert selector.currentNode() is nodes[1], "another one's removal is nothing to it"
    desktop.scene.RemoveNode(nodes[1])
    assert selector.currentNode() is nodes[0]
    desktop.scene.RemoveNode(nodes[0])
    assert selector.currentNode() is None


def test_nodes_are_left_out_of_a_selector_by_id(desktop):
    import slicer

    first, second = (desktop.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name) for name in "ab")
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.setMRMLScene(desktop.scene)
    selector.sortFilterProxyModel().hiddenNodeIDs = (first.GetID(),)
    assert [selector.nodeFromIndex(number) for number in range(selector.nodeCount())] == [second]


def test_hidden_nodes_are_not_offered(desktop):
    import slicer

    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.setMRMLScene(desktop.scene)
    node = desktop.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    node.SetHideFromEditors(True)
    selector.showHidden = True
    assert selector.nodeCount() == 1
    selector.showHidden = False
    assert selector.nodeCount() == 0


def test_the_segment_editor_keeps_its_choice_in_its_node(desktop):
    import slicer

    editor = slicer.qMRMLSegmentEditorWidget()
    editor.setMRMLScene(desktop.scene)
    with pytest.raises(RuntimeError, match="setMRMLSegmentEditorNode first"):
        editor.setSegmentationNode(None)
    node = desktop.scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
    segmentation = desktop.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.GetSegmentation().AddEmptySegment("Segment_3", "thalamus")
    editor.setMRMLSegmentEditorNode(node)
    editor.setSegmentationNode(segmentation)
    editor.setActiveEffectByName("Paint")
    assert node.GetSegmentationNode() is segmentation
    assert node.GetSelectedSegmentID() == editor.currentSegmentID() == "Segment_3"
    assert node.GetActiveEffectName() == editor.activeEffect().name == "Paint"
    editor.setSegmentationNode(segmentation)
    assert editor.activeEffect().name == "Paint"
    editor.setSegmentationNode(desktop.scene.AddNewNodeByClass("vtkMRMLSegmentationNode"))
    assert editor.activeEffect() is None, "another segmentation: the tool is put down"


# --- views


def test_views_draw_at_once_for_each_event_of_what_they_show_and_once_after_a_pause(desktop):
    import slicer

    scene = desktop.scene

    def show_something():
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        node.CreateDefaultDisplayNodes()
        node.GetDisplayNode().SetVisibility(False)
        scene.RemoveNode(node)

    def show_it_in_one_go():
        with slicer.util.RenderBlocker(), slicer.util.RenderBlocker():
            show_something()

    assert desktop.renders_of(show_something) > 3
    assert desktop.renders_of(show_it_in_one_go) == 1
    assert desktop.renders_of(lambda: scene.AddNewNodeByClass("vtkMRMLTextNode")) == 0


# --- dialogs, settings


def test_dialogs_get_the_answers_of_the_test_in_turn(desktop):
    import slicer

    desktop.dialogs.answer("yes", "no", "/some/folder", "Replace")
    assert slicer.util.confirmYesNoDisplay("Really?") is True
    assert desktop.qt.QMessageBox.question(None, "Title", "Again?") == desktop.qt.QMessageBox.No
    assert desktop.qt.QFileDialog.getExistingDirectory(None, "Where?") == "/some/folder"
    box = desktop.qt.QMessageBox()
    replace = box.addButton("Replace", desktop.qt.QMessageBox.AcceptRole)
    box.addButton("Keep", desktop.qt.QMessageBox.RejectRole)
    box.exec_()
    assert box.clickedButton() is replace
    slicer.util.infoDisplay("Done.")
    assert [dialog.text for dialog in desktop.dialogs.shown] == ["Really?", "Again?", "", "", "Done."]


def test_a_dialog_that_nobody_expects_fails(desktop):
    import slicer

    with pytest.raises(AssertionError, match=r"a dialog asks.*Really"):
        slicer.util.confirmOkCancelDisplay("Really?")
    desktop.dialogs.answer("retry")
    with pytest.raises(AssertionError, match="has no button Retry"):
        slicer.util.confirmOkCancelDisplay("Really?")


def test_settings_are_empty_at_first_and_kept_for_the_test(desktop):
    import slicer

    settings = desktop.qt.QSettings()
    assert not settings.contains("CrossModalSeg/site")
    settings.setValue("CrossModalSeg/site", "/some/folder")
    assert slicer.util.settingsValue("CrossModalSeg/site", "") == "/some/folder"


# --- pictures


def test_pictures_have_text_in_them(desktop, tmp_path):
    """Without a font, Qt draws nothing or boxes, and says nothing."""
    label = desktop.qt.QLabel("Segment")
    dark = {}
    for text in ("Segment", "", "lllllll"):
        label.text = text
        picture = desktop.qt.QImage(str(desktop.screenshot(label, tmp_path / "label.png", width=120, height=30)))
        greys = [picture.pixelColor(x, y).lightness() for x in range(120) for y in range(30)]
        dark[text] = sum(grey < 128 for grey in greys)
    assert dark[""] == 0
    assert 20 < dark["lllllll"] < dark["Segment"]
