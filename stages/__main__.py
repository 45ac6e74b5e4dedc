"""`python -m stages <command>`: how dvc.yaml calls them, so that the code of the working copy runs."""

from stages.app import main

if __name__ == "__main__":
    main()
