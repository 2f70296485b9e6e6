"""Train a grader, calibrate it, and choose its operating points.

``train`` trains a network for every fold and a final network on all photographs. ``recipe`` holds
every setting of the training. ``prepared_photographs`` and ``augmentation`` make the batches, and
``fit`` trains one network. From the out-of-fold predictions, ``calibration`` finds the temperature
and the thresholds, and estimates how well both work on other photographs. ``run_folder`` and
``checkpoint`` store what an interrupted run needs to continue. ``compare`` compares networks: it
freezes each network, and trains last layers of the same kind on top.
"""
