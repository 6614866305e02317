"""`python -m explaind.cli` is `explaind`."""

from explaind.cli import main

if __name__ == "__main__":
    main()
