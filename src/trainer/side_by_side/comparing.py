"""Compare several evaluations with the first of them, turn by turn. Reads no predictions and prints nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.errors import DataError
from trainer.scoring.compare import Comparison, compare
from trainer.side_by_side.settings import different_settings
from trainer.side_by_side.sides import Side, different_tools, side_json
from trainer.types import Tool


@dataclass(frozen=True, slots=True)
class SidesCompared:
    """The sides, and for each but the first its comparison with the first.

    `tools` are the schemas that all were judged by; `settings` the values, one per side, of each key in which the runs
    of the sides differ.
    """

    sides: tuple[Side, ...]
    tools: tuple[Tool, ...]
    comparisons: tuple[Comparison, ...]
    settings: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values. In each comparison, `first` is the reference."""
        others = zip(self.sides[1:], self.comparisons, strict=True)
        return {
            "sides": [side_json(side) for side in self.sides],
            "comparisons": [{"reference": self.sides[0].name, "side": s.name, **c.to_json()} for s, c in others],
            "settings": {key: list(values) for key, values in self.settings.items()},
            "notes": list(self.notes),
        }


def compare_sides(sides: Sequence[Side], tools: Sequence[Tool]) -> SidesCompared:
    """Compare every side with the first, on the turns that both were asked, judged by the schemas `tools`.

    Raises `DataError`, which names the two sides, if they share no turn.
    """
    reference, *others = sides
    notes = []
    if names := different_tools(sides, tools):
        notes.append(f"other tool schemas are beside {', '.join(names)}; all sides are judged by the same ones")
    if len(others) > 1:
        notes.append("each side is tested against the reference alone; with many sides, some differ by chance")
    return SidesCompared(
        sides=tuple(sides),
        tools=tuple(tools),
        comparisons=tuple(_compared(reference, other, tools) for other in others),
        settings=different_settings([side.run for side in sides]),
        notes=tuple(notes),
    )


def _compared(first: Side, second: Side, tools: Sequence[Tool]) -> Comparison:
    try:
        return compare(first.predictions, second.predictions, tools)
    except DataError as error:
        raise DataError(f"{first.name} and {second.name}: {error}") from None
