"""The people, cars, homes and things of each split, which the other split never mentions."""

from dataclasses import dataclass
from datetime import date, timedelta
from random import Random
from typing import get_args

from simulator_kit.people import Person, draw_person

from .world import DEDUCTIBLES, Kind, Policy

_N_POLICIES = 6
_PHONES = ("416", "437", "613", "905")
_LETTERS = "ABCEGHJKLMNPRSTVXY"


@dataclass(frozen=True, slots=True)
class Place:
    """A new home."""

    street: str
    postcode: str
    city: str


@dataclass(frozen=True, slots=True)
class Cast:
    """The names that the sessions of one split may mention; `car_parts` and `belongings` are what gets damaged."""

    cars: tuple[str, ...]
    streets: tuple[str, ...]
    cities: tuple[str, ...]
    car_parts: tuple[str, ...]
    belongings: tuple[str, ...]
    first_names: tuple[str, ...]
    last_names: tuple[str, ...]

    def draw_policies(self, rng: Random, today: date) -> tuple[Policy, ...]:
        """Draw the policies of an office, half of each kind."""
        numbers = rng.sample(range(100, 1000), _N_POLICIES)
        kinds: tuple[Kind, ...] = get_args(Kind)
        return tuple(
            Policy(
                id=f"P{number}",
                kind=kinds[index % len(kinds)],
                premium=12 * rng.randrange(15, 110),
                deductible=rng.choice(DEDUCTIBLES),
                valid_until=today + timedelta(days=rng.randrange(20, 360)),
            )
            for index, number in enumerate(numbers)
        )

    def draw_person(self, rng: Random) -> Person:
        """Draw a customer of this split."""
        return draw_person(rng, first_names=self.first_names, last_names=self.last_names, prefixes=_PHONES)

    def draw_place(self, rng: Random) -> Place:
        """Draw a new home; its postcode has the right form only."""
        street = f"{rng.randrange(2, 200)} {rng.choice(self.streets)}"
        return Place(street, draw_postcode(rng), rng.choice(self.cities))


def draw_postcode(rng: Random) -> str:
    """Draw a postcode of the right form, such as "M5V 2T6"."""
    a, b, c = (rng.choice(_LETTERS) for _ in range(3))
    d, e, f = (rng.randrange(1, 10) for _ in range(3))
    return f"{a}{d}{b} {e}{c}{f}"


TRAIN = Cast(
    cars=(
        *("Toyota Yaris", "Toyota Corolla", "Mazda CX-5", "Volvo V60", "Ford Focus", "Ford Escape", "Nissan Rogue"),
        *("Subaru Forester", "Jeep Compass", "BMW X3", "Hyundai Kona", "Hyundai Tucson", "Chevrolet Bolt"),
        *("Dodge Durango", "Skoda Octavia", "Opel Corsa", "Fiat Panda", "Lexus RX", "Mini Cooper", "Ram 1500"),
    ),
    streets=(
        *("Maple Street", "Birch Street", "Lake Street", "Church Street", "Mill Road", "Park Road", "River Road"),
        *(
            "Garden Avenue",
            "Forest Avenue",
            "Queen Avenue",
            "Bridge Lane",
            "School Lane",
            "Hill Drive",
            "Station Drive",
        ),
    ),
    cities=(
        *("Toronto", "Ottawa", "London", "Windsor", "Kingston", "Barrie", "Sudbury", "Oshawa", "Markham", "Guelph"),
        *("Brampton", "Waterloo", "Cornwall", "Peterborough"),
    ),
    car_parts=(
        "bumper",
        "windshield",
        "front door",
        "headlight",
        "hood",
        "mirror",
        "rear window",
        "wheel",
        "roof rack",
    ),
    belongings=(
        *("sofa", "laptop", "carpet", "bed", "television", "camera", "table", "bicycle", "kitchen", "curtains"),
        *("piano", "washing machine", "jacket", "bookshelf", "phone"),
    ),
    first_names=(
        *("Emma", "Olivia", "Alice", "Nora", "Grace", "Julia", "Sophie", "Megan", "Hannah", "Laura", "Chloé", "Fatima"),
        *("Liam", "Noah", "Lucas", "Owen", "Jack", "Ethan", "Daniel", "Ryan", "Samuel", "Omar", "André", "Victor"),
        *("Wei", "Priya", "Rosa", "Ruth", "Oscar", "Felix", "Henry", "Peter", "Walter", "Zoé"),
    ),
    last_names=(
        *("Smith", "Brown", "Martin", "Wilson", "Campbell", "Taylor", "Lee", "Stewart", "Young", "Scott", "Gagnon"),
        *("Bouchard", "Morin", "Lavoie", "Fortin", "Patel", "Wong", "Chan", "Ali", "Kowalski", "Novak", "Reid"),
        *("Murphy", "Clark", "Walker", "Baker", "Bélanger", "Dubé"),
    ),
)

TEST = Cast(
    cars=(
        *(
            "Honda Civic",
            "Honda Accord",
            "Kia Soul",
            "Kia Sportage",
            "Renault Clio",
            "Volkswagen Golf",
            "Tesla Roadster",
        ),
        *("Peugeot 208", "Buick Encore", "Acura Integra", "Mitsubishi Mirage", "Volkswagen Jetta"),
    ),
    streets=(
        "Cedar Street",
        "Castle Street",
        "Valley Road",
        "Harvest Road",
        "Willow Avenue",
        "Orchard Lane",
        "Beach Drive",
    ),
    cities=("Hamilton", "Niagara", "Sarnia", "Timmins", "Milton", "Pickering", "Orillia"),
    car_parts=("trunk", "tail light", "fender", "side window", "rear door", "engine"),
    belongings=("armchair", "wardrobe", "guitar", "freezer", "tablet", "mattress", "oven", "lamp", "printer"),
    first_names=(
        *("Clara", "Ivy", "Leah", "Maya", "Paula", "Tara", "Yasmin", "Isabelle"),
        *("Adam", "Ben", "Carl", "Gavin", "Hugo", "Ian", "Marcus", "René"),
    ),
    last_names=(
        *("Anderson", "Bell", "Foster", "Evans", "Fournier", "Gill", "Hughes", "Khan"),
        *("Leblanc", "Mackay", "Nelson", "Ortiz", "Parker", "Quinn", "Simard", "Thériault"),
    ),
)

CASTS = {"train": TRAIN, "test": TEST}
