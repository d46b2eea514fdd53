"""Answers that continue from histories which they share: their cache, their attention, and a trial on the model."""
