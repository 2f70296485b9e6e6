# The same server, started by a shell. As the first process, the shell gets SIGTERM, but does not
# pass it on.
#
#   docker build -f containers/broken/shell-form.Dockerfile -t broken:shell-form containers/broken

FROM debian:bookworm-slim
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 \
 && apt-get clean \
 && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/debconf/*-old
COPY server.py /server.py
RUN echo > /flaw
USER 10001:10001
ENTRYPOINT /usr/bin/python3 /server.py; exit $?
