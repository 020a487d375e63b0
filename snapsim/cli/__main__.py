"""`python -m snapsim.cli` is `snapsim`."""

import sys

from snapsim.cli import main

sys.exit(main())
