"""What a customer and the sales assistant can refer to so far: cars in focus, listed, named and looked at.

The scenes in `buying`, `paying` and `visiting` decide what happens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulator_kit.dialogue import Dialogue
from simulator_kit.replies import Outcome

from .dealership import Dealership
from .stock import OwnedCar, Vehicle


@dataclass(kw_only=True)
class CarDialogue(Dialogue[Dealership]):
    """A conversation about cars.

    `focus` is the car that "it" means; `listed` are the hits of the search just answered; `recent` are all cars
    mentioned so far; `named` are the cars whose names were shown; `details` are the results that can answer
    later questions.
    """

    owned_car: OwnedCar
    focus: str | None = None
    listed: tuple[str, ...] = ()
    recent: list[str] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    details: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def pick_car(self) -> Vehicle:
        """Choose a car to talk about: the one in focus, a listed or recent one, or any car in stock."""
        stock = self.office.stock
        if self.focus and self.chance(0.75):
            return stock[self.focus]
        return stock[self.rng.choice(self.listed or tuple(self.recent) or tuple(stock))]

    def other_car(self, *taken: Vehicle) -> Vehicle:
        """Choose another car, from the listed ones if any are left."""
        ids = {vehicle.id for vehicle in taken}
        pools = (self.listed, self.recent, self.office.stock)
        left = next(pool for ids_ in pools if (pool := [i for i in ids_ if i not in ids]))
        return self.office.stock[self.rng.choice(left)]

    def refer(self, vehicle: Vehicle, *, pronoun: bool = True) -> str:
        """Return words that here can only mean this car."""
        if pronoun and vehicle.id == self.focus and self.chance(0.45):
            return self.rng.choice(self.voice.this)
        if vehicle.id in self.listed[:3] and len(self.listed) > 1 and self.chance(0.1):
            return self._ordinal(vehicle)
        if vehicle.id in self.named and self.chance(0.2):
            return self._name(vehicle)
        return self.voice.by_id(vehicle.id)

    def notice(self, outcomes: Sequence[Outcome]) -> None:
        """Remember which cars a turn's calls were about."""
        self.listed = ()
        about: list[str] = []
        for name, arguments, result in outcomes:
            if name == "search_inventory":
                self.listed = tuple(car["id"] for car in result["cars"])
                about.extend(self.listed)
                self.named.extend(i for i in self.listed if i not in self.named)
            elif name == "vehicle_details" and "error" not in result:
                self.details[result["id"]] = result
                self.named.extend({result["id"]} - set(self.named))
            elif name == "compare_vehicles":
                about.extend(arguments["vehicle_ids"])
            if (vehicle_id := arguments.get("vehicle_id")) in self.office.stock:
                about.append(str(vehicle_id))
        self.recent.extend(i for i in dict.fromkeys(about) if i not in self.recent)
        self.focus = about[0] if len(set(about)) == 1 else None

    def _ordinal(self, vehicle: Vehicle) -> str:
        place = self.listed.index(vehicle.id)
        words = [("the first one", "the second one", "the third one")[place]]
        if place == len(self.listed) - 1:
            words.append("the last one")
        return self.rng.choice(words)

    def _name(self, vehicle: Vehicle) -> str:
        stock = self.office.stock
        words = [f"the {vehicle.name}"]
        if not vehicle.model[0].isdigit():
            words.append(f"the {vehicle.model}")
        if sum(stock[i].make == vehicle.make for i in self.named) == 1:
            words.append(f"the {vehicle.make}")
        return self.rng.choice(words)
