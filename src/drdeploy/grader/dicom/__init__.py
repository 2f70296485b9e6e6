"""Read the photographs in DICOM files that strangers send.

Each step has its own file:

1. ``opening`` reads the data elements within limits on bytes, elements and inflated size, and names
   the kinds of objects and transfer syntaxes that are read.
2. ``codestreams`` reads the size in a compressed frame before the frame is decoded.
3. ``decoding`` decodes a frame to the stored samples.
4. ``presentation`` turns samples into 8-bit RGB: palettes, rescale, windows, YBR and colour
   profiles.
5. ``photographs`` puts the steps together.

The result of each frame is a JPEG or an uncompressed TIFF, which everything below
:mod:`drdeploy.grader.inference` grades like any other photograph. The JPEG is exactly the JPEG in
the DICOM file, without its comments and profiles, so that the grade is the grade of the JPEG.

Decoders: Pillow reads JPEG baseline, JPEG extended with 8 bits, JPEG lossless with 8 bits, and RLE;
OpenJPEG (BSD-2-Clause) reads JPEG 2000 and HTJ2K; CharLS (BSD-3-Clause) reads JPEG-LS; GDCM
(BSD-3-Clause) reads JPEG extended and lossless beyond 8 bits, in a process of its own, because it
is the only one that is not fuzzed all year round.  pylibjpeg-libjpeg is under the GPL and therefore
not used.

This package needs the extra ``clinic``.  No message quotes a value of the file, because values name
patients.
"""
