"""A study becomes measurements.

The stages, in the order that one measurement travels through them:

1. :mod:`~drdeploy.experiments.study` reads a study from TOML: models, images, endpoints,
   scenarios, and which of them meet.
2. :mod:`~drdeploy.experiments.plan` makes it a list of trials, as data, with the expected
   duration and the worst-case cost.  Nothing is called and nothing is spent until then.
3. :mod:`~drdeploy.experiments.models` and :mod:`~drdeploy.experiments.photographs` prepare
   what the trials need;
   :mod:`~drdeploy.experiments.target` is where they run: a local service, or AWS.
4. :mod:`~drdeploy.experiments.runner` hosts each trial, runs its scenario
   (:mod:`~drdeploy.experiments.scenarios`) and deletes what it made.
5. :mod:`~drdeploy.experiments.measurement` is one invocation, one row;
   :mod:`~drdeploy.experiments.journal` keeps the rows, whatever happens to the process;
   :mod:`~drdeploy.experiments.environment` keeps the facts that the rows depend on.

What a run that was interrupted leaves behind
---------------------------------------------
Every row is on disk before the next request is sent.  A row is identified by its trial and its
sequence number, and a sequence number is measured once: the next run of the same command keeps
the rows, gives new ones its own ``run_id``, and measures only the numbers that are missing
(after one uncounted request where the scenario has one).  An open-loop trial is a single
arrival process and cannot be continued: its earlier rows are kept, marked as warm-up, and it
starts anew.  A study that has changed since, or another machine, is refused rather than mixed.
"""
