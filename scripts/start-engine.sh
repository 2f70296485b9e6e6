#!/usr/bin/env bash
# Give a Debian 12 machine without Docker a container engine: Podman behind the Docker API.
#
#   eval "$(scripts/start-engine.sh)"    # exports DOCKER_HOST
#   eval "$(scripts/start-engine.sh arm64)"   # the same, and images of arm64 build and run, emulated
#   scripts/start-engine.sh stop         # ends it; images stay for the next start
#
# For continuous integration and development as root. Does nothing where an engine answers
# already; safe to run again. Where it fails it says why, and what `eval` is given fails too.
#
#   DRDEPLOY_ENGINE_DIR   socket, configuration and log    (default /run/drdeploy-engine)
#   DRDEPLOY_BASE_MIRROR  Debian mirror of the base image  (default: mmdebstrap's own choice)
set -euo pipefail

readonly STATE_DIR=${DRDEPLOY_ENGINE_DIR:-/run/drdeploy-engine}
readonly MIRROR=${DRDEPLOY_BASE_MIRROR:-}
readonly SOCKET=$STATE_DIR/podman.sock
readonly BASE_IMAGE=docker.io/library/debian:bookworm-slim
# Docker Hub's own name of the arm64 variant.
readonly ARM64_BASE_IMAGE=docker.io/arm64v8/debian:bookworm-slim
readonly CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
# Not the packaged path: installing ca-certificates in a build would overwrite it.
readonly CA_IN_IMAGE=/etc/ssl/placeholder-ca.crt
readonly PLACEHOLDER_LABEL=org.drdeploy.placeholder
# Raise it when make_base_image changes.
readonly RECIPE=3
# iptables: netavark publishes ports with it. runc: crun fails where cgroup v1 and v2 are mixed.
readonly PACKAGES=(podman runc netavark aardvark-dns iptables ca-certificates mmdebstrap)
readonly BINFMT_MISC=/proc/sys/fs/binfmt_misc
INSTALL=$(dirname "$(readlink -f "$0")")/install-debian-packages.sh
readonly INSTALL

say() { printf 'start-engine: %s\n' "$*" >&2; }

# Whether a Docker API answers at this unix:// URL.
answers() {
  python3 - "${1#unix://}" <<'PYTHON' 2>/dev/null
import socket, sys
with socket.socket(socket.AF_UNIX) as engine:
    engine.settimeout(3)
    engine.connect(sys.argv[1])
    engine.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
    sys.exit(b" 200 " not in engine.recv(64))
PYTHON
}

use_what_is_there() {
  local host
  for host in "${DOCKER_HOST:-}" unix:///var/run/docker.sock; do
    if [[ $host == unix://* && $host != "unix://$SOCKET" ]] && answers "$host"; then
      say "an engine answers at $host already"
      [[ $1 == start ]] || emulate_arm64
      printf 'export DOCKER_HOST=%q\n' "$host"
      exit 0
    fi
  done
}

require_root() {
  if [[ $(id -u) -ne 0 ]]; then
    say "needs root to install and run Podman; or install Docker and set DOCKER_HOST"
    exit 1
  fi
}

write_configuration() {
  mkdir -p "$STATE_DIR"
  # Neither systemd nor journald need be there; without the ulimits runc fails on rlimit 7.
  cat >"$STATE_DIR/containers.conf" <<'CONF'
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"
CONF
  export CONTAINERS_CONF=$STATE_DIR/containers.conf
}

start_service() {
  answers "unix://$SOCKET" && return
  rm -f "$SOCKET"
  # A session of its own, with no descriptor of ours: it outlives this shell.  Not in the folder
  # of the caller, either: the container monitor leaves a file `oom` where it was started.
  setsid env -C "$STATE_DIR" podman system service --time=0 "unix://$SOCKET" \
    </dev/null >"$STATE_DIR/podman.log" 2>&1 &
  echo $! >"$STATE_DIR/podman.pid"
  local _
  for _ in $(seq 100); do
    answers "unix://$SOCKET" && return
    sleep 0.1
  done
  say "Podman does not answer; the end of its log:"
  tail -n 20 "$STATE_DIR/podman.log" >&2
  exit 1
}

# What the placeholder depends on; a change makes it anew, and with it all images that build on it.
fingerprint() {
  { echo "$RECIPE" && cat "$CA_BUNDLE" && apt_settings; } | sha256sum | cut -c1-16
}

# How this machine reaches its mirror: proxies, and checks that a frozen mirror fails.
apt_settings() {
  apt-config dump | grep -E '^Acquire::(https?::proxy|Check-Valid-Until|Check-Date|Retries)' || true
}

# `FROM debian:bookworm-slim` resolves to this where no image registry is in reach. As small as
# the true one: the same paths are left out (https://github.com/debuerreotype/debuerreotype).
make_base_image() {
  local image=$1 architecture=$2
  if podman image exists "$image"; then
    local label
    label=$(podman image inspect -f "{{index .Labels \"$PLACEHOLDER_LABEL\"}}" "$image")
    [[ -z $label || $label == "$(fingerprint)" ]] && return
  fi
  say "making a placeholder for ${image#docker.io/}"
  local settings=$STATE_DIR/apt.conf
  apt_settings >"$settings"
  # mmdebstrap runs these with its target as $1.
  # shellcheck disable=SC2016
  local make_folder='mkdir -p "$1"/etc/ssl' \
    remove_caches='rm -rf "$1"/var/cache/apt/*.bin "$1"/var/lib/apt/lists/* "$1"/var/log/*'
  mmdebstrap --quiet --variant=minbase --architectures="$architecture" \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/groff/*' \
    --dpkgopt='path-exclude=/usr/share/lintian/*' \
    --aptopt="$settings" \
    --customize-hook="$make_folder" \
    --customize-hook="upload $CA_BUNDLE $CA_IN_IMAGE" \
    --customize-hook="$remove_caches" \
    bookworm - ${MIRROR:+"$MIRROR"} 2>"$STATE_DIR/base.log" |
    podman import --quiet --arch "$architecture" \
      --change 'CMD ["bash"]' \
      --change "ENV SSL_CERT_FILE=$CA_IN_IMAGE" \
      --change "ENV PIP_CERT=$CA_IN_IMAGE" \
      --change "LABEL $PLACEHOLDER_LABEL=$(fingerprint)" \
      - "$image" >&2 && return
  podman image rm --force "$image" >/dev/null 2>&1 || true
  say "${image#docker.io/} cannot be made; the end of the log:"
  tail -n 20 "$STATE_DIR/base.log" >&2
  exit 1
}

# Programs of arm64 run through QEMU, in containers too: the kernel keeps the interpreter open
# (flag F). QEMU 7.2 of Debian 12 itself crashes in ONNX Runtime: the one of its backports does not.
emulate_arm64() {
  [[ $(uname -m) == aarch64 ]] && return
  if [[ $(id -u) -ne 0 ]]; then
    say "needs root to register QEMU with the kernel"
    exit 1
  fi
  "$INSTALL" arch-test
  [[ -e $BINFMT_MISC/register ]] || mount -t binfmt_misc binfmt_misc "$BINFMT_MISC"
  [[ -x $STATE_DIR/qemu-aarch64 ]] || fetch_qemu
  # mmdebstrap looks for this name; where another QEMU has it, the kernel asks the latest one first.
  local name=qemu-aarch64
  grep -qs "^interpreter $STATE_DIR/qemu-aarch64$" "$BINFMT_MISC"/*-aarch64 && return
  [[ -e $BINFMT_MISC/$name ]] && name=drdeploy-aarch64
  # The magic and the mask of QEMU's own qemu-binfmt-conf.sh: ELF, 64 bit, little-endian, aarch64.
  local magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
  local mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  printf '%s' ":$name:M::$magic:$mask:$STATE_DIR/qemu-aarch64:F" >"$BINFMT_MISC/register"
}

# From this machine's own mirror, and without a new source in its apt configuration.
fetch_qemu() {
  local folder=$STATE_DIR/qemu mirror
  # shellcheck disable=SC2016  # the variable is apt's
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' |
    head -n 1)
  say "fetching QEMU from bookworm-backports"
  mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
  echo "deb $mirror bookworm-backports main" >"$folder/sources.list"
  local options=(
    -qq -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/cache"
    -o APT::Sandbox::User=root
  )
  apt-get "${options[@]}" update >&2
  (cd "$folder" && apt-get "${options[@]}" download qemu-user/bookworm-backports >&2 &&
    dpkg -x qemu-user_*.deb extracted)
  mv "$folder/extracted/usr/bin/qemu-aarch64" "$STATE_DIR/qemu-aarch64"
  rm -rf "$folder"
}

stop_service() {
  local pid
  if pid=$(cat "$STATE_DIR/podman.pid" 2>/dev/null); then
    # A process id may have been given to another process since.
    if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q "podman system service.*$SOCKET"; then
      kill "$pid"
    fi
  fi
  rm -f "$STATE_DIR/podman.pid" "$SOCKET"
}

# `eval "$(scripts/start-engine.sh)"` would succeed without this where the script fails.
report_failure() {
  local status=$?
  [[ $status -eq 0 || -t 1 ]] || echo false
}

main() {
  trap report_failure EXIT
  case $1 in
    start | arm64) ;;
    stop) stop_service && exit ;;
    *) say "unknown: $1 (start, arm64 or stop)" && exit 2 ;;
  esac
  use_what_is_there "$1"
  require_root
  "$INSTALL" "${PACKAGES[@]}"
  write_configuration
  start_service
  make_base_image "$BASE_IMAGE" "$(dpkg --print-architecture)"
  if [[ $1 == arm64 ]]; then
    emulate_arm64
    make_base_image "$ARM64_BASE_IMAGE" arm64
  fi
  say "ready"
  printf 'export DOCKER_HOST=%q\n' "unix://$SOCKET"
}

main "${1:-start}"
