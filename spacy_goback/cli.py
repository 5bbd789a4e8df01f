"""The `goback` command, and what the project's scripts share with it."""

from typing import NoReturn

import typer


def fail(error: Exception | str) -> NoReturn:
    """Print one line to standard error and end with exit code 1.

    error: what is wrong, where, and what to do.
    """
    typer.secho(f"Error: {error}", fg="red", err=True)
    raise typer.Exit(1)
