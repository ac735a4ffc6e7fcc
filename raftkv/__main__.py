"""``python -m raftkv`` is the same as the installed command ``raftkv``."""

from raftkv.cli.main import main

if __name__ == "__main__":
    main()
