"""Run a study, from its plan to rows on disk.

Begin with :mod:`~drdeploy.study.running.session`.  The function ``run_plan`` calls the other
modules in this order:

1. ``progress`` reads the rows on disk, and finds out which measurements are missing.
2. ``models`` finds or builds the artifacts, and ``photographs`` finds or paints the photographs.
3. ``target`` connects to a local service or to AWS.  ``provisioned`` creates all endpoints with
   Terraform, if requested.
4. ``runner`` hosts and measures each trial, and deletes the trial's endpoint. ``sending`` sends the
   requests of a trial as its scenario says, and reads the answers.
5. ``rows`` makes one row of each invocation, and adds CloudWatch's metrics.

What an interrupted run leaves behind
-------------------------------------

Every row is written to disk before the next request is sent. Each row has a trial and a sequence
number, and each sequence number is measured only once. The next run of the same command keeps the
rows and measures only the missing sequence numbers. If the scenario has a warm-up, the warm-up
request is sent again first. New rows get a new ``run_id``.

An open-loop or asynchronous trial cannot be continued in the middle, because its requests follow
one schedule. It starts again from the first request. Its earlier rows stay in the file, but they
are marked as warm-up and do not count.

If the study or the machine has changed, the run is refused. Rows that were measured under different
conditions are never mixed.
"""
