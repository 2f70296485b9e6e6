"""The tree of errors: what it draws is what there is, and each error says its part."""

import inspect
import re

import pytest

from drdeploy import errors
from drdeploy.errors import (
    DrdeployError,
    InvalidInput,
    MissingExtra,
    RequestRefused,
    UnknownPath,
    UnknownPrice,
    escape_control_characters,
    one_line_error_message,
    turn_import_error_into_missing_extra,
)

CLASSES = [
    one
    for _, one in inspect.getmembers(errors, inspect.isclass)
    if issubclass(one, DrdeployError) and one.__module__ == errors.__name__
]

STATUSES = {
    "EmptyBody": 400,
    "MalformedRequest": 400,
    "UnknownPath": 404,
    "MethodNotAllowed": 405,
    "NotAcceptable": 406,
    "RequestTimeout": 408,
    "PayloadTooLarge": 413,
    "UnsupportedImage": 415,
    "UnreadableImage": 422,
    "HeadersTooLarge": 431,
    "Overloaded": 503,
    "ProcessingTimeout": 504,
    "PredictionFailed": 500,
}


def drawn():
    """Pairs of an error and its parent, as the module's docstring draws them."""
    parent = "DrdeployError"
    for line in errors.__doc__.splitlines():
        if found := re.match(r"    [├└]── (\w+)", line):
            parent = found[1]
            yield parent, "DrdeployError"
        elif found := re.match(r"    [│ ]   [├└]── (.*)", line):
            yield from ((name, parent) for name in found[1].split())


def test_the_drawing_is_the_tree_that_the_classes_make():
    made = [
        (one.__name__, base.__name__)
        for one in CLASSES
        for base in one.__bases__
        if issubclass(base, DrdeployError)
    ]
    assert sorted(drawn()) == sorted(made)


@pytest.mark.parametrize(("name", "status"), STATUSES.items())
def test_a_client_gets_the_status_of_its_error(name, status):
    assert getattr(errors, name)("It went wrong").http_status == status


def test_a_subclass_has_its_parents_statuses_unless_it_names_its_own():
    assert (UnknownPrice.http_status, UnknownPrice.exit_status) == (400, 2)
    assert (RequestRefused.http_status, RequestRefused.exit_status) == (400, 1)
    assert (UnknownPath.http_status, UnknownPath.exit_status) == (404, 1)
    assert (DrdeployError.http_status, DrdeployError.exit_status) == (500, 1)


def test_an_error_says_where_what_and_the_remedy():
    error = InvalidInput("There is no such file.", where="a.toml", remedy="Name another one.")
    assert str(error) == "a.toml: There is no such file. Name another one."


def test_a_client_reads_one_sentence_without_a_place():
    error = InvalidInput("It is too large", where="/opt/ml/model", remedy="Send less")
    assert error.sentence == "It is too large; send less."
    assert InvalidInput("No", remedy="HTTP only").sentence == "No; HTTP only."
    assert InvalidInput("No", remedy="SageMaker only").sentence == "No; SageMaker only."


def test_the_reason_of_an_error_without_a_message_is_its_class():
    assert one_line_error_message(ValueError("two\n  lines")) == "two lines"
    assert one_line_error_message(KeyError()) == "KeyError"


def test_a_package_that_is_not_installed_names_its_extra():
    with (
        pytest.raises(MissingExtra, match=r"Drawing needs the package no_such_package.*study") as e,
        turn_import_error_into_missing_extra("study", "Drawing"),
    ):
        import no_such_package  # noqa: F401
    assert isinstance(e.value, ImportError)


def test_a_module_of_our_own_that_is_missing_is_no_missing_extra():
    with (
        pytest.raises(ModuleNotFoundError) as e,
        turn_import_error_into_missing_extra("study", "Drawing"),
    ):
        import drdeploy.no_such_module  # noqa: F401
    assert not isinstance(e.value, MissingExtra)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("a\rb\nc\0", r"a\rb\nc\x00"),
        ("\x9b31m", r"\x9b31m"),
        ("photo\u202egpj.exe", r"photo\u202egpj.exe"),
        ("\ud800.jpg", r"\ud800.jpg"),
        ("Größe 1\u202f000 → 2", "Größe 1\u202f000 → 2"),
    ],
)
def test_foreign_text_shows_its_control_characters(text, shown):
    assert escape_control_characters(text) == shown
    escape_control_characters(text).encode()


def test_an_error_shows_what_it_quotes_and_does_nothing_else():
    error = InvalidInput("There is no '\x1b]0;x\x07'", where="a\nb.jpg", remedy="Name \x1b[1m")
    assert str(error) == r"a\nb.jpg: There is no '\x1b]0;x\x07'. Name \x1b[1m."


def test_a_client_gets_one_line_whatever_was_quoted():
    error = RequestRefused("Two\nlines", remedy="Send\n  one")
    assert error.sentence == "Two lines; send one."
