"""Makes a checkout importable to a file that is run by its path, such as a page on a host where nothing is installed.

Python puts the folder of that file on its path, so `import checkout` finds this one. An installed package comes first.
"""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("sim2street") is None:
    sys.path.append(str(Path(__file__).resolve().parent.parent))
