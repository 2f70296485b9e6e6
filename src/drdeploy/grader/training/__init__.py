"""Train a grader out of fold, calibrate it, and choose its operating points.

``recipe`` holds every choice; ``prepared`` and ``augmentation`` make the batches; ``fit`` trains
one network and ``train`` all folds; ``calibration`` makes probabilities mean what they say;
``operating_points`` chooses thresholds; ``cross_fitting`` says what the chosen numbers do on
photographs that they were not chosen on; ``compare`` trains heads on frozen networks.
"""
