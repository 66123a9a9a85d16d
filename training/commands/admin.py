"""sim2street admin: set the admin's password; without one the admin page stays locked."""

from __future__ import annotations

import argparse
import getpass
import sys

from sim2street.models.errors import ConfigError


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command and its subcommands."""
    parser = commands.add_parser("admin", help="set the admin's password")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    password = actions.add_parser("set-password", help="ask for a password and store its scrypt hash")
    password.add_argument("--stdin", action="store_true", help="read the password from one line of standard input")
    password.add_argument(
        "--print", action="store_true", dest="only_print", help="print the hash, for SIM2STREET_ADMIN_PASSWORD_HASH"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Set the password."""
    from sim2street.training.jobs.access import hash_password, set_password

    if options.stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        try:
            password = getpass.getpass("Password: ")
            again = getpass.getpass("Again: ")
        except EOFError:  # Ctrl-D, or no terminal to type at
            raise ConfigError("No password was entered. Without a terminal, pipe it in and use --stdin.") from None
        if again != password:
            raise ConfigError("The two passwords differ.")
    if options.only_print:
        print(hash_password(password))
    else:
        print(f"The hash is stored in {set_password(password)}. Open the app at /admin to sign in.")
    return 0
