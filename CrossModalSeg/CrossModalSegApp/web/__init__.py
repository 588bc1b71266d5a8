"""The module in a browser: the same logic as in 3D Slicer behind a page that trame-slicer serves to this computer."""
