"""Scenes that end with an appointment: free times of advisors, and booking one."""

from typing import Any

from simulator_kit.days import Day

from .dialogue import InsuranceDialogue
from .world import SCHEDULE

SLOTS = "advisor_slots"
BOOK = "book_advisor"
CHANNELS = ("phone", "video", "office")


def advisor(dialogue: InsuranceDialogue) -> None:
    """Ask for free times, sometimes on several days, and usually book one."""
    channel = dialogue.rng.choice(CHANNELS)
    day = dialogue.day(opened=not dialogue.chance(0.15))
    kind = dialogue.rng.choice(("now", "now", "now", "no day", "no day", "nothing", "no channel", "two"))
    if kind == "two" and SCHEDULE.offered(channel, day.date):
        _ask_two_days(dialogue, channel, day)
        return
    words = {"channel": dialogue.voice.pick(f"channel_{channel}"), "day": day.said, "plain": day.plain}
    if kind == "nothing":
        dialogue.user("slots_open")
        dialogue.ask_for("channel", "date")
        dialogue.user("give_channel_day", **words)
    elif kind == "no day":
        dialogue.user("slots_no_day", **words)
        dialogue.ask_for("date")
        dialogue.user("give_day", **words)
    elif kind == "no channel":
        dialogue.user("slots_no_channel", **words)
        dialogue.ask_for("channel")
        dialogue.user("give_channel", **words)
    else:
        dialogue.user("slots", **{**words, "day": dialogue.perhaps_corrected(day)})
    dialogue.call((SLOTS, {"channel": channel, "date": day.iso}))
    while not (free := SCHEDULE.offered(channel, day.date)) or dialogue.chance(0.1):
        day = dialogue.another_day(day)
        dialogue.user("other_day", day=day.said, plain=day.plain)
        dialogue.call((SLOTS, {"channel": channel, "date": day.iso}))
    if dialogue.chance(0.8):
        time, wrong = dialogue.rng.choice(free), dialogue.rng.choice(free)
        _take(dialogue, channel, day, time=time, said=dialogue.voice.corrected(time, wrong))


def book_directly(dialogue: InsuranceDialogue) -> None:
    """Give channel, day and time at once; if the time is taken, choose one of those offered instead."""
    channel = dialogue.rng.choice(CHANNELS)
    day = dialogue.day()
    while not (free := SCHEDULE.offered(channel, day.date)):
        day = dialogue.another_day(day)
    is_taken = dialogue.chance(0.35)
    time = dialogue.rng.choice([t for t in SCHEDULE.times if (t in free) != is_taken])
    said = {
        "channel": dialogue.voice.pick(f"channel_{channel}"),
        "day": dialogue.perhaps_corrected(day),
        "time": time,
    }
    dialogue.with_contact(("book", "book_all"), said)
    arguments = _booking(dialogue, channel, day, time)
    dialogue.call((BOOK, arguments))
    if is_taken:
        arguments["time"] = dialogue.rng.choice(free)
        dialogue.user("pick", time=arguments["time"])
        dialogue.call((BOOK, arguments))


def _ask_two_days(dialogue: InsuranceDialogue, channel: str, day: Day) -> None:
    first, second = sorted((day, dialogue.another_day(day)))
    words = {"channel": dialogue.voice.pick(f"channel_{channel}"), "day": first.said, "other_day": second.said}
    dialogue.user("slots_two_days", **words)
    dialogue.call(*((SLOTS, {"channel": channel, "date": d.iso}) for d in (first, second)))
    time = dialogue.rng.choice(SCHEDULE.offered(channel, day.date))
    _take(dialogue, channel, day, time=time, said=f"{day.plain} at {time}")


def _take(dialogue: InsuranceDialogue, channel: str, day: Day, *, time: str, said: str) -> None:
    dialogue.with_contact(("pick", "pick_all"), {"time": said})
    dialogue.call((BOOK, _booking(dialogue, channel, day, time)))


def _booking(dialogue: InsuranceDialogue, channel: str, day: Day, time: str) -> dict[str, Any]:
    customer = {"name": dialogue.person.name, "phone": dialogue.person.phone}
    return {"channel": channel, "date": day.iso, "time": time, "customer": customer}
