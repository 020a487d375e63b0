#!/bin/sh
# Install the Debian packages of a list (tools/system-packages.txt unless said) that are missing: as root through
# apt, otherwise say which.  Exit status 2: they have to be installed first.
set -eu
list=${1:-$(dirname "$0")/system-packages.txt}

missing=
# shellcheck disable=SC2013  # one word a package
for package in $(sed 's/#.*//' "$list"); do
    if ! dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed'; then
        missing="$missing $package"
    fi
done
missing=${missing# }

if [ -z "$missing" ]; then
    exit 0
fi

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "The tests compare snapsim with real programs. Install these packages, then run make again: $missing" >&2
    echo "On Debian and Ubuntu: apt install $missing" >&2
    exit 2
fi

echo "Installing $missing"
# shellcheck disable=SC2086  # one word a package
if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null; }; then
    echo "apt could not install $missing (its reason stands above). Repair that, then run make again." >&2
    exit 2
fi
