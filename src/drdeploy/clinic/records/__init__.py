"""Keep a clinic's studies: photographs, results, deliveries, and who did what.

- ``schema`` defines the tables of the database, and ``migrations`` creates and changes them.
- ``database`` opens SQLite or PostgreSQL and brings its tables up to date.
- ``audit`` appends to a log whose entries are chained by hashes, and verifies the chain.
- ``photograph_store`` keeps the DICOM files, each under the hash of its content.
- ``photograph_folder`` checks that the database and the folder of photographs belong together.
- ``grading_lock`` makes sure that only one program at a time grades.
- ``deliveries`` queues results for other servers, and ``erasure`` deletes the data of patients.
- ``worklist`` reads studies for the page and records decisions. ``worklist_queries`` lets the
  database sort, filter and count the studies. ``urgency`` computes the columns for this.
- ``accounts`` holds the accounts of those who may sign in.
- ``records`` has the class through which the rest of ``clinic`` uses all of these.
"""

from drdeploy.clinic.records.records import ClinicRecords

__all__ = ["ClinicRecords"]
