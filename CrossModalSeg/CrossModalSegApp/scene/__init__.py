"""The nodes of a scene: volumes, segmentations, results, layout. Knows no process, no words for users and no Qt."""
