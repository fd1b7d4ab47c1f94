#!/usr/bin/env bash
# Packs what a GPU box without .NET needs into one archive below 60 MB: the moe command and the conformance suite, self-contained in one
# folder (they share the runtime), the kernels as text inside, and bringup.py beside them.
#   bash bench/bringup/publish.sh [OUT.tar.gz]       default: .artifacts/bringup/moesharp-bringup.tar.gz
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-.artifacts/bringup/moesharp-bringup.tar.gz}
limit=$((60 * 1000 * 1000))
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
for project in src/MoeSharp.Cli tests/MoeSharp.Conformance; do
    dotnet publish "$project" -c Release -r linux-x64 --self-contained -o "$stage/moesharp" -p:DebugType=none -p:PublishReadyToRun=false
done
cp bench/bringup/bringup.py "$stage/moesharp/"
mkdir -p "$(dirname "$out")"
tar -C "$stage" -czf "$out.part" moesharp
size=$(stat -c %s "$out.part")
if [ "$size" -gt "$limit" ]; then
    echo "publish: the archive has $size bytes, more than the $limit that fit a transfer" >&2
    rm -f "$out.part"
    exit 1
fi
mv "$out.part" "$out"
echo "publish: $out, $size bytes"
