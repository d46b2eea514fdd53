"""The loop of a live conversation: read a line, do what it says, until the end of the input. Knows no model."""

import difflib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from trainer.errors import ToolSftError
from trainer.live_chat.exchange import Begin, CommandGiven, Exchanger, LiveConversation
from trainer.live_chat.rows import save_row
from trainer.live_chat.screen import Screen

COMMANDS: Mapping[str, str] = {
    "/help": "show the commands",
    "/tools": "show the tools that the model is offered; /tools NAME shows one with its parameters",
    "/system": "show the system prompt",
    "/reset": "begin a new conversation, at the time of now",
    "/undo": "take back your last message and what followed it",
    "/save PATH": "add the conversation to a .jsonl file that training reads with chat_rows",
    "/quit": "end (also Ctrl-D)",
}
"""What can be written besides messages, with one line of help."""

_HINT = "/help shows the commands; Ctrl-C stops an answer, Ctrl-D ends"


class ChatLoop:
    """Holds one conversation at a time. `begin` makes a new one, with the prompt of its moment."""

    def __init__(self, exchanger: Exchanger, screen: Screen, begin: Begin) -> None:
        self._exchanger, self._screen, self._begin = exchanger, screen, begin
        self._n_failed = 0
        self._conversation: LiveConversation
        self._do: Mapping[str, Callable[[str], None]] = {
            "/help": lambda rest: self._help(),
            "/tools": self._tools,
            "/system": lambda rest: self._system(),
            "/reset": lambda rest: self._reset(),
            "/undo": lambda rest: self._undo(),
            "/save": self._save,
        }

    def run(self) -> int:
        """Talk until the input ends. Returns 1 if something failed and nobody was there to see it, else 0."""
        self._new()
        if self._screen.is_terminal:
            self._greet()
        is_over = False
        while not is_over:
            try:
                is_over = self._take(self._screen.read())
            except EOFError:
                is_over = True
                if self._screen.is_terminal:
                    self._screen.print("")
            except KeyboardInterrupt:
                self._screen.print("\n(/quit or Ctrl-D ends)", style="dim")
            except ToolSftError as error:
                self._n_failed += 1
                self._screen.print(f"error: {error}", style="bold red")
        return 1 if self._n_failed and not self._screen.is_terminal else 0

    def _take(self, line: str) -> bool:
        """Do what a line says. Returns whether it ends the chat."""
        if not line.startswith("/"):
            return bool(line.strip()) and self._say(line.strip())
        word, _, rest = line.strip().partition(" ")
        if word == "/quit":
            return True
        if word in self._do:
            self._do[word](rest.strip())
        else:
            near = difflib.get_close_matches(word, [*self._do, "/quit"], n=1)
            hint = f"did you mean {near[0]}?" if near else "/help shows the commands."
            self._screen.note(f"unknown command {word}; {hint} To send a line that begins with /, put a space first")
        return False

    def _say(self, text: str) -> bool:
        """Hold one exchange. One that has no end leaves no trace in the conversation. Returns whether the chat ends."""
        try:
            self._exchanger.say(self._conversation, text)
        except KeyboardInterrupt:
            self._break_off("stopped; your message and what followed it are forgotten")
        except EOFError:
            self._break_off("the input ended before the result of the call")
            return True
        except CommandGiven as given:
            self._break_off("your message is taken back, because its call got no result")
            return self._take(given.line)
        except ToolSftError:
            self._break_off(None)
            raise
        return False

    def _break_off(self, reason: str | None) -> None:
        self._screen.interrupted()
        self._forget()
        if reason is not None:
            self._screen.note(reason)

    def _new(self) -> None:
        self._conversation = self._begin()
        self._exchanger.tools.begin(self._conversation.now)

    def _forget(self) -> bool:
        """Take back the last exchange, in the conversation and in the tools."""
        removed = self._conversation.undo()
        self._exchanger.tools.begin(self._conversation.now, self._conversation.messages)
        return removed is not None

    def _greet(self) -> None:
        answerer, prompt = self._exchanger.answerer, self._conversation.prompt
        n = len(prompt.tools)
        if not n:
            offered = "no tools (--tools PATH offers some)"
        elif self._exchanger.tools.can_run:
            offered = f"{n} tools, which a simulator runs"
        else:
            offered = f"{n} tools, whose results you type"
        offered += "" if prompt.messages else ", no system prompt"
        self._screen.print(f"{answerer.name}: {offered}, up to {answerer.max_context_tokens:,} tokens", style="bold")
        self._screen.print(_HINT, style="dim")

    def _help(self) -> None:
        width = max(map(len, COMMANDS))
        self._screen.print("\n".join(f"{name:<{width}}  {text}" for name, text in COMMANDS.items()))
        self._screen.print("A line that ends with \\ goes on in the next one. Ctrl-C stops an answer.")

    def _tools(self, name: str) -> None:
        functions = {tool["function"]["name"]: tool["function"] for tool in self._conversation.prompt.tools}
        if name in functions:
            self._screen.print(json.dumps(functions[name], ensure_ascii=False, indent=2))
        elif name:
            self._screen.note(f"there is no tool {name}; known: {', '.join(functions) or 'none'}")
        elif functions:
            width = max(map(len, functions))
            lines = [f"{one:<{width}}  {_first_line(function)}" for one, function in functions.items()]
            self._screen.print("\n".join(lines))
        else:
            self._screen.note("the model is offered no tools")

    def _system(self) -> None:
        messages = self._conversation.prompt.messages
        self._screen.print(messages[0].get("content") or "" if messages else "(no system prompt)")

    def _reset(self) -> None:
        self._new()
        self._screen.note("a new conversation")

    def _undo(self) -> None:
        self._screen.note("taken back" if self._forget() else "there is nothing to take back")

    def _save(self, place: str) -> None:
        if not place:
            self._screen.note("name a file: /save conversations.jsonl")
            return
        path = Path(place).expanduser()
        saved = save_row(path, self._conversation)
        answers = f"{saved.n_trained} answer{'' if saved.n_trained == 1 else 's'} to learn"
        rows = f"{saved.n_rows} row{'' if saved.n_rows == 1 else 's'}"
        where = f"{path} has {rows} for data.load_module: chat_rows with data.layout: project"
        self._screen.note(f"saved as {saved.session_id}, with {answers}; {where}")


def _first_line(function: Mapping[str, object]) -> str:
    return str(function.get("description") or "").split("\n", 1)[0]
