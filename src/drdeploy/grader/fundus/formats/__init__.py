"""Readers of the headers of image files, written for files that attack them.

Threat model.  Every byte comes from a stranger who wants to make the server allocate, loop, crash
or decode more than the limits allow.  So each reader

- walks the file's own structure with every length checked against the bytes that are there,
- allocates nothing whose size the file names,
- reports size, format and orientation before a single pixel is decoded, and
- hands the decoder a copy without the parts that the pixels do not need: comments, colour
  profiles, thumbnails and EXIF blocks are where decoders have had their worst faults.

``header`` holds what they report and picks the reader by the first bytes; ``jpeg``, ``png`` and
``tiff`` read one format each; ``ifd`` reads the directories of TIFF files and EXIF blocks.
"""
