"""The project's readers of tool calls as a parser of vLLM, and the file that makes vLLM load it."""
