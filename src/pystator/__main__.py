"""``python -m pystator``, and the console script: the command line."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line. Ctrl-C while it is still being imported is answered, too."""
    try:
        from pystator.cli.app import main as run  # takes a tenth of a second

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
