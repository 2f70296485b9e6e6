import pytest

from drdeploy.errors import NotAcceptable
from drdeploy.hosting.serving.negotiation import choose_answer_form


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("application/json", "json"),
        ("application/*", "json"),
        ("text/csv", "csv"),
        ("text/*", "csv"),
        ("TEXT/CSV; header=absent", "csv without header"),
        ("text/csv;q=0.4, application/json;q=0.9", "json"),
        ("application/json;q=0.1, text/csv", "csv"),
        ("*/*;q=0.5, text/csv;q=0.5", "csv"),
        ("text/html, */*;q=0.1", "json"),
        ("application/json;q=0, text/csv", "csv"),
        ("application/json;q=0, */*", "csv"),
        ("application/json;q=much, text/csv;q=0.1", "csv"),
        ("application/json;q=nan, text/csv;q=0.1", "csv"),
        ("application/json;q=inf, text/csv;q=0.1", "csv"),
        ("application/json;q=1.001, text/csv;q=0.1", "csv"),
    ],
)
def test_the_form_that_accept_prefers_is_chosen(accept, form):
    assert choose_answer_form(accept) == form


@pytest.mark.parametrize(
    "accept", ["text/html", "application/json;q=0", "image/*", "*/*;q=0", "*/*;q=nan"]
)
def test_an_accept_header_without_json_and_csv_is_refused(accept):
    with pytest.raises(NotAcceptable):
        choose_answer_form(accept)
