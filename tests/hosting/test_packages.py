"""Other wings take nouns from the package, and pay only for what they use."""

import importlib
import subprocess
import sys

import pytest

PACKAGES = ["drdeploy.hosting.local", "drdeploy.hosting.sagemaker"]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_has_every_name_that_it_exports(name):
    package = importlib.import_module(name)
    assert all(getattr(package, noun) is not None for noun in package.__all__)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_has_no_other_names(name):
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = importlib.import_module(name).Nothing


@pytest.mark.parametrize("name", PACKAGES)
def test_importing_a_package_loads_neither_boto3_nor_pydantic_nor_moto(name):
    code = f"import sys, {name}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {"boto3", "botocore", "pydantic", "moto"} & set(modules)
