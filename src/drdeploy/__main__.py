"""Run the command with ``python -m drdeploy``, even if ``drdeploy`` is not on the path."""

from drdeploy.cli import main

if __name__ == "__main__":
    main()
