"""The car models and people of each split, which the other split never mentions, and showrooms drawn from them."""

from dataclasses import dataclass
from random import Random

from simulator_kit.people import Person, draw_person

from .stock import Body, Fuel, OwnedCar, Vehicle

N_VEHICLES = 14
COLORS = ("black", "white", "grey", "blue", "red", "green", "silver")
_PHONES = ("076", "077", "078", "079")
CANTONS = ("ZH", "BE", "LU", "SG", "AG", "BS", "TG", "ZG")


@dataclass(frozen=True, slots=True)
class CarModel:
    """A car model; `list_price` is the price of a new one in Swiss francs."""

    make: str
    model: str
    body: Body
    fuels: tuple[Fuel, ...]
    list_price: int
    seats: int = 5


@dataclass(frozen=True, slots=True)
class Cast:
    """The car models and names that the sessions of one split may mention."""

    models: tuple[CarModel, ...]
    first_names: tuple[str, ...]
    last_names: tuple[str, ...]

    def draw_stock(self, rng: Random) -> tuple[Vehicle, ...]:
        """Draw a showroom in which no two cars share a model, a price or a mileage."""
        models = rng.sample(self.models, N_VEHICLES)
        numbers = rng.sample(range(1, 100), N_VEHICLES)
        prices = _distinct([_used_price(rng, model) for model in models], step=500)
        kms = rng.sample(range(8, 130), N_VEHICLES)
        return tuple(
            _vehicle(rng, model, number=number, price=price, km=km * 1000)
            for model, number, price, km in zip(models, numbers, prices, kms, strict=True)
        )

    def draw_person(self, rng: Random) -> Person:
        """Draw a customer of this split."""
        return draw_person(rng, first_names=self.first_names, last_names=self.last_names, prefixes=_PHONES)

    def draw_owned_car(self, rng: Random) -> OwnedCar:
        """Draw the car that a customer wants to trade in."""
        model = rng.choice(self.models)
        plate = f"{rng.choice(CANTONS)} {rng.randrange(1000, 10_000)}"
        return OwnedCar(plate, f"{model.make} {model.model}", rng.randrange(2012, 2023), model.list_price)


def _used_price(rng: Random, model: CarModel) -> int:
    return round(model.list_price * rng.uniform(0.45, 0.85) / 500) * 500


def _distinct(prices: list[int], *, step: int) -> list[int]:
    taken: list[int] = []
    for price in prices:
        while price in taken:
            price += step
        taken.append(price)
    return taken


def _vehicle(rng: Random, model: CarModel, *, number: int, price: int, km: int) -> Vehicle:
    fuel = rng.choice(model.fuels)
    return Vehicle(
        id=f"V{number}",
        make=model.make,
        model=model.model,
        body=model.body,
        fuel=fuel,
        gearbox="automatic" if fuel in ("electric", "hybrid") else rng.choice(("manual", "automatic")),
        year=rng.randrange(2016, 2024),
        km=km,
        price=price,
        seats=model.seats,
        color=rng.choice(COLORS),
    )


_PETROL_DIESEL: tuple[Fuel, ...] = ("petrol", "diesel")
_PETROL_HYBRID: tuple[Fuel, ...] = ("petrol", "hybrid")
_ALL: tuple[Fuel, ...] = ("petrol", "diesel", "hybrid")
_PETROL: tuple[Fuel, ...] = ("petrol",)
_ELECTRIC: tuple[Fuel, ...] = ("electric",)

TRAIN = Cast(
    models=(
        CarModel("Toyota", "Yaris", "hatchback", _PETROL_HYBRID, 26000),
        CarModel("Toyota", "Corolla", "estate", _PETROL_HYBRID, 36000),
        CarModel("Toyota", "RAV4", "SUV", _PETROL_HYBRID, 47000),
        CarModel("Skoda", "Fabia", "hatchback", _PETROL, 23000),
        CarModel("Skoda", "Octavia", "estate", _PETROL_DIESEL, 38000),
        CarModel("Skoda", "Kodiaq", "SUV", _PETROL_DIESEL, 50000, 7),
        CarModel("Skoda", "Enyaq", "SUV", _ELECTRIC, 54000),
        CarModel("Mazda", "CX-5", "SUV", _PETROL_DIESEL, 43000),
        CarModel("Mazda", "MX-30", "hatchback", ("hybrid", "electric"), 36000),
        CarModel("Volvo", "V60", "estate", _ALL, 55000),
        CarModel("Volvo", "XC40", "SUV", _PETROL_HYBRID, 52000),
        CarModel("Volvo", "EX30", "SUV", _ELECTRIC, 42000),
        CarModel("Ford", "Fiesta", "hatchback", _PETROL, 24000),
        CarModel("Ford", "Focus", "estate", _PETROL_DIESEL, 34000),
        CarModel("Ford", "Kuga", "SUV", _ALL, 45000),
        CarModel("Opel", "Corsa", "hatchback", ("petrol", "electric"), 27000),
        CarModel("Opel", "Insignia", "sedan", _PETROL_DIESEL, 42000),
        CarModel("Peugeot", "208", "hatchback", ("petrol", "electric"), 28000),
        CarModel("Peugeot", "508", "sedan", _ALL, 48000),
        CarModel("Hyundai", "Kona", "SUV", ("petrol", "hybrid", "electric"), 38000),
        CarModel("Hyundai", "Ioniq", "sedan", ("hybrid", "electric"), 44000),
        CarModel("Seat", "Leon", "estate", _PETROL_DIESEL, 33000),
        CarModel("Seat", "Alhambra", "estate", _PETROL_DIESEL, 46000, 7),
        CarModel("BMW", "320", "sedan", _PETROL_DIESEL, 56000),
        CarModel("BMW", "i4", "sedan", _ELECTRIC, 65000),
        CarModel("Audi", "A4", "sedan", _PETROL_DIESEL, 54000),
    ),
    first_names=(
        *("Anna", "Lena", "Sofia", "Laura", "Nina", "Sara", "Julia", "Eva", "Petra", "Zoé", "Maria", "Vera"),
        *(
            "Peter",
            "Luca",
            "Marco",
            "Jonas",
            "Daniel",
            "David",
            "Simon",
            "Tim",
            "Urs",
            "Leon",
            "Paul",
            "Noah",
        ),
        *("Rosa", "Iris", "Alma", "Edith", "Doris", "Nadia", "Karin", "Ida", "Esther", "Ruth", "Chloé"),
        *("Felix", "Elias", "Hans", "Kurt", "Oscar", "Ralph", "Henri", "Roger", "Otto", "Tobias", "André"),
    ),
    last_names=(
        *("Keller", "Meier", "Frei", "Weber", "Huber", "Müller", "Steiner", "Baumann", "Rossi", "Kunz"),
        *("Gerber", "Brunner", "Fischer", "Wolf", "Costa", "Suter", "Moser", "Graf", "Novak", "Marti"),
        *("Bühler", "Christen", "Dubois", "Egger", "Iten", "Jenni", "Lehmann", "Oberholzer", "Tobler", "Zimmer"),
    ),
)

TEST = Cast(
    models=(
        CarModel("Honda", "Jazz", "hatchback", _PETROL_HYBRID, 27000),
        CarModel("Honda", "Civic", "hatchback", _PETROL_HYBRID, 36000),
        CarModel("Honda", "Accord", "sedan", _PETROL_HYBRID, 46000),
        CarModel("Honda", "CR-V", "SUV", _PETROL_HYBRID, 48000),
        CarModel("Kia", "Ceed", "estate", _PETROL_DIESEL, 34000),
        CarModel("Kia", "Sorento", "SUV", _ALL, 55000, 7),
        CarModel("Kia", "EV6", "SUV", _ELECTRIC, 56000),
        CarModel("Renault", "Clio", "hatchback", _PETROL_HYBRID, 25000),
        CarModel("Renault", "Talisman", "sedan", _PETROL_DIESEL, 42000),
        CarModel("Renault", "Zoe", "hatchback", _ELECTRIC, 35000),
        CarModel("Fiat", "Tipo", "sedan", _PETROL_DIESEL, 26000),
        CarModel("Fiat", "Panda", "hatchback", _PETROL, 19000),
        CarModel("Nissan", "Qashqai", "SUV", _PETROL_HYBRID, 39000),
        CarModel("Nissan", "Leaf", "hatchback", _ELECTRIC, 38000),
        CarModel("Citroen", "C5", "estate", _ALL, 44000),
        CarModel("Citroen", "Berlingo", "estate", _PETROL_DIESEL, 33000, 7),
        CarModel("Lexus", "ES", "sedan", ("hybrid",), 62000),
        CarModel("Dacia", "Duster", "SUV", _PETROL_DIESEL, 25000),
        CarModel("Subaru", "Outback", "estate", _PETROL, 49000),
    ),
    first_names=(
        *("Carla", "Hanna", "Ines", "Mia", "Olga", "Rita", "Tina", "Yara"),
        *("Bruno", "Emil", "Fabio", "Hugo", "Ivan", "Karl", "Nico", "René"),
    ),
    last_names=(
        *("Ammann", "Bieri", "Caduff", "Egli", "Hofer", "Jost", "Lang", "Odermatt"),
        *("Pfister", "Roth", "Silva", "Tanner", "Vogel", "Wenger", "Zbinden", "Zürcher"),
    ),
)

CASTS = {"train": TRAIN, "test": TEST}
