"""`python -m rocm`."""

import sys

from rocm.cli import main

sys.exit(main())
