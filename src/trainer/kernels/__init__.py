"""Attention and LoRA code that replaces a library's during a step, and mixed precision for adapters on a CPU."""
