"""Read the headers of image files, which may be hostile.

Threat model.  Every byte may come from an attacker who wants the server to allocate memory, loop,
crash, or decode more than the limits allow.  Every reader follows these rules:

- A reader walks the structure of the file, and checks that no length exceeds the bytes that follow.
- How much memory a reader allocates depends on the bytes that the file has, never on a size that
  the file states.
- A reader reports size, format and orientation before a single pixel is decoded.
- A reader refuses a file that two programs could read differently. Otherwise, the decoder could
  find another size than the one that was checked.
- A reader gives the decoder a copy of the file without comments, colour profiles and EXIF
  blocks. These parts have caused the worst faults of decoders.

Only the pixels are decoded by Pillow and its libraries.  The server limits the memory (``limits``)
and the time (a timeout for each request) of decoding.

``header`` defines what a reader reports; ``jpeg``, ``png`` and ``tiff`` read one format each;
``ifd`` reads the directories of TIFF files and EXIF blocks.
"""
