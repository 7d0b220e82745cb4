"""``python -m queuectl``."""

from queuectl.cli.app import main

if __name__ == "__main__":
    main()
