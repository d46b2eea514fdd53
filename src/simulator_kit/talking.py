"""Scenes without a tool: small talk, opening hours, questions out of scope."""

from .dialogue import AnyDialogue


def talk(dialogue: AnyDialogue, situation: str) -> None:
    """Add one exchange of small talk."""
    dialogue.talked_about.add(situation)
    dialogue.user(situation)
    dialogue.say(dialogue.replies.talk[situation])


def greet(dialogue: AnyDialogue) -> None:
    """Say hello before anything else."""
    talk(dialogue, "greet")


def say_thanks(dialogue: AnyDialogue) -> None:
    """Close the conversation."""
    talk(dialogue, "thanks")


def digress(dialogue: AnyDialogue) -> None:
    """Ask for something that needs no tool: often out of scope, otherwise about the office or the assistant."""
    weights = {"offtopic": 9, "hours": 4, "address": 4, "bot": 2}
    if len(dialogue.messages) <= 2:
        weights["wellbeing"] = 5
    if dialogue.was_served:
        weights["wait"] = 3
    for situation in dialogue.talked_about:
        weights.pop(situation, None)
    (situation,) = dialogue.rng.choices(tuple(weights), weights=tuple(weights.values()))
    talk(dialogue, situation)
