"""Run `python -m stages <command>`, as dvc.yaml does, with the code of the working copy."""

from stages.app import main

if __name__ == "__main__":
    main()
