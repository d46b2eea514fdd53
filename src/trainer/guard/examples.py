"""Make turns to judge of the guard's conversations, as a server would prompt for them. Loads no model."""

from collections.abc import Sequence
from typing import NamedTuple

from trainer.chat import ChatEncoder, EncodedSession
from trainer.data.build import with_tokens
from trainer.data.sessions import eval_turns
from trainer.types import Session, ToolEvalExample


class GuardExamples(NamedTuple):
    """The turns to judge, by session and turn, and why each conversation that was left out cannot be judged."""

    examples: tuple[ToolEvalExample, ...]
    left_out: tuple[str, ...]


def guard_examples(sessions: Sequence[Session], encoder: ChatEncoder, *, max_prompt_tokens: int) -> GuardExamples:
    """Encode conversations without tools. One that the chat template cannot carry, or with a longer prompt, is left
    out as a whole: a template may require tools, or a system message."""
    examples: list[ToolEvalExample] = []
    left_out = []
    for session, encoded in zip(sessions, encoder.encode_batch(sessions), strict=True):
        if not isinstance(encoded, EncodedSession):
            left_out.append(str(encoded))
            continue
        found = list(_turns(session, encoded))
        longest = max(len(example.prompt_ids) for example in found)
        if longest > max_prompt_tokens:
            left_out.append(
                f"session {session.session_id}: a prompt has {longest:,} tokens, more than {max_prompt_tokens:,}, "
                "which data.max_context_length leaves for it"
            )
            continue
        examples += found
    return GuardExamples(tuple(sorted(examples, key=lambda one: (one.session_id, one.turn))), tuple(left_out))


def _turns(session: Session, encoded: EncodedSession) -> list[ToolEvalExample]:
    turns = {turn.turn: turn for turn in eval_turns(session)}
    return [
        with_tokens(
            turns[span.turn], prompt_ids=row.input_ids[: span.start], target_ids=row.input_ids[span.start : span.end]
        )
        for row in encoded.rows
        for span in row.spans
    ]
