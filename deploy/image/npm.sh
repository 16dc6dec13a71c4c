#!/bin/sh
# npm, with the settings and certificates that the build was given as secrets.
set -eu
[ ! -s /run/secrets/npmrc ] || export NPM_CONFIG_USERCONFIG=/run/secrets/npmrc
# For npm, and for what it runs; before what the settings say, whose path is that of another machine.
[ ! -s /run/secrets/ca ] || export NPM_CONFIG_CAFILE=/run/secrets/ca NODE_EXTRA_CA_CERTS=/run/secrets/ca
exec npm "$@"
