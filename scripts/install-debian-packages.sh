#!/usr/bin/env bash
# Install the named Debian packages that are missing, and wait while another program holds the
# package manager's locks (a new machine installs its security updates by itself).
#
#   scripts/install-debian-packages.sh podman runc
#
#   DRDEPLOY_APT_WAIT_S   how long to wait, in seconds   (default 600)
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

readonly WAIT_S=${DRDEPLOY_APT_WAIT_S:-600}

say() { printf 'install-debian-packages: %s\n' "$*" >&2; }

# DPkg::Lock::Timeout makes apt wait for dpkg's lock; for the lock of the package lists apt 2.6
# has no such option, and `apt-get update` fails at once.
wait_and_run_apt() {
  local deadline=$((SECONDS + WAIT_S)) output
  until output=$(apt-get -qq -o "DPkg::Lock::Timeout=$WAIT_S" "$@" 2>&1 | tee >(cat >&2)); do
    if [[ $output != *"Could not get lock"* ]]; then
      say "apt-get $1 failed; the reason is above"
      return 1
    fi
    if ((SECONDS >= deadline)); then
      say "another package manager has held the lock for $WAIT_S s: let it finish, then run this again"
      return 1
    fi
    say "another package manager is at work; waiting for it"
    sleep 2
  done
}

missing=()
for package in "$@"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
    missing+=("$package")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $(id -u) -ne 0 ]]; then
  say "installing ${missing[*]} needs root: run this as root, or install them yourself"
  exit 1
fi
say "installing ${missing[*]}"
wait_and_run_apt update
wait_and_run_apt install -y --no-install-recommends "${missing[@]}"
