"""Hold training sessions out, so that a run can choose its checkpoint without a look at the evaluation split."""

from collections.abc import Iterable

from trainer.config import Config
from trainer.util.ordering import digest_number

_AUTO_SHARE = 0.1
_FEWEST_FOR_AUTO = 30
_FEWEST_HELD = 5  # fewer show nothing
_MOST_SESSIONS = 64


def chooses(cfg: Config) -> bool:
    """Whether a run chooses between its checkpoints, or lets a recipe do so."""
    train = cfg.train
    is_best_kept = bool(train.get("load_best_model_at_end")) or train.get("save_strategy") == "best"
    return is_best_kept or train.get("early_stopping") is not None or train.get("recipe") == "auto"


def selection_sessions(cfg: Config, session_ids: Iterable[str]) -> list[str]:
    """Return the training sessions to hold out: those whose ids have the lowest hashes, so most stay if data is added.

    `data.selection_share` as a number is kept to: at least one session, if another one is left, at most 64. `auto` is a
    tenth, at least five; none for a run that chooses nothing, or has fewer than 30 sessions.
    """
    share = cfg.data.selection_share
    ids = sorted(set(session_ids), key=lambda name: (digest_number(f"selection\0{name}"), name))
    if share != "auto":
        n = max(round(share * len(ids)), 1) if share else 0
    else:
        holds_out = chooses(cfg) and len(ids) >= _FEWEST_FOR_AUTO
        n = max(round(_AUTO_SHARE * len(ids)), _FEWEST_HELD) if holds_out else 0
    return sorted(ids[: max(0, min(n, len(ids) - 1, _MOST_SESSIONS))])


def with_held_share(cfg: Config, *, n_held: int, n_trained: int) -> Config:
    """Return the configuration with the share of sessions that was held out, so that a run of it holds out the same."""
    share = n_held / (n_held + n_trained) if n_held else 0.0
    return cfg.model_copy(update={"data": cfg.data.model_copy(update={"selection_share": share})})
