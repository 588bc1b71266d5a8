"""From two scans to two segmentations, what there is to review in them, and their scores."""
