"""`photo2cartoon`, and `python -m photo2cartoon` where the console script is not installed."""

import sys


def main() -> None:
    """Run the command line. Where it cannot even be loaded, `doctor` still runs by itself."""
    try:
        from photo2cartoon.cli.main import main as run  # noqa: PLC0415
    except ImportError as error:
        from photo2cartoon.cli.doctor import main as diagnose  # noqa: PLC0415

        if sys.argv[1:] == ["doctor"]:
            sys.exit(diagnose())
        sys.exit(f"{error}: photo2cartoon doctor says what is wrong")
    run()


if __name__ == "__main__":
    main()
