"""``python -m drdeploy`` runs the command if its script is not on the path."""

from drdeploy.cli import main

if __name__ == "__main__":
    main()
