"""Run the tools of the insurance company in its simulated office, for `tool-sft chat`."""

from datetime import datetime
from random import Random

from simulator_kit.office import Executor
from trainer.config import Config
from trainer.util.clock import local_time

from .simulator.cast import TRAIN
from .simulator.office import InsuranceOffice


def make_tool_executor(cfg: Config, *, now: datetime) -> Executor:
    """Return a function that runs a tool call, by name and arguments, in an office at the moment `now`.

    It returns a JSON value and never raises for anything that a model may write: unknown tools, wrong arguments and
    impossible requests give `{"error": ...}`. The policies and claims are always the same on one day; what is booked
    lasts as long as the function. `now` without a time zone is local time in `data.timezone`.
    """
    today = local_time(now, timezone=cfg.data.timezone).date()
    return InsuranceOffice(TRAIN.draw_policies(rng := Random("office"), today), rng=rng, today=today).run
