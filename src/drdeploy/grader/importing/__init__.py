"""Turn a model that was made elsewhere into an artifact that can be served.

:func:`pack_model` finds out what a file or folder is, and converts a Keras file (``keras_files``).
:func:`pack_model` then loads the model with the runtime that will serve it, and predicts with it
(``trial_prediction``). A model that fails this trial is not packed, and an error gives the reason.
If the runtime is not installed, the model is packed without a trial, and a note says so.
"""

from drdeploy.grader.importing.packing import PackedModel, pack_model

__all__ = ["PackedModel", "pack_model"]
