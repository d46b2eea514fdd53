"""Run the tools of car sales in a simulated showroom, for `tool-sft chat`."""

from datetime import datetime
from random import Random

from simulator_kit.office import Executor
from trainer.config import Config
from trainer.util.clock import local_time

from .simulator.cast import TRAIN
from .simulator.dealership import Dealership

_N_OWNED_CARS = 5


def make_tool_executor(cfg: Config, *, now: datetime) -> Executor:
    """Return a function that runs a tool call, by name and arguments, in a showroom at the moment `now`.

    It returns a JSON value and never raises for anything that a model may write: unknown tools, wrong arguments and
    impossible requests give `{"error": ...}`. The showroom is always the same one when it opens; bookings last as
    long as the function. `now` without a time zone is local time in `data.timezone`.
    """
    rng = Random("showroom")
    stock = TRAIN.draw_stock(rng)
    owned = [TRAIN.draw_owned_car(rng) for _ in range(_N_OWNED_CARS)]
    today = local_time(now, timezone=cfg.data.timezone).date()
    return Dealership(stock, owned, today=today).run
