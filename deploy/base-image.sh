#!/bin/sh
# Makes the base image of deploy/Containerfile from Debian packages, for hosts that cannot pull it from a registry:
#
#   deploy/base-image.sh [NAME] [SUITE]
#
# Needs root, mmdebstrap, debian-archive-keyring and podman.
set -eu
name=${1:-docker.io/library/debian:trixie-slim}
suite=${2:-trixie}
archive=$(mktemp --suffix=.tar)
trap 'rm -f "$archive"' EXIT
mmdebstrap --variant=minbase --format=tar \
  --include=ca-certificates \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  "$suite" "$archive"
podman import --quiet "$archive" "$name"
