"""Scenes about the customer's own policies: showing them, moving them to a new address, sending documents."""

from typing import Any

from .dialogue import InsuranceDialogue
from .world import Policy

FIND = "find_policy"
MOVE = "change_address"
SEND = "send_document"
STATUS = "claim_status"
FACTS = ("yearly", "deductible", "valid")
DOCUMENTS = ("certificate", "contract", "invoice")
_ERROR_RATE = 0.15


def show(dialogue: InsuranceDialogue) -> None:
    """Ask for one policy or for two at once, then usually for a fact in the result."""
    policy, other = dialogue.new_policies(2)
    if dialogue.chance(0.2):
        words = [dialogue.refer(each, pronoun=False) for each in (policy, other)]
        dialogue.user("show_two", policy=words[0], other=words[1])
        dialogue.call(*((FIND, {"policy_id": each.id}) for each in (policy, other)))
    elif dialogue.chance(_ERROR_RATE):
        wrong = dialogue.unknown(policy.id)
        dialogue.user("show", policy=wrong)
        dialogue.call((FIND, {"policy_id": wrong}))
        dialogue.user("fix_number", id=policy.id)
        dialogue.call((FIND, {"policy_id": policy.id}))
    elif dialogue.chance(0.3):
        topic = dialogue.rng.choice(FACTS)
        dialogue.user(f"fact_{topic}", policy=dialogue.refer(policy))
        dialogue.call((FIND, {"policy_id": policy.id}), answer=topic)
    else:
        dialogue.user("show", policy=dialogue.refer(policy))
        dialogue.call((FIND, {"policy_id": policy.id}))
    if dialogue.chance(0.5):
        ask_fact(dialogue)


def ask_fact(dialogue: InsuranceDialogue) -> None:
    """Ask for one or two facts that an earlier result already contains."""
    shown = [dialogue.focus] if dialogue.focus in dialogue.shown else list(dialogue.shown)
    policy = dialogue.office.policies[str(dialogue.rng.choice(shown))]
    for topic in dialogue.rng.sample(FACTS, 2 if dialogue.chance(0.35) else 1):
        dialogue.user(f"fact_{topic}", policy=dialogue.refer(policy))
        dialogue.state(topic, dialogue.shown[policy.id])


def move(dialogue: InsuranceDialogue) -> None:
    """Move a policy to a new address, at once or in steps; the postcode may first be cut short."""
    policy = dialogue.pick_policy()
    place = dialogue.cast.draw_place(dialogue.rng)
    day = dialogue.day(opened=not dialogue.chance(0.2))
    is_cut = dialogue.chance(_ERROR_RATE)
    address = {"street": place.street, "postcode": place.postcode, "city": place.city}
    if is_cut:
        address["postcode"] = place.postcode.split()[0]
    words = {**address, "day": day.said, "plain": day.plain}
    kind = dialogue.rng.choice(("all", "all", "open", "address"))
    if kind == "all":
        dialogue.user("move_all", policy=dialogue.refer(policy), **words)
    elif kind == "open":
        dialogue.user("move_open", policy=dialogue.refer(policy))
        dialogue.ask_for("address", "valid_from")
        dialogue.user("give_address", **words)
    else:
        dialogue.user("move_no_day", policy=dialogue.refer(policy), **words)
        dialogue.ask_for("valid_from")
        dialogue.user("give_first_day", **words)
    arguments: dict[str, Any] = {"policy_id": policy.id, "address": address, "valid_from": day.iso}
    (result,) = dialogue.call((MOVE, arguments))
    if is_cut:
        dialogue.user("fix_postcode", postcode=place.postcode)
        (result,) = dialogue.call((MOVE, {**arguments, "address": {**address, "postcode": place.postcode}}))
    if dialogue.chance(0.3):
        dialogue.user("fact_new_price")
        dialogue.state("new_price", result)


def document(dialogue: InsuranceDialogue) -> None:
    """Ask for a document by e-mail; the end of the address may be missing at first."""
    policy = dialogue.pick_policy()
    is_cut = dialogue.chance(_ERROR_RATE)
    arguments = _sending(dialogue, policy)
    if is_cut:
        arguments["email"] = arguments["email"].rpartition(".")[0]
    words = {"document": _document(dialogue, arguments), "email": arguments["email"]}
    if dialogue.chance(0.5):
        dialogue.user("send_all", policy=dialogue.refer(policy), **words)
    else:
        dialogue.user("send", policy=dialogue.refer(policy), **words)
        dialogue.ask_for("email")
        dialogue.user("give_email", **words)
    dialogue.call((SEND, arguments))
    if is_cut:
        arguments["email"] = dialogue.person.email
        dialogue.user("fix_email", email=arguments["email"])
        dialogue.call((SEND, arguments))


def show_and_send(dialogue: InsuranceDialogue) -> None:
    """Ask for a policy and a document of it in one message."""
    (policy,) = dialogue.new_policies()
    arguments = _sending(dialogue, policy)
    words = {"document": _document(dialogue, arguments), "email": arguments["email"]}
    dialogue.user("show_and_send", policy=dialogue.refer(policy), **words)
    dialogue.call((FIND, {"policy_id": policy.id}), (SEND, arguments))


def show_and_status(dialogue: InsuranceDialogue) -> None:
    """Ask for a policy and the state of a claim in one message."""
    (policy,) = dialogue.new_policies()
    claim = dialogue.rng.choice(list(dialogue.office.claims))
    dialogue.user("show_and_status", policy=dialogue.refer(policy), claim=claim)
    dialogue.call((FIND, {"policy_id": policy.id}), (STATUS, {"claim_id": claim}))
    if dialogue.chance(0.4):
        ask_fact(dialogue)


def _sending(dialogue: InsuranceDialogue, policy: Policy) -> dict[str, Any]:
    return {
        "document": dialogue.rng.choice(DOCUMENTS),
        "policy_id": policy.id,
        "email": dialogue.person.email,
    }


def _document(dialogue: InsuranceDialogue, arguments: dict[str, Any]) -> str:
    return dialogue.voice.pick(f"document_{arguments['document']}")
