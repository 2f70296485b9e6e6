"""Train a grader, calibrate it, and choose its operating points.

``train`` is the whole way: a network for every fold and one for all photographs.  ``recipe`` holds
every choice of the training; ``prepared`` and ``augmentation`` make the batches; ``fit`` trains one
network.  On the out-of-fold predictions, ``calibration`` finds the temperature and
``operating_points`` the thresholds; ``cross_fitting`` estimates how these do on photographs that
they were not chosen on.  ``run_folder`` and ``checkpoint`` keep what an interrupted run needs.
``compare`` trains the same head on several frozen networks.
"""
