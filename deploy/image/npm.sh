#!/bin/sh
# npm, with the settings and certificates that the build was given as secrets.
set -eu
[ ! -s /run/secrets/npmrc ] || export NPM_CONFIG_USERCONFIG=/run/secrets/npmrc
[ ! -s /run/secrets/ca ] || export NODE_EXTRA_CA_CERTS=/run/secrets/ca
exec npm "$@"
