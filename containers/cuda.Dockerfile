# drdeploy:cuda: ONNX Runtime with its CUDA provider behind the light HTTP server of drdeploy:lean,
# on Debian. CUDA and cuDNN come from NVIDIA's Python packages, which are locked like all other
# packages. The image can therefore have the same base as the other images. The driver comes from
# the host: with Docker, run it with `--gpus all` and the NVIDIA Container Toolkit; on SageMaker,
# see docs/gpu.md.
#
#   drdeploy image build cuda
#   docker build -f containers/cuda.Dockerfile -t drdeploy:cuda .

ARG BASE=debian:bookworm-slim
FROM ${BASE} AS python
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old

FROM python AS dependencies
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip
COPY containers/record_wheels.py /build/record_wheels.py
COPY requirements/cuda.txt /build/requirements.txt
RUN python3 -m pip install --quiet --progress-bar off --root-user-action ignore \
      --no-cache-dir --no-compile --only-binary :all: --require-hashes \
      --target /build/site --report /build/report.json -r /build/requirements.txt \
 && python3 /build/record_wheels.py /build/report.json /build/wheels.sha256
# Remove the files that prediction never opens: TensorRT's provider, the tools for training and
# conversion, ONNX Runtime's C library (the runtime `cuda` uses the Python extension), headers and
# static libraries.
RUN cd /build/site \
 && rm -rf bin onnxruntime/tools onnxruntime/transformers onnxruntime/quantization \
      onnxruntime/capi/libonnxruntime_providers_tensorrt.so \
      onnxruntime/capi/libonnxruntime.so.* nvidia/*/include nvidia/*/lib/*.a
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
# The NVIDIA Container Toolkit reads the variables NVIDIA_*. They say which parts of the driver the
# container gets, and which version of CUDA it needs to start. drdeploy reads NVIDIA_REQUIRE_CUDA
# before a deployment.
ENV DRDEPLOY_PROFILE=lean \
    DRDEPLOY_RUNTIME=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_REQUIRE_CUDA=cuda>=13.0 \
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
      org.opencontainers.image.title="drdeploy cuda" \
      org.opencontainers.image.description="Grades fundus photographs with ONNX Runtime on a GPU. For research use. Not a medical device." \
      org.opencontainers.image.licenses="Apache-2.0" \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true" \
      org.drdeploy.network="none"
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["/usr/bin/python3", "/usr/local/bin/drdeploy-serve.py"]
CMD ["serve"]
