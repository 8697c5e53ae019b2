# shellcheck shell=bash
# What the scripts in dev/ share: they install packages, build the program behind them, and become it.
# Source it, do not run it. Messages go to stderr; `die` ends the script.

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
DEV_DIR=$ROOT/.dev

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [[ $(id -u) -eq 0 ]]; }

# ---------------------------------------------------------------- packages

# apt_install WHY PACKAGE...: as root it installs, else it says what to install.
APT_UPDATED=
apt_install() {
    local why=$1 log=$DEV_DIR/apt.log
    shift
    is_root || die "$why needs these packages, and only root can install them: apt-get install $*"
    have apt-get || die "$why needs (by their Debian names): $*; this machine has no apt-get, so install them by hand"
    say "installing with apt-get, for $why: $*"
    install -d -m 0755 -- "$DEV_DIR"
    if [[ -z $APT_UPDATED ]]; then
        apt_get update >"$log" 2>&1 || { tail -n 30 -- "$log" >&2; die "apt-get update failed ($log)"; }
        APT_UPDATED=1
    fi
    apt_get install -y --no-install-recommends "$@" >>"$log" 2>&1 ||
        { tail -n 30 -- "$log" >&2; die "apt-get install $* failed ($log)"; }
}

apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 "$@" </dev/null; }

# need_rust: a toolchain isn't installed for anyone, as rustup asks for choices.
need_rust() {
    local bin=${CARGO_HOME:-${HOME:-/root}/.cargo}/bin
    # Where rustup puts it; a shell that is no login shell may not know.
    have cargo || [[ ! -x $bin/cargo ]] || PATH=$bin:$PATH
    have cargo || die "no cargo on the PATH; install a Rust toolchain, as from https://rustup.rs"
}

need_compiler() { have cc || apt_install "building with Rust" build-essential; }

# need_build_tools: what cargo needs besides the Rust toolchain; librdkafka is
# compiled from source and linked with the system's OpenSSL and zlib.
need_build_tools() {
    local missing=()
    have cc && have c++ && have make || missing+=(build-essential)
    have pkg-config || missing+=(pkg-config)
    has_library openssl || missing+=(libssl-dev)
    has_library zlib || missing+=(zlib1g-dev)
    [[ ${#missing[@]} -eq 0 ]] || apt_install "building librdkafka" "${missing[@]}"
}

has_library() { have pkg-config && pkg-config --exists "$1"; }

# Installing Debian's postgresql makes and starts a cluster of the system's
# own, which nobody asked us for.  Only reached when no server is installed:
# an existing installation's choice is not ours to alter.
forbid_system_cluster() {
    local conf=/etc/postgresql-common/createcluster.conf
    is_root && have apt-get || return 0
    apt_install "the PostgreSQL server" postgresql-common
    grep -Eqs '^[[:space:]]*create_main_cluster' "$conf" && return 0
    say "setting create_main_cluster = false in $conf, so that no system cluster is started"
    printf '\n# Set by webmon: the project runs a cluster of its own.\ncreate_main_cluster = false\n' >>"$conf"
}

# want PROGRAM PACKAGE WHY: what isn't there, and can't be installed, is done without.
want() { have "$1" || ! is_root || apt_install "$3" "$2"; }

# want_alertmanager: Debian's package starts a service of the system's own, which nobody asked us for.
want_alertmanager() {
    have prometheus-alertmanager || ! is_root || {
        if [[ -d /run/systemd/system ]]; then
            say "masking prometheus-alertmanager.service, so that no service of the system is started"
            systemctl mask prometheus-alertmanager.service >/dev/null 2>&1 || true
        fi
        apt_install "tests that send to an Alertmanager" prometheus-alertmanager
    }
}

# ------------------------------------------------- the program behind them

# start COMMAND ARGUMENT...: becomes the program.
start() {
    local program=$DEV_DIR/program
    need_rust
    program_is_current "$program" || build_program "$program"
    close_inherited
    exec "$program" "$ROOT" "$@"
}

# answer_help COMMAND [ARGUMENT...]: a question for help is answered without installing or building anything.
answer_help() { if [[ ${2-} == -h || ${2-} == --help ]]; then exec cat -- "$ROOT/dev/help/$1.txt"; fi; }

# program_is_current PROGRAM: newer than all that it's made from.  Cargo would know, too, but waits while another
# cargo builds, and somebody who ends the services shall not have to wait.
program_is_current() {
    [[ -x $1 && -z $(find "$ROOT/dev/src" "$ROOT/dev/help" "$ROOT/dev/Cargo.toml" "$ROOT/Cargo.toml" "$ROOT/Cargo.lock" \
        -newer "$1" -print -quit) ]]
}

# build_program PROGRAM: with the time of the build's beginning, so that what changes meanwhile is seen.
build_program() {
    local began built new
    began=$(date +%s.%N)
    need_compiler
    say "building the program behind the scripts in dev/ (the first time some 30 s)"
    install -d -m 0755 -- "$DEV_DIR"
    # Where cargo puts it is configurable; it tells.
    built=$(cargo build --quiet --locked --manifest-path "$ROOT/Cargo.toml" --package webmon-dev \
        --message-format=json-render-diagnostics </dev/null |
        sed -n 's/.*"executable":"\([^"]*\/webmon-dev\)".*/\1/p') || die "cargo build failed"
    new=$(mktemp "$1.XXXXXX")
    cp -- "$built" "$new" && chmod 0755 "$new" && touch -d "@$began" -- "$new" && mv -f -- "$new" "$1"
}

# close_inherited: all descriptors but the standard ones.  Whatever our caller left open, such as a lock or a pipe
# whose other end waits for its end, a daemon would hold for as long as it lives.  255 is bash's own, and not passed on.
close_inherited() {
    local fd
    for fd in "/proc/$$/fd/"*; do
        fd=${fd##*/}
        ((fd <= 2 || fd == 255)) || exec {fd}>&-
    done
}
