"""A stand-in for the desktop of 3D Slicer: Qt, CTK and MRML widgets, the application, scripted modules.

The scene, its nodes and the functions of ``slicer.util`` are Slicer's own (package slicer-core). What only the
application has is stood in for: ``qt`` and ``ctk`` (PySide6 that obeys PythonQt's rules), ``slicer.app``,
``slicer.modules``, ``qMRML*`` widgets, ``ScriptedLoadableModule``, ``parameterNodeWrapper``, ``SampleData``.

It does what was seen in a real desktop, where code that is not prepared fails: Python is started by a launcher whose
child it is; a selector takes a neighbour when its node is removed; Reload calls ``setup`` while the module is shown,
and not ``enter``; the editor puts its tool down when another segmentation is edited; sections do not ask how high their
texts are; and each event of a node that views show is a render, which `Desktop.renders_of` counts.

What passes here has not been tested in Slicer. In particular, nothing is proven of:

- the effects and the painting of the segment editor (its widget here keeps the nodes and shows a plain list),
- views and the layout manager (there is none; layouts are nodes only),
- threads, and the order in which Slicer delivers events when it is busy,
- how things look: fonts, spacing and styles differ,
- methods and overloads of Qt that PythonQt does not wrap, where PySide6 has them.
"""
