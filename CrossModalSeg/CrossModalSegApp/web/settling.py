"""Doing something once things have been quiet for a moment, or not too often."""

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


class Paced:
    """Does ``action`` at most once in so many ``seconds`` however often it is asked for, and after the last time."""

    def __init__(self, seconds: float, action: Callable[[], None]):
        self._seconds, self._action = seconds, action
        self._is_waiting = False

    def ask(self) -> None:
        """Soon; at once while the page is still being made."""
        if self._is_waiting:
            return
        try:
            asyncio.get_running_loop().call_later(self._seconds, self._do)
        except RuntimeError:  # there is no loop yet
            self._action()
        else:
            self._is_waiting = True

    def _do(self) -> None:
        self._is_waiting = False
        self._action()
