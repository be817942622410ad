"""``python -m pystator``: the command line."""

from pystator.cli.app import main

if __name__ == "__main__":
    main()
