"""What pyproject.toml cannot express: three folders become one package, which includes some files from the root."""

import shutil
from pathlib import Path

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

ROOMS = ("models", "training", "app")
OF_THE_ROOT = ("Spacefile", "pyproject.toml", "LICENSE")
"""Files that `sim2street space` reads."""


class BuildPackage(build_py):
    """Builds the packages and copies the root's files beside them."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            for name in OF_THE_ROOT:
                shutil.copy(name, Path(self.build_lib) / "sim2street" / name)


setup(
    packages=[
        "sim2street",
        *(f"sim2street.{name}" for name in find_namespace_packages(include=[f"{room}*" for room in ROOMS])),
    ],
    package_dir={"sim2street": "sim2street"} | {f"sim2street.{room}": room for room in ROOMS},
    cmdclass={"build_py": BuildPackage},
)
