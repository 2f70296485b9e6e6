# drdeploy:baseline: a first attempt, like the 2023 study's first image. It is built in one stage on
# Debian, and everything stays inside: build tools, NGINX, the complete TensorFlow, package lists
# and pip's cache. Its server is the same as in two-step and reduced. All other images are compared
# with it.
#
#   drdeploy image build baseline
#   docker build -f containers/baseline.Dockerfile -t drdeploy:baseline .

ARG BASE=debian:bookworm-slim
FROM ${BASE}
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y build-essential git nginx python3 python3-dev python3-pip python3-venv wget
COPY containers/record_wheels.py /opt/record_wheels.py
COPY requirements/baseline.txt /opt/requirements.txt
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/python -m pip install --quiet --progress-bar off --only-binary :all: \
      --require-hashes --report /opt/report.json -r /opt/requirements.txt \
 && python3 /opt/record_wheels.py /opt/report.json /usr/share/drdeploy/wheels.sha256
COPY src/drdeploy /opt/venv/lib/python3.11/site-packages/drdeploy
COPY containers/serve.py /usr/local/bin/drdeploy-serve.py
RUN useradd --system --uid 10001 --user-group --home-dir /tmp --no-create-home grader
ENV DRDEPLOY_PROFILE=classic \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TF_CPP_MIN_LOG_LEVEL=2
ARG VERSION=unknown
ARG BASE_NAME=""
ARG BASE_DIGEST=""
LABEL org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.base.name="${BASE_NAME}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}" \
      org.opencontainers.image.title="drdeploy baseline" \
      org.opencontainers.image.description="Grades fundus photographs with TensorFlow. For research use. Not a medical device." \
      org.opencontainers.image.licenses="Apache-2.0" \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port="true" \
      org.drdeploy.network="none"
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["/opt/venv/bin/python", "/usr/local/bin/drdeploy-serve.py"]
CMD ["serve"]
