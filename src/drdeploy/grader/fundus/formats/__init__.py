"""Read the headers of image files that strangers send.

Threat model.  Every byte may come from someone who wants to make the server allocate memory, loop,
crash, or decode more than the limits allow.  So each reader

- walks the file's own structure and checks every length against the bytes that are there,
- allocates nothing whose size the file names,
- reports size, format and orientation before a single pixel is decoded,
- refuses what two readers could understand differently, for the decoder must not find another
  size than the one that was checked, and
- hands the decoder a copy without the parts that the pixels do not need: comments, colour
  profiles, thumbnails and EXIF blocks are where decoders have had their worst faults.

What remains is the decoder's own work on the pixels, in Pillow and its libraries.  The server
bounds its memory (``limits``) and its time (a timeout for each request).

``header`` defines what a reader reports; ``jpeg``, ``png`` and ``tiff`` read one format each;
``ifd`` reads the directories of TIFF files and EXIF blocks.
"""
