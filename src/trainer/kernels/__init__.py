"""Attention and LoRA products that replace a library's while a step runs, and their precision."""
