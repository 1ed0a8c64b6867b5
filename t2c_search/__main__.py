"""``t2c`` and ``python -m t2c_search``."""

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # Python put the working folder first: it goes before anything is imported that may lie there, unless we lie there too
    _HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib is not imported yet
    sys.path[:1] = [folder for folder in sys.path[:1] if folder == _HOME]

import warnings
from contextlib import suppress
from typing import NoReturn, TextIO

from t2c_search.ending import ending_in_order, exit_code, fail, open_standard_streams
from t2c_search.errors import T2CError, T2CWarning, UsageError, brief


def main() -> None:
    """Run the command line; a user's mistake ends in one clear message, never in a traceback."""
    open_standard_streams()
    warnings.filterwarnings("ignore", module="PIL")  # of broken EXIF, which costs an image nothing
    warnings.filterwarnings(
        "ignore", category=FutureWarning, module="torch"
    )  # of how torch's own parts call each other
    warnings.showwarning = _show
    try:
        with ending_in_order():
            _run()
    except UsageError as exc:
        _complain(exc, 2)
    except T2CError as exc:
        _complain(exc, 1)
    except KeyboardInterrupt as exc:
        fail("interrupted", exit_code(exc))


def _run() -> None:
    try:
        os.getcwd()  # noqa: PTH109 - as above
    except FileNotFoundError as exc:
        raise UsageError("the working folder was deleted: go to another one (cd) and run the command again") from exc
    for number, argument in enumerate(sys.argv[1:], 1):
        if not _is_utf8(argument) and not os.path.lexists(argument):
            raise UsageError(f"argument {number}, {brief(argument)!a}, is not UTF-8: write it so, or rename the file")
    from t2c_search.cli import app  # takes a while, in which a signal may come

    app()


def _is_utf8(argument: str) -> bool:
    """Tell whether an argument came in UTF-8: Python keeps other bytes as halves of characters."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _complain(message: object, code: int) -> NoReturn:
    from t2c_search.cli.render import err

    fail(err.complaint(message), code)


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show a warning of ours as a sentence, others as Python does."""
    from t2c_search.cli.render import err

    told = (
        f"t2c: {err.complaint(message)}\n"
        if issubclass(category, T2CWarning)
        else warnings.formatwarning(message, category, filename, lineno)
    )
    with suppress(OSError):
        (file or sys.stderr).write(told)


if __name__ == "__main__":
    main()
