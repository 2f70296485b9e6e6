# drdeploy:minimal: the server of drdeploy:lean with the fewest files that fulfil the whole hosting
# contract: an interpreter, byte code, the libraries that they load, and the licences of all these.
# There is no shell, no package manager and no source. minimal_root.py copies the files into an
# empty image. To look around in a container, run drdeploy:lean.
#
#   drdeploy image build minimal
#   docker build -f containers/minimal.Dockerfile -t drdeploy:minimal .

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

FROM dependencies AS root
COPY src/drdeploy LICENSE /build/site/drdeploy/
COPY containers/prepared_start.py /build/site/drdeploy_serve.py
COPY containers/serve.py /build/site/drdeploy_entry_point.py
COPY containers/minimal_root.py containers/prepare_start.py /build/
RUN python3 -X no_debug_ranges /build/minimal_root.py /build/site /root-of-image \
 && python3 -X no_debug_ranges -I -S /build/prepare_start.py /root-of-image/usr/lib/python3.11 \
 && install -D -m 644 /build/wheels.sha256 /root-of-image/usr/share/drdeploy/wheels.sha256
# If only a build argument in a LABEL changed, Podman 4.3 still takes the LABEL from its cache. The
# file written below changes with the base, so the labels after it are made anew.
ARG BASE_NAME=""
ARG BASE_DIGEST=""
RUN echo "${BASE_NAME} ${BASE_DIGEST}" >/root-of-image/usr/share/drdeploy/base

FROM scratch
COPY --from=root /root-of-image /
# Measured on a cold start that takes 0.45 s of CPU: a heap that grows in steps of 16 MB and is not
# given back at once saves 60 ms of page faults.  One thread for OpenBLAS saves 75 ms, in an image
# that keeps the one that NumPy brings.
# A heap of huge pages is no gain. It saves 7 ms of page faults if the host has the memory at hand.
# If a hypervisor must first find the memory, it adds 60 ms: a huge page then takes 5 ms.
ENV DRDEPLOY_PROFILE=lean \
    MALLOC_TOP_PAD_=16777216 \
    MALLOC_TRIM_THRESHOLD_=134217728 \
    OPENBLAS_NUM_THREADS=1 \
    PATH=/usr/bin
ARG VERSION=unknown
ARG BASE_NAME=""
ARG BASE_DIGEST=""
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.base.name="${BASE_NAME}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}" \
      org.opencontainers.image.title="drdeploy minimal" \
      org.opencontainers.image.description="Grades fundus photographs with ONNX Runtime. For research use. Not a medical device." \
      org.opencontainers.image.licenses="Apache-2.0" \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true" \
      org.drdeploy.network="none"
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["/usr/bin/python3.11", "-I", "-S", "-u", "/usr/lib/python3.11/drdeploy_serve.pyc"]
CMD ["serve"]
