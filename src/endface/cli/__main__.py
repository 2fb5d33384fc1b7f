"""`python -m endface.cli`."""

from endface.cli import main

if __name__ == "__main__":
    main()
