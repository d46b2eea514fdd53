"""Talk to a trained model in a terminal: answers, calls that are run, commands. `tool-sft chat` shows it."""
