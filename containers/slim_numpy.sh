#!/bin/sh
# Replace the OpenBLAS of NumPy's wheel by blas.c.
#
#   slim_numpy.sh SITE BLAS_C      SITE: the folder with numpy and numpy.libs
#
# If NumPy needs a routine that blas.c lacks, the replacement prints the routine's name and ends the
# process.
set -eu
site=$1
source=$2
library=$(ls "$site"/numpy.libs/libscipy_openblas*)
work=$(mktemp -d)

find "$site/numpy" -name '*.so' -exec nm -D --undefined-only {} + |
  awk '$2 ~ /^scipy_/ {print $2}' | sort -u >"$work/needed"
gcc -O3 -fPIC -c -o "$work/blas.o" "$source"
nm --defined-only "$work/blas.o" | awk '$3 ~ /^scipy_/ {print $3}' | sort -u >"$work/present"
{
  echo '#include <stdio.h>'
  echo '#include <stdlib.h>'
  comm -23 "$work/needed" "$work/present" | while read -r name; do
    printf 'void %s(void) { fputs("%s is not in this image\\n", stderr); abort(); }\n' \
      "$name" "$name"
  done
} >"$work/rest.c"
gcc -O1 -fPIC -shared -s -Wl,-soname,"$(basename "$library")" -o "$work/library.so" \
  "$work/blas.o" "$work/rest.c"
rm -f "$site"/numpy.libs/*
mv "$work/library.so" "$library"
chmod 755 "$library"
rm -r "$work"
