"""A study becomes measurements.  Begin at ``session``: read from top to bottom, it is the story.

1. ``session`` prepares a run, finds a place for it, measures, and leaves nothing behind.
2. ``models`` and ``photographs`` prepare what the trials need; ``target`` is where they run: a
   local service, or AWS; ``provisioned`` has Terraform create the endpoints.
3. ``runner`` hosts each trial, runs its scenario (``sending``) and deletes what it made.
4. ``answer``, ``cloudwatch`` and ``rows`` make one row of what came back.

What a run that was interrupted leaves behind
---------------------------------------------
Every row is on disk before the next request is sent.  A row is identified by its trial and its
sequence number, and a sequence number is measured once: the next run of the same command keeps
the rows, gives new ones its own ``run_id``, and measures only the numbers that are missing
(after one uncounted request where the scenario has one).  An open-loop trial is a single
arrival process and cannot be continued: its earlier rows are kept, marked as warm-up, and it
starts anew.  A study that has changed since, or another machine, is refused rather than mixed.
"""
