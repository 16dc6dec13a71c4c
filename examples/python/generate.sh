#!/bin/sh
# Generates the Python modules of the API into a directory: generate.sh [DIRECTORY], by default
# "generated" beside this file. Put it on PYTHONPATH.
#
# Needs what makes Python out of .proto files: either   pip install grpcio-tools
# or, on Debian or Ubuntu,   apt install python3-grpcio protobuf-compiler-grpc libprotobuf-dev
set -eu
here=$(dirname "$0")
proto=$here/../../proto
output=${1:-$here/generated}

mkdir -p "$output"
if [ -x /usr/bin/grpc_python_plugin ] && ! "${PYTHON:-python3}" -c 'import grpc_tools' 2>/dev/null; then
  protoc -I "$proto" --python_out="$output" --grpc_python_out="$output" \
    --plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin "$proto"/guestfs/v1/*.proto
else
  "${PYTHON:-python3}" -m grpc_tools.protoc -I "$proto" --python_out="$output" --grpc_python_out="$output" "$proto"/guestfs/v1/*.proto
fi
# A package of its own: libguestfs's Python binding, where it is installed, is also called guestfs.
touch "$output/guestfs/__init__.py" "$output/guestfs/v1/__init__.py"
