"""`python -m docuchat_ingest`: runs the worker, or a command of `docuchat-ingest`."""

import sys

from docuchat_ingest.cli import main

if __name__ == "__main__":
    sys.exit(main())
