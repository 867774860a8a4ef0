"""`python -m labeler`."""

import sys

from labeler.app import main

if __name__ == "__main__":
    sys.exit(main())
