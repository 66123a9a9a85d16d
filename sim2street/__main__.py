"""`python -m sim2street`: the command line."""

import sys

from sim2street.training.cli import main

sys.exit(main())
