"""Makes a checkout importable for a file that is run by its path, such as a page on a host without the package installed.

Python puts that file's folder on its path, so `import checkout` finds this module. An installed package takes precedence.
"""

import importlib.util
import sys
from pathlib import Path

if importlib.util.find_spec("sim2street") is None:
    sys.path.append(str(Path(__file__).resolve().parent.parent))
