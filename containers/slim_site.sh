#!/bin/sh
# Remove from a folder of installed packages the files that the server never opens.
#
#   slim_site.sh SITE
set -eu
site=$1

# ONNX Runtime: its Python extension goes, because drdeploy.grader.runtimes calls the C library
# directly; so do the tools for training and conversion.
rm -f "$site"/onnxruntime/capi/onnxruntime_pybind11_state*.so \
  "$site"/onnxruntime/capi/libonnxruntime_providers_shared.so
rm -rf "$site"/onnxruntime/backend "$site"/onnxruntime/datasets \
  "$site"/onnxruntime/quantization "$site"/onnxruntime/tools "$site"/onnxruntime/transformers
# Packages that only ONNX Runtime's Python extension needs.
rm -rf "$site"/flatbuffers* "$site"/google "$site"/protobuf* "$site"/packaging*

# NumPy: random numbers, f2py, and what is for tests and for building extensions go.
rm -rf "$site"/numpy/f2py "$site"/numpy/random "$site"/numpy/testing "$site"/numpy/_pyinstaller \
  "$site"/numpy/_core/include "$site"/numpy/_core/lib "$site"/numpy/doc
rm -f "$site"/numpy/_core/_*_tests.*.so "$site"/numpy/_core/_simd.*.so

# Pillow: AVIF, WebP, fonts, Tk, colour profiles and morphology go. JPEG, PNG and TIFF stay.
for unused in _avif _webp _imagingft _imagingtk _imagingcms _imagingmorph; do
  rm -f "$site/PIL/$unused".*.so
done
for unused in avif webp webpdemux webpmux sharpyuv freetype harfbuzz brotlidec brotlicommon lcms2; do
  rm -f "$site/pillow.libs/lib$unused"-*.so*
done

rm -rf "$site"/bin
find "$site" -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
find "$site" -name '*.pyi' -delete
find "$site" -name '*.pxd' -delete
