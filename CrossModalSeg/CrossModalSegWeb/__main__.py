"""``python -m CrossModalSegWeb``: the same as ``crossmodalseg-web``."""

import sys

from CrossModalSegWeb.command import main

sys.exit(main())
