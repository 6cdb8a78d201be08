#!/bin/sh
# Generates the Python stubs of proto/ into a directory: generate.sh PYTHON OUTPUT
set -eu
python=${1:?usage: generate.sh PYTHON OUTPUT}
output=${2:?usage: generate.sh PYTHON OUTPUT}
proto=$(CDPATH='' cd -- "$(dirname -- "$0")/../../../proto" && pwd)
mkdir -p "$output"
exec "$python" -m grpc_tools.protoc -I "$proto" --python_out="$output" --grpc_python_out="$output" "$proto"/towline/v1/*.proto
