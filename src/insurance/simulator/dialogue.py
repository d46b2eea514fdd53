"""What a customer and the insurance assistant can refer to so far: the policy in focus, and those shown.

The scenes in `quoting`, `policies`, `claiming` and `meeting` decide what happens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulator_kit.dialogue import Dialogue
from simulator_kit.replies import Outcome

from .cast import Cast
from .office import InsuranceOffice
from .world import Kind, Policy


@dataclass(kw_only=True)
class InsuranceDialogue(Dialogue[InsuranceOffice]):
    """A conversation about insurance.

    `focus` is the policy that "it" means; `recent` are all policies mentioned so far; `shown` are the results of
    `find_policy`, which can answer later questions.
    """

    cast: Cast
    focus: str | None = None
    recent: list[str] = field(default_factory=list)
    shown: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def pick_policy(self, *kinds: Kind) -> Policy:
        """Choose a policy to talk about, of certain kinds: the one in focus, a recent one, or any."""
        policies = {i: p for i, p in self.office.policies.items() if not kinds or p.kind in kinds}
        if self.focus in policies and self.chance(0.75):
            return policies[self.focus]
        recent = tuple(i for i in self.recent if i in policies)
        return policies[self.rng.choice(recent if recent and self.chance(0.6) else tuple(policies))]

    def new_policies(self, n: int = 1) -> list[Policy]:
        """Choose policies that were not shown yet: nobody asks twice for what was already said."""
        left = [policy for policy in self.office.policies.values() if policy.id not in self.shown]
        known = [policy for policy in left if policy.id in self.recent]
        first = self.rng.choice(known if known and self.chance(0.5) else left)
        return [first, *self.rng.sample([policy for policy in left if policy.id != first.id], n - 1)]

    def refer(self, policy: Policy, *, pronoun: bool = True) -> str:
        """Return words that here can only mean this policy."""
        if pronoun and policy.id == self.focus and self.chance(0.45):
            return self.rng.choice(self.voice.this)
        same_kind = [result for result in self.shown.values() if result["kind"] == policy.kind]
        if policy.id in self.shown and len(same_kind) == 1 and self.chance(0.2):
            return f"my {policy.kind} policy"
        return self.voice.by_id(policy.id)

    def unknown(self, known: str) -> str:
        """Return the number of a policy or a claim, mistyped, so that there is none of this number."""
        everything = {*self.office.policies, *self.office.claims}
        return self.rng.choice([f"{known[0]}{n}" for n in range(100, 1000) if f"{known[0]}{n}" not in everything])

    def notice(self, outcomes: Sequence[Outcome]) -> None:
        """Remember which policies a turn's calls were about."""
        about: list[str] = []
        for name, arguments, result in outcomes:
            if name == "find_policy" and "error" not in result:
                self.shown[result["policy"]] = result
            elif name == "change_address" and result.get("policy") in self.shown:
                self.shown[result["policy"]] = {**self.shown[result["policy"]], "yearly": result["yearly"]}
            if arguments.get("policy_id") in self.office.policies:
                about.append(arguments["policy_id"])
        self.recent.extend(i for i in dict.fromkeys(about) if i not in self.recent)
        self.focus = about[0] if len(set(about)) == 1 else None
