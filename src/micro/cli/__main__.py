"""``python -m micro.cli`` is the command ``micro``."""

from micro.cli import main

if __name__ == "__main__":
    main()
