"""`photo2cartoon`, and `python -m photo2cartoon` where the console script is not installed."""

import sys


def main() -> None:
    """Run the command line. Where it cannot be loaded, `doctor` still runs, the rest says why.

    Exit code: the command's own; 2 where a library is missing.
    """
    try:
        from photo2cartoon.cli.main import main as run  # noqa: PLC0415
    except ImportError as error:
        from photo2cartoon.cli.doctor import main as diagnose  # noqa: PLC0415
        from photo2cartoon.runtime.checks import find_problems  # noqa: PLC0415

        if sys.argv[1:] == ["doctor"]:
            sys.exit(diagnose())
        reason = f"{error}: photo2cartoon doctor says what is wrong"
        sys.stderr.write(f"{next(iter(find_problems('cpu')), reason)}\n")
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
