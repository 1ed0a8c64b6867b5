"""``t2c`` and ``python -m t2c_search``."""

from __future__ import annotations

import os
import sys
import warnings


def main() -> None:
    """Run the command line; a user's mistake ends in one clear message, never in a traceback."""
    from t2c_search.errors import T2CError, UsageError, brief

    warnings.filterwarnings("ignore", module="PIL")  # of broken EXIF, which costs an image nothing

    try:
        from t2c_search.cli import app

        for number, argument in enumerate(sys.argv[1:], 1):
            if not argument.isascii() and not _is_utf8(argument) and not os.path.lexists(argument):
                raise UsageError(
                    f"argument {number}, {brief(argument)!a}, is not UTF-8: write it so, or rename the file"
                )
        app()
    except UsageError as exc:
        _fail(exc, 2)
    except T2CError as exc:
        _fail(exc, 1)
    except KeyboardInterrupt:
        _fail("interrupted; what was indexed so far is kept, run the same command again to go on", 130)


def _is_utf8(argument: str) -> bool:
    """Tell whether an argument came in UTF-8: Python keeps other bytes as halves of characters."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fail(message: object, code: int) -> None:
    from t2c_search.cli.render import err

    err.complain(f"t2c: {message}")
    sys.exit(code)


if __name__ == "__main__":
    main()
