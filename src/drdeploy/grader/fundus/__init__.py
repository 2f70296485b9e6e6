"""From the bytes of a photograph to the input of a model.

The stages, one file each:

1. ``limits`` says how large a photograph may be.
2. ``formats/`` reads the headers of JPEG, PNG and TIFF files that strangers send.  It decodes
   nothing, and leaves out what the pixels do not need (comments, profiles, thumbnails).
3. ``decode`` checks the header against the limits and only then decodes; ``pixels`` makes
   upright 8-bit RGB of the result.
4. ``field_of_view`` finds the eye within its black surround.
5. ``gradability`` says whether the photograph is good enough to be graded.
6. ``apply`` follows a :class:`~drdeploy.grader.fundus.transform.FundusTransform`: crop, resize,
   filter (``graham``), value range.

This package imports nothing by itself: a server that answers ``/ping`` has no need of Pillow.
"""
