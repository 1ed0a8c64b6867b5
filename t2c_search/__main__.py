"""``t2c`` and ``python -m t2c_search``."""

import os
import sys

if (
    __name__ == "__main__" and not sys.flags.safe_path
):  # before any other import: who knows what lies in the working folder
    _HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - pathlib is not imported yet
    sys.path[:1] = [folder for folder in sys.path[:1] if folder == _HOME]

import warnings


def main() -> None:
    """Run the command line; a user's mistake ends in one clear message, never in a traceback."""
    from t2c_search.errors import T2CError, UsageError

    warnings.filterwarnings("ignore", module="PIL")  # of broken EXIF, which costs an image nothing

    try:
        from t2c_search.cli import app

        app()
    except UsageError as exc:
        _fail(exc, 2)
    except T2CError as exc:
        _fail(exc, 1)
    except KeyboardInterrupt:
        _fail("interrupted; what was indexed so far is kept, run the same command again to go on", 130)


def _fail(message: object, code: int) -> None:
    print(f"t2c: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(code)


if __name__ == "__main__":
    main()
