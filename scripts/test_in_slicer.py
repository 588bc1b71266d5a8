"""Run the module's own test inside 3D Slicer, and end Slicer with its result. Started by ``make test-slicer``."""

import unittest

import slicer

from CrossModalSeg import CrossModalSegTest

suite = unittest.defaultTestLoader.loadTestsFromTestCase(CrossModalSegTest)
result = unittest.TextTestRunner(verbosity=2).run(suite)
slicer.util.exit(slicer.util.EXIT_SUCCESS if result.wasSuccessful() else slicer.util.EXIT_FAILURE)
