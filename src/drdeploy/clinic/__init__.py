"""Use a grader on patients' photographs: photographs in, referrals out.

- ``patients`` groups DICOM photographs by patient, study and eye, and grades each eye.
- ``referral_rules`` decides who is referred, by the rules in a small file.
- ``fhir`` writes the grades of a study as FHIR R4 resources.
- ``structured_report`` and ``pdf_report`` write the grades as DICOM objects, and add them to the
  photographs' study.
- ``fhir_server``, ``dicomweb_storage`` and ``dicom_sender`` send results to a clinic's servers.
- ``dicomweb_retrieval`` finds and fetches photographs in an archive.
- ``deidentified_export`` writes photographs and grades without data that identify patients.
  ``deidentification`` removes these data from a photograph.
- ``graded_rows`` makes the rows of tables of grades, also for ``drdeploy grade``.
- ``dicom_receiver`` takes photographs that cameras and archives send.
- ``records`` keeps studies, results, decisions and accounts in a database.
- ``background_work`` grades received studies and sends results, one after another.
- ``page`` shows the studies in a browser, where people record their decisions.
- ``archive_grading`` grades a whole archive of photographs, on one machine, a cluster or SageMaker.

In ``pyproject.toml``, the import-linter contract "The grader is used in a clinic" says which module
may import which.

For research use.  Not a medical device.
"""
