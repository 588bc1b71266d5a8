"""Doing something once things have been quiet for a moment."""

import asyncio
from collections.abc import Callable


class Settling:
    """Does ``action`` some ``seconds`` after the last `start`."""

    def __init__(self, seconds: float, action: Callable[[], None]):
        self._seconds, self._action = seconds, action
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """From now on; nothing while the page is still being made."""
        if self._timer is not None:
            self._timer.cancel()
        try:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._action)
        except RuntimeError:  # there is no loop yet
            self._timer = None
