"""The panel in 3D Slicer: the only files that know Qt. They show what `logic` says and send signals."""
