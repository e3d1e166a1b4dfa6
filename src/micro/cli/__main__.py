"""The command `micro`, as `python -m micro.cli`."""

from micro.cli import main

if __name__ == "__main__":
    main()
