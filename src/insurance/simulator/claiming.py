"""Scenes about claims: reporting damage, and asking how far a claim is."""

from datetime import timedelta
from typing import Any

from .dialogue import InsuranceDialogue
from .world import COVERED, Kind, Policy

REPORT = "report_claim"
STATUS = "claim_status"
CAUSES = ("collision", "theft", "fire", "water", "storm")
_ERROR_RATE = 0.15


def report_damage(dialogue: InsuranceDialogue) -> None:
    """Report a claim, at once or in steps; the policy may first be one that does not cover the cause."""
    rng = dialogue.rng
    policy = dialogue.pick_policy()
    is_wrong = dialogue.chance(_ERROR_RATE)
    cause = rng.choice([cause for cause in CAUSES if (cause in COVERED[policy.kind]) != is_wrong])
    is_injured = cause in ("collision", "fire", "storm") and dialogue.chance(0.4)
    days_ago = rng.choice((0, 0, 0, *range(1, 15)))
    day = (dialogue.now.date() - timedelta(days=days_ago)).isoformat()
    things = dialogue.cast.car_parts if policy.kind == "motor" else dialogue.cast.belongings
    items = [
        {"name": name, "amount": rng.randrange(2, 60) * 50} for name in rng.sample(things, rng.choice((1, 1, 2, 2, 3)))
    ]
    words = {
        "cause": dialogue.voice.pick(f"cause_{cause}"),
        "day": f"on {day}" if days_ago else "today",
        "injured": dialogue.voice.pick("injured_yes" if is_injured else "injured_no"),
        "items": _items(dialogue, items),
    }
    _say(dialogue, policy, words)
    arguments: dict[str, Any] = {
        "policy_id": policy.id,
        "incident": {"date": day, "cause": cause, "injured": is_injured},
        "items": items,
    }
    (result,) = dialogue.call((REPORT, arguments))
    if is_wrong:
        kinds: list[Kind] = [kind for kind, causes in COVERED.items() if cause in causes]
        arguments["policy_id"] = dialogue.pick_policy(*kinds).id
        dialogue.user("fix_number", id=arguments["policy_id"])
        (result,) = dialogue.call((REPORT, arguments))
    if dialogue.chance(0.35):
        topic = rng.choice(("handler", "total"))
        dialogue.user(f"fact_{topic}")
        dialogue.state(topic, result)


def _say(dialogue: InsuranceDialogue, policy: Policy, words: dict[str, str]) -> None:
    kind = dialogue.rng.choice(("all", "all", "open", "policy", "no items"))
    if kind == "all":
        dialogue.user("claim_all", policy=dialogue.refer(policy), **words)
    elif kind == "open":
        dialogue.user("claim_open")
        dialogue.ask_for("policy_id", "incident.date", "cause", "injured", "items")
        dialogue.user("give_claim_all", policy=dialogue.refer(policy, pronoun=False), **words)
    elif kind == "policy":
        dialogue.user("claim_policy", policy=dialogue.refer(policy))
        dialogue.ask_for("incident.date", "cause", "injured", "items")
        dialogue.user("give_claim", **words)
    else:
        dialogue.user("claim_no_items", policy=dialogue.refer(policy), **words)
        dialogue.ask_for("items")
        dialogue.user("give_items", **words)


def _items(dialogue: InsuranceDialogue, items: list[dict[str, Any]]) -> str:
    form = dialogue.voice.pick("item")
    words = [form.format(**item) for item in items]
    head = ", ".join(words[:-1])
    return f"{head} and {words[-1]}" if head else words[-1]


def status(dialogue: InsuranceDialogue) -> None:
    """Ask how far a claim is, or two; the number may first be wrong; then sometimes ask for a fact."""
    claim, other = dialogue.rng.sample(list(dialogue.office.claims), 2)
    if dialogue.chance(0.2):
        dialogue.user("status_two", claim=claim, other=other)
        dialogue.call((STATUS, {"claim_id": claim}), (STATUS, {"claim_id": other}))
        return
    if dialogue.chance(0.2):
        dialogue.user("status_open")
        dialogue.ask_for("claim_id")
        dialogue.user("give_number", id=claim)
        (result,) = dialogue.call((STATUS, {"claim_id": claim}))
    elif dialogue.chance(_ERROR_RATE):
        wrong = dialogue.unknown(claim)
        dialogue.user("status", claim=wrong)
        dialogue.call((STATUS, {"claim_id": wrong}))
        dialogue.user("fix_number", id=claim)
        (result,) = dialogue.call((STATUS, {"claim_id": claim}))
    else:
        dialogue.user("status", claim=claim)
        (result,) = dialogue.call((STATUS, {"claim_id": claim}))
    if dialogue.chance(0.45):
        topic = dialogue.rng.choice(("handler", "amount"))
        dialogue.user(f"fact_{topic}")
        dialogue.state(topic, result)
