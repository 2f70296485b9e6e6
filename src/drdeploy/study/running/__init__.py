"""Run a study: from its plan to rows on disk.

Begin with :mod:`~drdeploy.study.running.session`.  Its ``run_plan`` is the whole story, and the
other modules are its steps, in this order:

1. ``progress`` finds out from the rows on disk what is still to be measured.
2. ``models`` and ``photographs`` find what the trials need, or build it.
3. ``target`` is where they run: a local service, or AWS.  ``provisioned`` has Terraform create
   their endpoints, where that was asked for.
4. ``runner`` takes the trials one by one: it hosts a trial, measures it and deletes what it made.
   ``sending`` sends a trial's requests at the pace of its scenario.
5. ``answer`` reads what a container says about itself, ``rows`` makes one row of each invocation,
   and ``cloudwatch`` adds what AWS measured.

What an interrupted run leaves behind
-------------------------------------
Every row is on disk before the next request is sent.  A row is identified by its trial and its
sequence number, and each number is measured once.  The next run of the same command keeps the
rows, gives new ones its own ``run_id``, and measures only the numbers that are missing (after one
uncounted request where the scenario has one).  An open-loop trial is a single arrival process and
cannot be continued: its earlier rows are kept, marked as warm-up, and it starts anew.  Where the
study or the machine has changed since, the run is refused, so that rows are never mixed.
"""
