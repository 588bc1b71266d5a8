"""``python -m CrossModalSegApp.web``: the same as ``crossmodalseg-web``."""

import sys

from CrossModalSegApp.web.command import main

sys.exit(main())
