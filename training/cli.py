"""sim2street: the command line. Each command is a file in `training/commands` that calls the module doing the work.

Exit codes: 0 done, 1 a bug, 2 wrong usage or bad input (one sentence on stderr), 130 stopped by the user.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

import argcomplete

from sim2street import __version__
from sim2street.models.errors import Interrupted, Sim2StreetError, is_out_of_memory
from sim2street.training.commands import COMMANDS
from sim2street.training.run.allocator import keep_freed_memory
from sim2street.training.run.signals import termination_interrupts


class Parser(argparse.ArgumentParser):
    """Reports an error in one sentence, without printing the usage first."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; entry point of the console script."""
    # Closed streams (`2>&-`) are None, and the next file that is opened would take their place.
    sys.stdout, sys.stderr = (each or open(os.devnull, "w") for each in (sys.stdout, sys.stderr))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names may not be printable text
            stream.reconfigure(errors="backslashreplace")
    parser = build_parser()
    argcomplete.autocomplete(parser)  # answers the shell's completion requests and exits
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        parser.print_help()
        return 2
    options = parser.parse_args(given)
    keep_freed_memory()
    try:
        with termination_interrupts():
            return options.run(options) or 0
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return 130
    except Sim2StreetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, RuntimeError) as error:
        if "operator torchvision::" in str(error):
            versions = " and ".join(f"{name} {version(name)}" for name in ("torch", "torchvision"))
            print(
                f"error: {versions} do not belong together ({error}). Install both at once from one index: pip install"
                " --force-reinstall torch torchvision",
                file=sys.stderr,
            )
            return 2
        if not is_out_of_memory(error):
            raise
        said = f"{type(error).__name__} {error}".strip()
        print(f"error: Out of memory ({said.splitlines()[0]}). Reduce batch, crop, size or count.", file=sys.stderr)
        return 2
    except OSError as error:
        # A full disk or a read-only folder is the user's to fix, not a bug.
        print(f"error: {error.filename or 'The output'}: {_reason(error)}.", file=sys.stderr)
        return 2


def _reason(error: OSError) -> str:
    """Why the system refused; of a file where a folder was to be made, it only says that the file exists."""
    if isinstance(error, FileExistsError) and os.path.isfile(error.filename or ""):
        return "this is a file, where a folder was expected"
    return error.strerror or str(error)


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = Parser(prog="sim2street", description="Domain adaptation for street-scene segmentation.")
    parser.add_argument("--version", action="version", version=f"sim2street {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
