"""The command `plushie-search completion`: scripts that let a shell complete the commands and their options."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from .common import DONE, Command, Commands

Words: TypeAlias = Mapping[str, Sequence[str]]
"""The words that may follow each command, by its name; those of the program itself by the empty name."""


def add_command(commands: Commands) -> None:
    """Adds the command."""
    completion = commands.add(
        "completion",
        functools.partial(run, parser=commands.parser),
        "print a script that makes a shell complete commands and options",
    )
    completion.description = (
        "Print a script that makes a shell complete commands and options. For bash: "
        'eval "$(plushie-search completion bash)" in ~/.bashrc; for zsh the same with zsh in ~/.zshrc; for fish: '
        "plushie-search completion fish > ~/.config/fish/completions/plushie-search.fish"
    )
    completion.add_argument("shell", metavar="SHELL", choices=SCRIPTS, help="bash, zsh or fish")


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Runs the command and returns the exit status."""
    print(SCRIPTS[options.shell](_words(parser)))
    return DONE


def _words(parser: argparse.ArgumentParser, name: str = "") -> dict[str, list[str]]:
    """Returns the words that may follow a parser's command, and those of its commands."""
    words: dict[str, list[str]] = {name: []}
    for action in parser._actions:
        if action.help == argparse.SUPPRESS:
            continue
        words[name] += action.option_strings
        choices = action.choices
        if isinstance(choices, Mapping) and not action.option_strings:
            words[name] += choices
            for command, sub in choices.items():
                if isinstance(sub, Command):
                    words |= _words(sub, f"{name} {command}".strip())
    return words


def _bash(words: Words) -> str:
    names = [name.replace(" ", "/") for name in words if name]
    cases = "\n".join(f"        '{name.replace(' ', '/')}') words='{' '.join(all)}' ;;" for name, all in words.items())
    return f"""_plushie_search() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} command= word words=
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case " {" ".join(names)} " in
            *" ${{command:+$command/}}$word "*) command=${{command:+$command/}}$word ;;
        esac
    done
    case $command in
{cases}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _plushie_search plushie-search"""


def _zsh(words: Words) -> str:
    return f"autoload -U +X bashcompinit && bashcompinit\n{_bash(words)}"


def _fish(words: Words) -> str:
    lines = []
    for name, all in words.items():
        has_commands = any(one and one.rpartition(" ")[0] == name for one in words)
        end = r"\z" if has_commands else r"(?: |\z)"
        typed = rf"^\S+{' ' if name else ''}{name}{end}"
        test = f'string match -qr "{typed}" -- (commandline -opc | string join " ")'
        lines.append(f"complete -c plushie-search -n '{test}' -a '{' '.join(all)}'")
    return "\n".join(lines)


#: How each shell's script is made.
SCRIPTS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
