# drdeploy:lean: ONNX Runtime's C library behind one light HTTP server, on Debian with its shell and
# apt. Files that serving does not use are removed from the locked dependencies (slim_site.sh,
# slim_numpy.sh). The dependencies and our source are compiled to byte code in separate stages, and
# copied over Debian's Python. The dependencies come first, so that a change of the source rebuilds
# only the last layers.
#
#   drdeploy image build lean
#   docker build -f containers/lean.Dockerfile -t drdeploy:lean .

ARG BASE=debian:bookworm-slim
FROM ${BASE} AS python
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old

FROM python AS dependencies
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev python3-pip
COPY containers/record_wheels.py /build/record_wheels.py
COPY requirements/serve.txt /build/requirements.txt
RUN python3 -m pip install --quiet --progress-bar off --root-user-action ignore \
      --no-cache-dir --no-compile --only-binary :all: --require-hashes \
      --target /build/site --report /build/report.json -r /build/requirements.txt \
 && python3 /build/record_wheels.py /build/report.json /build/wheels.sha256
COPY containers/blas.c containers/slim_numpy.sh containers/slim_site.sh /build/
RUN sh /build/slim_site.sh /build/site && sh /build/slim_numpy.sh /build/site /build/blas.c
# The byte code is never checked against its source: the files of a container do not change.  It must
# be there already, because the root may be read-only and a cold start must not compile.
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash \
      -s /build/site -p /usr/local/lib/python3.11/dist-packages /build/site

FROM python AS source
COPY src/drdeploy /build/site/drdeploy
COPY containers/serve.py /build/serve.py
RUN python3 -m compileall -q --invalidation-mode unchecked-hash \
      -s /build/site -p /usr/local/lib/python3.11/dist-packages /build/site

FROM python
RUN useradd --system --uid 10001 --user-group --home-dir /tmp --no-create-home grader
COPY --from=dependencies /build/site /usr/local/lib/python3.11/dist-packages
COPY --from=dependencies /build/wheels.sha256 /usr/share/drdeploy/wheels.sha256
COPY --from=source /build/site /usr/local/lib/python3.11/dist-packages
COPY --from=source /build/serve.py /usr/local/bin/drdeploy-serve.py
# Measured on a cold start that takes 0.45 s of CPU: a heap that grows in steps of 16 MB and is not
# given back at once saves 60 ms of page faults.  One thread for OpenBLAS saves 75 ms, in an image
# that keeps the one that NumPy brings.
# A heap of huge pages is no gain. It saves 7 ms of page faults if the host has the memory at hand.
# If a hypervisor must first find the memory, it adds 60 ms: a huge page then takes 5 ms.
ENV DRDEPLOY_PROFILE=lean \
    MALLOC_TOP_PAD_=16777216 \
    MALLOC_TRIM_THRESHOLD_=134217728 \
    OPENBLAS_NUM_THREADS=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
ARG VERSION=unknown
ARG BASE_NAME=""
ARG BASE_DIGEST=""
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.base.name="${BASE_NAME}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}" \
      org.opencontainers.image.title="drdeploy lean" \
      org.opencontainers.image.description="Grades fundus photographs with ONNX Runtime. For research use. Not a medical device." \
      org.opencontainers.image.licenses="Apache-2.0" \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true" \
      org.drdeploy.network="none"
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["/usr/bin/python3", "/usr/local/bin/drdeploy-serve.py"]
CMD ["serve"]
