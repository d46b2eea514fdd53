"""Values that vLLM's flags take for a run, wherever its command line is written. Imports nothing of vLLM."""

VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The values that `--max-lora-rank` accepts (vLLM 0.32)."""


def allowed_rank(rank: int) -> int | None:
    """Return the smallest value of `--max-lora-rank` that holds an adapter of this rank; None if there is none.

    >>> allowed_rank(24), allowed_rank(600)
    (32, None)
    """
    return next((allowed for allowed in VLLM_RANKS if allowed >= rank), None)


def parser_name(format_name: str) -> str:
    """Return the value of `--tool-call-parser` for a format of ours.

    >>> parser_name("hermes")
    'tool_sft_hermes'
    """
    return f"tool_sft_{format_name}"
