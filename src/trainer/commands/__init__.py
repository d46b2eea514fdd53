"""The installed command `tool-sft`: one module per sub-command, each a parser and `run(args)`. Holds no method."""
