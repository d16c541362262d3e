"""`python -m watchkeeper`: the command line, where no script is installed."""

from watchkeeper.cli import main

if __name__ == "__main__":
    main()
