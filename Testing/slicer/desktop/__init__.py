"""A stand-in for the desktop of 3D Slicer: Qt, CTK and MRML widgets, the application, scripted modules.

The scene, its nodes and the functions of ``slicer.util`` are Slicer's own (package slicer-core). What only the
application has is stood in for: ``qt`` and ``ctk`` (PySide6 that obeys PythonQt's rules), ``slicer.app``,
``slicer.modules``, ``qMRML*`` widgets, ``ScriptedLoadableModule``, ``parameterNodeWrapper``, ``SampleData``.

What passes here has not been tested in Slicer. In particular, nothing is proven of:

- the effects and the painting of the segment editor (its widget here keeps the nodes and shows a plain list),
- views and the layout manager (there is none; layouts are nodes only),
- threads, and the order in which Slicer delivers events when it is busy,
- how things look: fonts, spacing and styles differ,
- methods and overloads of Qt that PythonQt does not wrap, where PySide6 has them.
"""
