"""Read the photographs in DICOM files, which may be damaged or hostile.

Each step has its own file:

1. ``opening`` reads the data elements, and limits their number, their size and the size after
   decompression. It also defines which kinds of objects and transfer syntaxes are accepted.
2. ``codestreams`` reads the size in a compressed frame before the frame is decoded.
3. ``decoding`` decodes a frame to the stored samples.
4. ``presentation`` turns samples into 8-bit RGB. It applies palettes, rescaling, windows and colour
   profiles, and converts the colour space YBR.
5. ``photographs`` puts the steps together.

Each frame becomes a JPEG or an uncompressed TIFF, which :mod:`drdeploy.grader.inference` grades
like any other photograph. The compressed pixels of a frame stay unchanged if the frame is a colour
JPEG with 8 bits and its colours need no conversion. Only comments, profiles and EXIF blocks are
then removed. This JPEG gets the same grade whether it comes alone or inside a DICOM file.

Pillow reads JPEG baseline, JPEG extended with 8 bits, JPEG lossless with 8 bits, and RLE. OpenJPEG
(BSD-2-Clause) reads JPEG 2000 and HTJ2K. CharLS (BSD-3-Clause) reads JPEG-LS. GDCM (BSD-3-Clause)
reads JPEG extended and lossless beyond 8 bits. GDCM runs in a separate process, because it is the
only one of these decoders that is not continuously tested with random input (fuzzed). The package
pylibjpeg-libjpeg is not used, because it is under the GPL.

This package needs the extra ``clinic``. Messages quote numbers, such as sizes, and names that the
DICOM standard defines, but no other value from the file, because values may identify the patient.
"""
