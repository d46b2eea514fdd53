"""Scenes that end with an appointment or an e-mail: test drives, offers, brochures, the newsletter."""

from typing import Any

from simulator_kit.days import Day

from .dialogue import CarDialogue
from .stock import TEST_DRIVE_TIMES, Vehicle, times_offered

SLOTS = "test_drive_slots"
BOOK = "book_test_drive"


def test_drive(dialogue: CarDialogue) -> None:
    """Ask for free times, sometimes on several days, and usually book one."""
    vehicle = dialogue.pick_car()
    day = dialogue.day(opened=not dialogue.chance(0.15))
    kind = dialogue.rng.choice(("now", "now", "now", "open", "open", "open", "two", "nothing"))
    if kind == "two" and times_offered(vehicle.id, day.date):
        _ask_two_days(dialogue, vehicle, day)
        return
    if kind == "nothing" and not dialogue.named and not dialogue.focus:
        dialogue.user("slots_nothing")
        dialogue.ask_for("vehicle_id", "date")
        dialogue.user("give_car_day", car=dialogue.refer(vehicle), day=day.said)
    elif kind == "open":
        dialogue.user("slots_open", car=dialogue.refer(vehicle))
        dialogue.ask_for("date")
        dialogue.user("give_day", day=day.said, plain=day.plain)
    else:
        dialogue.user("slots", car=dialogue.refer(vehicle), day=dialogue.perhaps_corrected(day))
    dialogue.call((SLOTS, {"vehicle_id": vehicle.id, "date": day.iso}))
    while not (free := times_offered(vehicle.id, day.date)) or dialogue.chance(0.1):
        day = dialogue.another_day(day)
        dialogue.user("other_day", day=day.said, plain=day.plain)
        dialogue.call((SLOTS, {"vehicle_id": vehicle.id, "date": day.iso}))
    if dialogue.chance(0.75):
        time = dialogue.rng.choice(free)
        wrong = dialogue.rng.choice(free)
        _take(dialogue, vehicle, day, time=time, said=dialogue.voice.corrected(time, wrong))


def details_and_drive(dialogue: CarDialogue) -> None:
    """Ask for the details of a car and for free times in one message, then sometimes book one."""
    vehicle = dialogue.pick_car()
    day = dialogue.day()
    dialogue.user("details_slots", car=dialogue.refer(vehicle), day=day.said)
    slots = (SLOTS, {"vehicle_id": vehicle.id, "date": day.iso})
    dialogue.call(("vehicle_details", {"vehicle_id": vehicle.id}), slots)
    free = times_offered(vehicle.id, day.date)
    if free and dialogue.chance(0.6):
        time = dialogue.rng.choice(free)
        _take(dialogue, vehicle, day, time=time, said=time)


def book_directly(dialogue: CarDialogue) -> None:
    """Give car, day and time at once; if the time is taken, choose one of those offered instead."""
    vehicle = dialogue.pick_car()
    day = dialogue.day()
    free = times_offered(vehicle.id, day.date)
    while not free:
        day = dialogue.another_day(day)
        free = times_offered(vehicle.id, day.date)
    is_taken = dialogue.chance(0.35)
    time = dialogue.rng.choice([t for t in TEST_DRIVE_TIMES if (t in free) != is_taken])
    said = {"car": dialogue.refer(vehicle), "day": dialogue.perhaps_corrected(day), "time": time}
    dialogue.with_contact(("book", "book_all"), said)
    arguments = _booking(dialogue, vehicle, day, time)
    dialogue.call((BOOK, arguments))
    if is_taken:
        arguments["time"] = dialogue.rng.choice(free)
        dialogue.user("pick", time=arguments["time"])
        dialogue.call((BOOK, arguments))


def leave_address(dialogue: CarDialogue) -> None:
    """Ask for an offer, a brochure or the newsletter; the end of the address may be missing at first."""
    topic = dialogue.rng.choice(("offer", "brochure", "newsletter"))
    arguments: dict[str, Any] = {"topic": topic}
    situation = f"topic_{topic}"
    said = {}
    if topic == "offer":
        vehicle = dialogue.pick_car()
        arguments["vehicle_id"] = vehicle.id
        said["car"] = dialogue.refer(vehicle)
    arguments |= {"name": dialogue.person.name, "email": dialogue.person.email}
    is_cut = dialogue.chance(0.12)
    if is_cut:
        arguments["email"] = dialogue.person.email.rpartition(".")[0]
    words = {
        "topic": dialogue.voice.pick(situation).format(**said),
        "name": dialogue.person.name,
        "email": arguments["email"],
    }
    if dialogue.chance(0.5):
        dialogue.user("lead_all", **words)
    else:
        dialogue.user("lead", **words)
        dialogue.ask_for("name", "email")
        dialogue.user("give_email_contact", **words)
    dialogue.call(("send_by_email", arguments))
    if is_cut:
        arguments["email"] = dialogue.person.email
        dialogue.user("fix_email", email=dialogue.person.email)
        dialogue.call(("send_by_email", arguments))


def _ask_two_days(dialogue: CarDialogue, vehicle: Vehicle, day: Day) -> None:
    other = dialogue.another_day(day)
    first, second = sorted((day, other))
    said = {"day": first.said, "other_day": second.said}
    dialogue.user("slots_two_days", car=dialogue.refer(vehicle), **said)
    dialogue.call(*((SLOTS, {"vehicle_id": vehicle.id, "date": d.iso}) for d in (first, second)))
    free = times_offered(vehicle.id, day.date)
    time = dialogue.rng.choice(free)
    _take(dialogue, vehicle, day, time=time, said=f"{day.plain} at {time}")


def _take(dialogue: CarDialogue, vehicle: Vehicle, day: Day, *, time: str, said: str) -> None:
    dialogue.with_contact(("pick", "pick_all"), {"time": said})
    dialogue.call((BOOK, _booking(dialogue, vehicle, day, time)))


def _booking(dialogue: CarDialogue, vehicle: Vehicle, day: Day, time: str) -> dict[str, Any]:
    customer = {"name": dialogue.person.name, "phone": dialogue.person.phone}
    return {"vehicle_id": vehicle.id, "date": day.iso, "time": time, "customer": customer}
