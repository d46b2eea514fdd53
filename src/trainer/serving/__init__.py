"""Serve a finished run: plan, vLLM's command line, merging, and parity with training."""
