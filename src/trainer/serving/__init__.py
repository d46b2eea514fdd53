"""Serve a finished run: the plan, vLLM's command line, merging, and parity with training."""
