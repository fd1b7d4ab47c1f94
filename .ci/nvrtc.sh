#!/usr/bin/env bash
# Fetches NVRTC, the compiler the kernels are compiled with, without installing anything; prints the path of its library.
#
# The problem: the tests compile every kernel with the real compiler, which needs no GPU but is in no default component of the
# distribution. The choice: the two packages that hold it, from the machine's own mirror with the machine's own signing key, through apt's
# private state in an ignored folder: apt checks the signatures, and nothing of the system changes. Works as root and as a user;
# a second run does nothing. Other machines set MOESHARP_TEST_NVRTC to a libnvrtc.so.12 (or later) of their own.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root/.artifacts/nvrtc}
suite=trixie component=non-free
packages=(libnvrtc12 libnvrtc-builtins12.4)

library() { find "$out/root" -name 'libnvrtc.so.12' 2>/dev/null | head -n 1; }
give_up() {
    echo "nvrtc.sh: $1" >&2
    echo "nvrtc.sh: the tests with the real compiler are skipped. Set MOESHARP_TEST_NVRTC to the libnvrtc.so of a CUDA toolkit to run them." >&2
    exit 1
}

if [ -n "$(library)" ]; then
    library
    exit
fi
command -v apt-get > /dev/null && command -v dpkg > /dev/null || give_up "this machine has no apt."

# Every archive of the machine for its own release, as one line each: URI, then a tab, then the extra fields of a deb822 stanza.
# A key may be a file name, or a whole key in continuation lines; those keep their line ends as \v.
# shellcheck disable=SC1091
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
archives() {
    local file
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -r "$file" ] || continue
        awk -v release="$release" '
            function flush(  i, n, list) {
                if (field["types"] ~ /(^| )deb( |$)/ && field["enabled"] !~ /no/ && (" " field["suites"] " ") ~ (" " release " ")) {
                    n = split(field["uris"], list, /[ \v]+/)
                    for (i = 1; i <= n; i++) if (list[i] != "") printf "%s\t%s%s\n", list[i],
                        field["signed-by"] == "" ? "" : "Signed-By: " field["signed-by"] "\v", field["trusted"] == "" ? "" : "Trusted: " field["trusted"] "\v"
                }
                split("", field); name = ""
            }
            /^[ \t]*#/ { next }
            /^[ \t]*$/ { flush(); next }
            /^[ \t]/ { if (name != "") field[name] = field[name] "\v" $0; next }
            { at = index($0, ":"); name = tolower(substr($0, 1, at - 1)); value = substr($0, at + 1); gsub(/^[ \t]+|[ \t]+$/, "", value); field[name] = value }
            END { flush() }' "$file"
    done
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -r "$file" ] || continue
        awk -v release="$release" '
            $1 == "deb" {
                options = ""; at = 2
                if ($0 ~ /^deb[ \t]+\[/) { match($0, /\[[^]]*\]/); options = substr($0, RSTART + 1, RLENGTH - 2); $0 = "deb" substr($0, RSTART + RLENGTH) }
                if ($3 != release) next
                extra = ""; n = split(options, option, /[ \t]+/)
                for (i = 1; i <= n; i++) {
                    if (option[i] ~ /^signed-by=/) extra = extra "Signed-By: " substr(option[i], 11) "\v"
                    if (option[i] ~ /^trusted=/) extra = extra "Trusted: " substr(option[i], 9) "\v"
                }
                printf "%s\t%s\n", $2, extra
            }' "$file"
    done
}

[ -n "$release" ] || give_up "/etc/os-release has no VERSION_CODENAME, so the machine's own archive cannot be told from others."
found=$(archives | awk '!seen[$0]++')
[ -n "$found" ] || give_up "the apt sources of this machine name no archive of its release '$release'."

mkdir -p "$out"
work=$(mktemp -d "$out/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/parts" "$work/root"
# Read after the machine's own configuration, which keeps its proxies; hooks of other packages are not ours to run.
cat > "$work/apt.conf" <<CONF
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$work/parts";
Dir::State::Lists "$work/lists";
Dir::Cache "$work/cache";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Sandbox::User "root";
CONF

fetch() { # fetch URI EXTRA: downloads the packages into $work
    { printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\n' "$1" "$suite" "$component"; printf '%s' "$2" | tr '\v' '\n'; } > "$work/parts/nvrtc.sources"
    apt-get -c "$work/apt.conf" -o APT::Update::Error-Mode=any update && (cd "$work" && apt-get -c "$work/apt.conf" download "${packages[@]}")
}

ready=
while IFS=$'\t' read -r uri extra; do
    if fetch "$uri" "$extra" > "$work/log" 2>&1 < /dev/null; then
        ready=yes
        break
    fi
    sed 's/^/nvrtc.sh: /' "$work/log" >&2
done <<< "$found"
[ -n "$ready" ] || give_up "no archive of this machine gave ${packages[*]} of suite $suite ($component)."

for package in "$work"/*.deb; do
    dpkg -x "$package" "$work/root"
done
rm -rf "$out/root"
mv "$work/root" "$out/root"
[ -n "$(library)" ] || give_up "the packages hold no libnvrtc.so.12."
library
