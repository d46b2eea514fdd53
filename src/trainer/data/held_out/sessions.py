"""Hold training sessions out, so that a run can choose its checkpoint without a look at the evaluation split."""

from collections.abc import Iterable

from trainer.config import Config
from trainer.util.ordering import digest_number

_AUTO_SHARE = 0.1
_FEWEST_FOR_AUTO = 10
_MOST_SESSIONS = 64


def chooses(cfg: Config) -> bool:
    """Whether a run chooses between its checkpoints."""
    train = cfg.train
    is_best_kept = bool(train.get("load_best_model_at_end")) or train.get("save_strategy") == "best"
    return is_best_kept or train.get("early_stopping") is not None


def selection_sessions(cfg: Config, session_ids: Iterable[str]) -> list[str]:
    """Return the training sessions to hold out: those whose ids have the lowest hashes, so most stay if data is added.

    None for a run that chooses nothing, or has fewer than ten sessions, unless `data.selection_share` is a number; then
    at least one, if another one is left. At most 64.
    """
    share = cfg.data.selection_share
    ids = sorted(set(session_ids), key=lambda name: (digest_number(f"selection\0{name}"), name))
    if share == "auto":
        share = _AUTO_SHARE if chooses(cfg) and len(ids) >= _FEWEST_FOR_AUTO else 0.0
    if not share or len(ids) < 2:
        return []
    return sorted(ids[: min(max(round(share * len(ids)), 1), len(ids) - 1, _MOST_SESSIONS)])
