"""Views draw one after the other, so that what the browser sends meanwhile is answered between two pictures.

Pictures in 3D, which take longest, wait until the slices are still, but not for ever.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Any

from trame_rca.schedulers import RcaImageRenderScheduler
from trame_slicer.rca_view import rca_view_factory
from trame_slicer.views import ScheduledRenderStrategy, ThreeDView

from CrossModalSegApp.web.encoding import FullColorJpeg

SECONDS_TO_ANSWER = 0.01  # between two pictures, or other steps of what takes long
_STILL_SECONDS = 0.4  # without a picture of a slice
_LONGEST_WAIT_SECONDS = 2.0


class RenderTurns:
    """Calls what is asked for, each once however often it is asked for meanwhile, one at a time."""

    def __init__(self) -> None:
        self._waiting: dict[Callable[[], None], None] = {}
        self._task: asyncio.Task[None] | None = None
        self._moved = -math.inf  # when a slice moved last

    def ask(self, draw: Callable[[], None]) -> None:
        """``draw`` gets a turn; without a running event loop it is called at once."""
        self._waiting[draw] = None
        if self._task is None or self._task.done():
            try:
                self._task = asyncio.get_running_loop().create_task(self._take())
            except RuntimeError:
                self._waiting.clear()
                draw()

    async def _take(self) -> None:
        while self._waiting:
            draw = next(iter(self._waiting))
            del self._waiting[draw]
            draw()
            await asyncio.sleep(SECONDS_TO_ANSWER)  # draws, and then answers what has arrived

    def note_move(self) -> None:
        """A slice moves."""
        self._moved = time.monotonic()

    async def stillness(self) -> None:
        """Wait until the slices have not moved for a while, or for too long."""
        longest = time.monotonic() + _LONGEST_WAIT_SECONDS
        while (left := min(longest, self._moved + _STILL_SECONDS) - time.monotonic()) > 0:
            await asyncio.sleep(left)


TURNS = RenderTurns()  # of the one event loop that draws


class SchedulerInTurn(RcaImageRenderScheduler):
    """Draws a view when it is its turn, whoever asks: what has changed in it, or its size."""

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        self._rca_encoder = FullColorJpeg()

    def schedule_render(self) -> None:
        TURNS.ask(super().schedule_render)


class PatientThreeDView(ThreeDView):
    """A 3D view that draws when the slices are still, and what is translucent in one go: without a graphics card,
    peeling it layer by layer takes as long again as all else."""

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        self.renderer().SetUseDepthPeeling(False)

    def set_scheduled_render(self, strategy: ScheduledRenderStrategy) -> None:
        super().set_scheduled_render(_WhenStill(strategy))


class _WhenStill(ScheduledRenderStrategy):
    def __init__(self, strategy: ScheduledRenderStrategy):
        super().__init__()
        self._strategy = strategy
        self._task: asyncio.Task[None] | None = None

    def schedule_render(self) -> None:
        if self._task is None or self._task.done():
            try:
                self._task = asyncio.get_running_loop().create_task(self._wait())
            except RuntimeError:  # the page is still being made
                self._strategy.schedule_render()

    async def _wait(self) -> None:
        await TURNS.stillness()
        self._strategy.schedule_render()


def draw_in_turns() -> None:
    """From here on, views are made with `SchedulerInTurn`: trame-slicer's factory takes no scheduler as an argument."""
    rca_view_factory.RcaImageRenderScheduler = SchedulerInTurn
