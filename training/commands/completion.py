"""sim2street completion: print the script with which a shell completes commands, options and recipe names."""

from __future__ import annotations

import argparse


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command."""
    parser = commands.add_parser("completion", help="print a shell completion script")
    parser.add_argument(
        "shell", choices=("bash", "zsh", "fish", "powershell"), help='bash: eval "$(sim2street completion bash)"'
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the script."""
    import argcomplete

    print(argcomplete.shellcode(["sim2street"], shell=options.shell))
