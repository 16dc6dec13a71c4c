#!/bin/sh
# A first call: which file systems are on a disk image, and what is in the first of them?
#
#   first-call.sh [ADDRESS [IMAGE]]     IMAGE is absolute, or relative to an image root of the server
#
# Needs grpcurl (https://github.com/fullstorydev/grpcurl) and nothing else: the server tells it
# the API, by reflection.
set -eu
address=${1:-127.0.0.1:50051}
image=${2:-disk.img}
session=first-$$

# call SERVICE/RPC REQUEST
call() { grpcurl -plaintext -H "guestfs-session: $session" -d "$2" "$address" "guestfs.v1.$1"; }

call SessionService/CreateSession "{\"session_id\": \"$session\", \"drives\": [{\"path\": \"$image\"}], \"launch\": true}"
trap 'call SessionService/DeleteSession "{\"id\": \"$session\"}"' EXIT
filesystems=$(call FilesystemService/ListFilesystems '{}')
echo "$filesystems"
device=$(echo "$filesystems" | grep -o '/dev/[^"]*' | head -n 1)
call MountService/MountRo "{\"mountable\": \"$device\", \"mountpoint\": \"/\"}"
call FileService/Ls '{"directory": "/"}'
