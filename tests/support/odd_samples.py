"""More sample conversations, in the shapes that some templates refuse or drop: see `odd_templates`."""

from template_samples import SAMPLES, SYSTEM, TOOLS

from trainer.types import Message, Session, ToolCallJson


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _answer(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _call(number: int, name: str, arguments: str) -> ToolCallJson:
    return {"id": f"call{number:05d}", "type": "function", "function": {"name": name, "arguments": arguments}}


_LATER_SYSTEM: Message = {"role": "system", "content": "From now on, answer in Czech."}
_TWO_CALLS: Message = {
    "role": "assistant",
    "content": None,
    "tool_calls": [_call(1, "find_car", '{"brand": "Audi"}'), _call(2, "find_car", '{"brand": "Fiat"}')],
}
ODD_SAMPLES: tuple[Session, ...] = (
    Session("two system messages", (SYSTEM, _LATER_SYSTEM, _user("Hi"), _answer("Ahoj!")), ()),
    Session(
        "a system message in the middle",
        (_user("Hi"), _answer("Hello!"), _LATER_SYSTEM, _user("Hi"), _answer("Ahoj!")),
        (),
    ),
    Session("the assistant first", ({**_answer("Welcome!"), "train": False}, _user("Hi"), _answer("Hello!")), ()),
    Session("two users in a row", (_user("Hi"), _user("Anyone?"), _answer("Hello!")), ()),
    Session(
        "results in another order",
        (
            _user("Audi or Fiat?"),
            _TWO_CALLS,
            {"role": "tool", "tool_call_id": "call00002", "content": "no Fiat"},
            {"role": "tool", "tool_call_id": "call00001", "content": "one Audi"},
            _answer("Audi."),
        ),
        TOOLS,
    ),
)
ALL_SAMPLES = (*SAMPLES, *ODD_SAMPLES)
