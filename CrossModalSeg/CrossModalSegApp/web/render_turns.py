"""Views draw one after the other, so that what the browser sends meanwhile is answered between two pictures."""

import asyncio
from collections.abc import Callable

from trame_rca.schedulers import RcaImageRenderScheduler
from trame_slicer.rca_view import rca_view_factory

_SECONDS_TO_ANSWER = 0.01  # between two pictures


class RenderTurns:
    """Calls what is asked for, each once however often it is asked for meanwhile, one at a time."""

    def __init__(self) -> None:
        self._waiting: dict[Callable[[], None], None] = {}
        self._task: asyncio.Task[None] | None = None

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
            await asyncio.sleep(_SECONDS_TO_ANSWER)  # draws, and then answers what has arrived


_TURNS = RenderTurns()  # of the one event loop that draws


class SchedulerInTurn(RcaImageRenderScheduler):
    """Draws a view when it is its turn, whoever asks: what has changed in it, or its size."""

    def schedule_render(self) -> None:
        _TURNS.ask(super().schedule_render)


def draw_in_turns() -> None:
    """From here on, views are made with `SchedulerInTurn`: trame-slicer's factory takes no scheduler as an argument."""
    rca_view_factory.RcaImageRenderScheduler = SchedulerInTurn
