"""What pyproject.toml cannot say: `conf/` lies at the top of the repository, and in a wheel inside `experiments`."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(
            include=[f"{name}{rest}" for name in ("lata", "eval", "results", "experiments") for rest in ("", ".*")]
        ),
        "experiments.conf",
    ],
    package_dir={"experiments.conf": "conf"},
)
