"""From the bytes of a photograph to the input of a model.

The story, one file a stage:

1. :mod:`~drdeploy.fundus.limits` says how large a photograph may be.
2. :mod:`~drdeploy.fundus.jpeg`, :mod:`~drdeploy.fundus.png` and :mod:`~drdeploy.fundus.tiff`
   read what a file says of itself, decode nothing, and leave out what the pixels do not need
   (comments, profiles, thumbnails), so that nothing in there can do harm.
3. :mod:`~drdeploy.fundus.decode` checks that against the limits and only then decodes;
   :mod:`~drdeploy.fundus.pixels` makes RGB of whatever came out.
4. :mod:`~drdeploy.fundus.field_of_view` finds the eye within its black surround.
5. :mod:`~drdeploy.fundus.apply` follows a :class:`~drdeploy.fundus.transform.FundusTransform`:
   crop, resize, filter (:mod:`~drdeploy.fundus.graham`), value range.

:mod:`~drdeploy.fundus.synthetic` paints photographs for machines that have none.

This package imports nothing by itself: a server that answers ``/ping`` has no need of Pillow.
"""
