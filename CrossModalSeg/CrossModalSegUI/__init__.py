"""The module's user interface: what Slicer and the browser view share, and the views in Qt."""
