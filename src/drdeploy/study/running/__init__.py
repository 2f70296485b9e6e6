"""Run a study, from its plan to rows on disk.

To read the code, begin with :mod:`~drdeploy.study.running.session`. Its function ``run_plan`` uses
the other modules in this order:

1. ``progress`` reads the rows on disk, and finds out which measurements are missing.
2. ``models`` finds or builds the artifacts. ``photographs`` finds the photographs, or paints
   synthetic ones.
3. ``target`` connects to a local service or to AWS.  ``provisioned`` creates all endpoints with
   Terraform, if requested.
4. ``runner`` hosts and measures each trial, and deletes the trial's endpoint. ``sending`` sends the
   requests of a trial as its scenario says, and reads the answers.
5. ``rows`` makes one row of each invocation, and adds CloudWatch's metrics.

What an interrupted run leaves behind
-------------------------------------

Every row is written to disk as soon as its answer is there. Each row names its trial, and has a
number within the trial, the sequence number. If the same command runs again, it keeps the rows. It
measures only the sequence numbers that are missing or whose row does not count, for example because
the request failed. A row that does not count is then marked as warm-up. If the scenario has a
warm-up request, this request is sent again first. New rows get a new ``run_id``.

The requests of an open-loop or asynchronous trial follow one schedule, so such a trial cannot be
continued in the middle. It starts again from the first request. Its earlier rows stay in the file,
but they are marked as warm-up and are left out of the results.

If the study or the machine has changed since the earlier rows were measured, the run is refused, so
that rows from different conditions are never mixed.
"""
