"""``import drdeploy`` is a library: light to import, typed, and clear where an extra is missing."""

import pytest

from drdeploy.errors import DrdeployError, MissingExtra, requires_extra


def test_a_missing_package_is_reported_with_the_extra_that_brings_it():
    reported = r"The report needs the package nowhere.*\[study\]"
    with pytest.raises(MissingExtra, match=reported), requires_extra("study", "The report"):
        import nowhere.at.all  # noqa: F401
    assert issubclass(MissingExtra, ImportError)
    assert issubclass(MissingExtra, DrdeployError)


def test_a_missing_module_of_our_own_is_not_blamed_on_an_extra():
    missing = r"drdeploy\.nowhere"
    with (
        pytest.raises(ModuleNotFoundError, match=missing),
        requires_extra("study", "The report"),
    ):
        import drdeploy.nowhere  # noqa: F401
