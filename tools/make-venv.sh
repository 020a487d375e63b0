#!/bin/sh
# Make a virtual environment with the first Python of 3.11 or newer that works.
# Usage: tools/make-venv.sh FOLDER          Exit status 2: something has to be installed first (and which is said).
set -eu
folder=$1

python=
for name in python3.13 python3.12 python3.11 python3; do
    # Run it: a version manager's shim may exist for a version that is switched off.
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        python=$name
        break
    fi
done

if [ -z "$python" ]; then
    echo "snapsim needs Python 3.11 or newer, and none was found. Install the packages python3 and python3-venv (Debian 12, Ubuntu 24.04 or newer)." >&2
    exit 2
fi

# Debian and Ubuntu keep what `python3 -m venv` needs in a package of its own.
if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    package=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "$python cannot make virtual environments. Install the package $package (apt install $package), then run make again." >&2
        exit 2
    fi
    echo "Installing $package"
    if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null; }; then
        echo "apt could not install $package (its reason stands above). Repair that, then run make again." >&2
        exit 2
    fi
fi

echo "Making the virtual environment $folder with $("$python" --version)"
"$python" -m venv "$folder"
