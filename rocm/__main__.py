"""`python -m rocm`."""

import sys

from rocm.cli.main import main

sys.exit(main())
