"""``python -m barnraise`` is the ``barnraise`` command."""

from barnraise.cli import main

if __name__ == "__main__":
    main()
