"""Turn the bytes of a photograph into the input of a model.

Each step has one file:

1. ``limits`` says how large a photograph may be.
2. ``formats/`` reads the headers of JPEG, PNG and TIFF files, which may be hostile. The readers
   decode no pixels, and drop comments, colour profiles and EXIF blocks.
3. ``decode`` checks the header against the limits, and then decodes to upright 8-bit RGB.
4. ``photograph`` decodes at the scale that a model needs, and finds the eye with ``field_of_view``.
   ``surround`` paints the surround of the eye black.
5. ``gradability`` says whether the photograph is good enough to be graded, and ``appearance``
   measures how much it differs from the training photographs. Both measure small copies of the eye,
   which ``eye_copies`` makes.
6. ``apply`` follows a
   :class:`~drdeploy.grader.fundus.transform.FundusTransform` to make the model's input: it crops,
   resizes, filters (``graham``) and scales the values.

Importing the package does not import its modules, so a server that only answers ``/ping`` does not
load Pillow.
"""
