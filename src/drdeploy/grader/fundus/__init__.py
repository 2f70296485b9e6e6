"""From the bytes of a photograph to the input of a model.

The steps, one file each:

1. ``limits`` says how large a photograph may be.
2. ``formats/`` reads the headers of JPEG, PNG and TIFF files that strangers send.  It decodes
   nothing, and leaves out what the pixels do not need (comments, profiles, thumbnails).
3. ``decode`` checks the header against the limits and only then decodes; ``pixels`` turns the
   result into upright 8-bit RGB.
4. ``photograph`` decodes no more than a model needs and asks ``field_of_view`` where the eye is.
5. ``gradability`` says whether the photograph is good enough to be graded.
6. ``apply`` makes the model's input as a
   :class:`~drdeploy.grader.fundus.transform.FundusTransform` says: crop, resize, filter
   (``graham``), value range.

Importing the package imports none of them: a server that answers ``/ping`` does not need Pillow.
"""
