"""`python -m kerasloss_search`: the same as `kerasloss-search`."""

import sys

from kerasloss_search.entry import main

sys.exit(main())
