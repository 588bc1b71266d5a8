"""What the module for 3D Slicer and the page in a browser are made of, a room for each kind of thing."""
