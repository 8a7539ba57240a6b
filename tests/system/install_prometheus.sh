#!/bin/sh
# Installs Debian's prometheus for the system tests, where nobody needs to be asked for it; those that need it skip otherwise.
# Never fails. The service that the package brings is neither started nor enabled: see invoke-rc.d(8), policy-rc.d.

set -u
package=prometheus
policy=/usr/sbin/policy-rc.d

command -v $package > /dev/null && exit 0

without() {
	echo "no $package ($1): tests that need it are skipped"
	exit 0
}

command -v apt-get > /dev/null || without "there is no apt-get here"
if [ "$(id -u)" = 0 ]; then root=""
elif sudo -n true 2> /dev/null; then root="sudo -n"
else without "installing it needs root"
fi

log=$(mktemp) && made_policy=""
trap 'rm -f "$log"; [ -z "$made_policy" ] || $root rm -f $policy' EXIT
if [ ! -e $policy ]; then
	made_policy=yes
	printf '#!/bin/sh\nexit 101\n' | $root tee $policy > /dev/null && $root chmod 755 $policy || without "$policy cannot be made"
fi

install() {
	timeout 300 $root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends \
		--option DPkg::Lock::Timeout=60 $package > "$log" 2>&1
}
echo "apt-get install $package (for tests; its service is not started)"
install || { timeout 120 $root apt-get update --quiet > "$log" 2>&1 && install; } || without "$(tail -n 1 "$log")"
if command -v systemctl > /dev/null; then $root systemctl disable --quiet $package 2> /dev/null; fi
exit 0
