"""CrossModalSeg's library: segments a patient's two scans of different modality together. Knows nothing of Slicer."""

__version__ = "0.1.0"
