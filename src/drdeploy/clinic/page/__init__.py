"""The worklist page: upload photographs, see the most urgent patients first, record decisions.

- ``app`` is the web application, and ``server`` runs it.
- ``access`` finds the account behind a request, and ``signing_in`` lets people sign in.
- ``forms`` reads what browsers send, and ``rendering`` fills the templates.
- ``request_guard`` refuses requests of strangers: wrong host, forged forms, unknown sessions.
- ``sessions`` holds who is signed in.
- ``photographs`` takes photographs in and gives them to the browser.
- ``worklist_view`` divides the studies into the parts of the list.
- ``grading`` grades the studies in a pool of a few threads, and ``endpoint`` with an endpoint.
- ``exports`` writes the worklist as CSV, and a study as FHIR and PDF.
- ``decided_results`` makes new results for archives and servers after a decision.
- ``translations`` holds the words of the page in Portuguese.

For research use.  Not a medical device.
"""
