# shellcheck shell=bash
# Functions shared by the scripts in dev/.  Source it, do not run it:
#
#   set -euo pipefail
#   . "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
#
# Conventions: messages go to stderr, so that a function may hand back a value
# on stdout; `die` ends the script, so need_* set a variable (JAVA, PG_BIN)
# instead of printing, because an exit inside $(...) would only end the
# subshell.

# shellcheck disable=SC2034  # the variables set here are used by the scripts
ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
DEV_DIR=$ROOT/.dev
ENV_FILE=$DEV_DIR/env
CERTS_DIR=$ROOT/.dev/certs
JAVA=
PG_BIN=
MAJORS=()
LOCK_FD=
USE_FD=
STEP=

# PostgreSQL beside Debian's, from Maven Central; MAJOR is the service postgresMAJOR.
POSTGRES_VERSIONS=([14]=14.19.0 [16]=16.10.0 [17]=17.6.0 [18]=18.0.0)
POSTGRES_MAJORS=("${!POSTGRES_VERSIONS[@]}")

# The oldest Java that a Kafka 4 broker runs on.
JAVA_MIN=17

# Ports are picked below the kernel's usual ephemeral range (from 32768), so
# that an outgoing connection can't be sitting on a port we remembered.
PORT_MIN=20000
PORT_MAX=32000

# ---------------------------------------------------------------- messages

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
    say "error: $*"
    exit 1
}

# show_log FILE [LINES]: the end of a log, for whoever reads a failure message.
show_log() {
    local file=$1 lines=${2:-30}
    if [[ ! -s $file ]]; then
        say "($file is empty)"
        return 0
    fi
    say "the last lines of $file:"
    tail -n "$lines" -- "$file" | sed 's/^/  | /' >&2
}

# ------------------------------------------------------------ small helpers

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [[ $(id -u) -eq 0 ]]; }

# make_dir DIR...: with modes of our own choosing whatever the umask, because
# the database runs as another user and must be able to walk through.
make_dir() { install -d -m 0755 -- "$@"; }

# write_file FILE [MODE]: stdin to FILE, so that a reader sees the old content
# or the new, never a part.
write_file() {
    local file=$1 mode=${2:-0644} tmp
    tmp=$(mktemp "$file.XXXXXX")
    cat >"$tmp" && chmod "$mode" "$tmp" && mv -f -- "$tmp" "$file"
}

# read_first_line FILE: its first line, or nothing when there is none.
read_first_line() {
    local line=
    if [[ -r $1 ]]; then IFS= read -r line <"$1" || true; fi
    printf '%s' "$line"
}

# wait_until SECONDS cmd...: 0 as soon as cmd succeeds, 1 when time is over.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# ---------------------------------------------------------------- the lock

# take_lock FILE [SECONDS]: for the rest of the script's life.
take_lock() {
    local file=$1 seconds=${2:-300}
    make_dir "$(dirname -- "$file")"
    exec {LOCK_FD}>"$file"
    flock -n "$LOCK_FD" && return 0
    say "waiting for another run to finish ($file)"
    flock -w "$seconds" "$LOCK_FD" || die "another run still holds $file after ${seconds}s"
}

# without_lock cmd...: a daemon that inherited the lock's descriptor would hold
# it for as long as it lives.
without_lock() (
    close_inherited
    "$@"
)

# close_inherited: all descriptors but the standard ones: our lock, and whatever
# our caller left open, such as a pipe whose other end waits for its end.
# Only for a subshell.  255 is bash's own, and not passed on.
close_inherited() {
    local fd
    for fd in "/proc/$BASHPID/fd/"*; do
        fd=${fd##*/}
        ((fd <= 2 || fd == 255)) || exec {fd}>&-
    done
}

# ----------------------------------------------- what the machine must have

# apt_install WHY PACKAGE...: as root it installs, else it says what to install.
APT_UPDATED=
apt_install() {
    local why=$1 log=$DEV_DIR/apt.log
    shift
    is_root || die "$why needs these packages, and only root can install them: apt-get install $*"
    have apt-get || die "$why needs (by their Debian names): $*; this machine has no apt-get, so install them by hand"
    say "installing with apt-get, for $why: $*"
    make_dir "$DEV_DIR"
    if [[ -z $APT_UPDATED ]]; then
        apt_get update >"$log" 2>&1 || { show_log "$log"; die "apt-get update failed"; }
        APT_UPDATED=1
    fi
    apt_get install -y --no-install-recommends "$@" >>"$log" 2>&1 ||
        { show_log "$log"; die "apt-get install $* failed"; }
}

apt_get() {
    without_lock env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=120 "$@" </dev/null
}

# need_rust: a toolchain isn't installed for anyone, as rustup asks for choices.
need_rust() {
    local bin=${CARGO_HOME:-${HOME:-/root}/.cargo}/bin
    # Where rustup puts it; a shell that is no login shell may not know.
    have cargo || [[ ! -x $bin/cargo ]] || PATH=$bin:$PATH
    have cargo || die "no cargo on the PATH; install a Rust toolchain, as from https://rustup.rs"
}

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

# need_postgres: sets PG_BIN to the server's program directory.
need_postgres() {
    find_pg_bin && return 0
    forbid_system_cluster
    apt_install "the PostgreSQL server" postgresql
    find_pg_bin || die "no initdb and postgres found under /usr/lib/postgresql, even after installing postgresql"
}

# Debian keeps the server's programs off the PATH, one directory a version.
find_pg_bin() {
    local dir dirs=()
    mapfile -t dirs < <(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV)
    have pg_config && dirs+=("$(pg_config --bindir)")
    for dir in "${dirs[@]}"; do
        if [[ -x $dir/initdb && -x $dir/postgres ]]; then
            PG_BIN=$dir
            return 0
        fi
    done
    return 1
}

# Installing Debian's postgresql makes and starts a cluster of the system's
# own, which nobody asked us for.  Only reached when no server is installed:
# an existing installation's choice is not ours to alter.
forbid_system_cluster() {
    local conf=/etc/postgresql-common/createcluster.conf
    is_root && have apt-get || return 0
    apt_install "the PostgreSQL server" postgresql-common
    grep -Eqs '^[[:space:]]*create_main_cluster' "$conf" && return 0
    say "setting create_main_cluster = false in $conf, so that no system cluster is started"
    printf '\n# Set by %s: the project runs a cluster of its own.\ncreate_main_cluster = false\n' "${0##*/}" >>"$conf"
}

# postgres_majors VERSION|all: sets MAJORS to it or them; 1 when there's no such.
postgres_majors() {
    MAJORS=("$1")
    if [[ $1 == all ]]; then MAJORS=("${POSTGRES_MAJORS[@]}"); else [[ " ${POSTGRES_MAJORS[*]} " == *" $1 "* ]]; fi
}

# need_java: sets JAVA to a java of version JAVA_MIN or newer.
need_java() {
    find_java && return 0
    apt_install "Kafka (Java $JAVA_MIN or newer)" default-jre-headless
    find_java || die "no Java $JAVA_MIN or newer found, even after installing default-jre-headless; set JAVA_HOME to one"
}

find_java() {
    local candidate
    for candidate in "${JAVA_HOME:+$JAVA_HOME/bin/java}" "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
        if [[ -x $candidate ]] && (($(java_major "$candidate") >= JAVA_MIN)); then
            JAVA=$candidate
            return 0
        fi
    done
    return 1
}

# java_major JAVA: 17 of `openjdk version "17.0.15"`; 0 when it says nothing such.
java_major() {
    local text
    text=$("$1" -version 2>&1 || true)
    if [[ $text =~ version\ \"([0-9]+) ]]; then echo "${BASH_REMATCH[1]}"; else echo 0; fi
}

need_openssl() {
    have openssl && return 0
    apt_install "making certificates" openssl
    have openssl || die "no openssl on the PATH, even after installing openssl"
}

need_maven() {
    have mvn && return 0
    apt_install "fetching Kafka's jars or PostgreSQL" maven
    have mvn || die "no mvn on the PATH, even after installing maven"
}

# want PROGRAM PACKAGE WHY: what isn't there, and can't be installed, is done without.
want() { have "$1" || ! is_root || apt_install "$3" "$2"; }

# ------------------------------------------------------------------- ports

# port_is_free PORT: nobody listens on it or uses it as the near end of a
# connection.  From /proc because a minimal machine has neither ss nor nc.
# States: 01 established, 02 connecting, 0A listening; a connection that is
# merely dying (as after a kill of our own server) doesn't prevent listening.
port_is_free() {
    local hex
    hex=$(printf '%04X' "$1")
    ! grep -Eqs "^ *[0-9]+: [0-9A-F]+:$hex [0-9A-F:]+ (01|02|0A) " /proc/net/tcp /proc/net/tcp6
}

# free_port [NOT...]: prints a free port that is none of NOT.
free_port() {
    local port try
    for ((try = 0; try < 200; try++)); do
        port=$((PORT_MIN + (RANDOM * 32768 + RANDOM) % (PORT_MAX - PORT_MIN)))
        if [[ " $* " != *" $port "* ]] && port_is_free "$port"; then
            echo "$port"
            return 0
        fi
    done
    say "error: found no free port between $PORT_MIN and $PORT_MAX"
    return 1
}

# remembered_port FILE [NOT...]: the port that FILE remembers when it's still
# free, else a new one, which FILE then remembers.
remembered_port() {
    local file=$1 port
    shift
    port=$(read_first_line "$file")
    if [[ ! $port =~ ^[0-9]+$ || " $* " == *" $port "* ]] || ! port_is_free "$port"; then
        port=$(free_port "$@") || return 1
        echo "$port" | write_file "$file"
    fi
    echo "$port"
}

# port_answers PORT [HOST]: something accepts connections.
port_answers() {
    # In a child of its own with a time limit: a far host may swallow packets.
    # shellcheck disable=SC2016  # $0 and $1 are the inner shell's
    timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "${2:-127.0.0.1}" "$1" 2>/dev/null
}

# wait_for_port PORT SECONDS: 1 when nothing listens by then.
wait_for_port() { wait_until "$2" port_answers "$1"; }

# ----------------------------------------------------------------- daemons

# A pid file holds "PID STARTTIME" and its own path.  The kernel gives pids to
# new processes after a while, so a pid alone might name a stranger; and a
# project directory copied with its .dev must not think that it owns the
# original's daemons.

# start_time PID: its start in clock ticks since boot; 1 when it's gone or a zombie.
start_time() {
    local stat fields
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The second field is the program's name, which may hold spaces and ")".
    read -ra fields <<<"${stat##*) }"
    [[ ${fields[0]} != [ZX] ]] || return 1
    echo "${fields[19]}"
}

# start_daemon PIDFILE LOGFILE cmd...: cmd in the background, in a session of
# its own, without our terminal and our lock.
start_daemon() {
    local pidfile=$1 log=$2 pid start
    shift 2
    exec_daemon "$@" </dev/null >>"$log" 2>&1 &
    pid=$!
    if ! start=$(start_time "$pid"); then
        say "$1 ended at once"
        show_log "$log"
        return 1
    fi
    printf '%s %s\n%s\n' "$pid" "$start" "$pidfile" | write_file "$pidfile"
}

# Used only in the background, where exec makes the daemon keep the pid of $!.
# setsid forks (and so changes the pid) only for a process group's leader,
# which a script's background process isn't.
exec_daemon() {
    close_inherited
    exec setsid "$@"
}

# live_pid PIDFILE: prints the pid when the process we started still runs, else 1.
live_pid() {
    local pid='' start='' path=''
    [[ -r $1 ]] || return 1
    { read -r pid start && IFS= read -r path; } <"$1" || return 1
    [[ $path == "$1" && $pid =~ ^[0-9]+$ ]] || return 1
    [[ $(start_time "$pid") == "$start" ]] || return 1
    echo "$pid"
}

is_gone() { ! live_pid "$1" >/dev/null; }

# stop_pid PIDFILE [GRACE]: TERM, and KILL after GRACE seconds; 0 when it's
# gone (or was), 1 when even that didn't help.
stop_pid() {
    local pidfile=$1 grace=${2:-20} pid
    if pid=$(live_pid "$pidfile"); then
        kill -TERM "$pid" 2>/dev/null || true
        if ! wait_until "$grace" is_gone "$pidfile"; then
            say "process $pid didn't end in ${grace}s, killing it"
            kill -KILL "$pid" 2>/dev/null || true
            wait_until 10 is_gone "$pidfile" || return 1
        fi
    fi
    rm -f -- "$pidfile"
}

# -------------------------------------------------------------- long steps

# run_step cmd...: its exit status.  Bash puts a signal's trap off until the
# foreground command ends, but not while it waits for one in the background; and
# a session of its own lets end_step reach all processes of cmd.
run_step() {
    local status=0
    exec_daemon "$@" </dev/null &
    STEP=$!
    wait "$STEP" || status=$?
    STEP=
    return "$status"
}

# end_step: for the EXIT trap; ends the step that a signal has interrupted.
# Cargo's compilers outlive it, so its group is ended, not only itself.
end_step() {
    [[ -n $STEP ]] || return 0
    kill -TERM -- "-$STEP" 2>/dev/null || kill -TERM "$STEP" 2>/dev/null
    wait_until 90 step_is_gone
    kill -KILL -- "-$STEP" 2>/dev/null
    STEP=
}

step_is_gone() { ! start_time "$STEP" >/dev/null; }

# -------------------------------------------------- the use of the services
#
# dev/run and dev/test start services that don't run and stop them in the end,
# and both may be at work at once.  Each holds a shared lock meanwhile; the last
# to let go stops what was started for them, which a file `temporary` in the
# service's directory says.  What a person started with dev/services stays.

# use_services NAME...
use_services() {
    make_dir "$DEV_DIR"
    exec {USE_FD}>>"$DEV_DIR/in-use"
    flock -s -w 120 "$USE_FD" || die "somebody has been stopping the services for 120s ($DEV_DIR/in-use)"
    run_step "$ROOT/dev/services" up --temporary "$@"
}

release_services() {
    local file names=()
    [[ -n $USE_FD ]] || return 0
    if flock -n -x "$USE_FD"; then
        for file in "$DEV_DIR"/*/temporary; do
            [[ ! -e $file ]] || names+=("$(basename "$(dirname "$file")")")
        done
        # In a session of its own: an impatient Ctrl-C shall not stop it halfway.
        [[ ${#names[@]} -eq 0 ]] || without_lock setsid "$ROOT/dev/services" down "${names[@]}"
    fi
    exec {USE_FD}>&-
    USE_FD=
}

# service_address NAME: as dev/services has written it down.
service_address() (
    # shellcheck disable=SC1090  # it's written by dev/services
    . "$ENV_FILE"
    printf '%s' "${!1}"
)

# given_address DIR VALUE: prints VALUE when it names a service other than our
# own, whose state is in DIR.  A shell that has read .dev/env hands our own
# address back to us, maybe the one of an earlier run.
given_address() {
    local dir=$1 value=$2
    [[ -n $value ]] || return 1
    if [[ $value =~ ^(127\.0\.0\.1|postgres://webmon@127\.0\.0\.1):([0-9]+)(/webmon\?sslmode=disable)?$ ]] &&
        grep -qsx "${BASH_REMATCH[2]}" "$dir/ports-used"; then
        return 1
    fi
    printf '%s\n' "$value"
}

# -------------------------------------------------------------- PostgreSQL

# A cluster's DIR holds data/, postgres.log and the unix socket.  When we are
# root, DIR belongs to the user `postgres`: the server refuses to run as root.

# as_db_user cmd...: the user that owns the clusters; cmd by its full path.
as_db_user() (
    close_inherited
    cd / # that user may have no right to where we are
    if is_root; then
        exec setpriv --reuid=postgres --regid=postgres --init-groups --reset-env -- "$@"
    else
        exec "$@"
    fi
)

# The kernel's limit for a socket's path is 107 bytes.
socket_path_fits() { local path=$1/.s.PGSQL.65535; (($(printf '%s' "$path" | wc -c) <= 107)); }

# postgres_dir_fits DIR: could a cluster live in DIR?  Its parent must exist.
postgres_dir_fits() {
    socket_path_fits "$1" && as_db_user /usr/bin/test -x "$(dirname -- "$1")"
}

# postgres_pid DIR: the pid of the server running in DIR, else 1.  The server
# works in its data directory; a stale postmaster.pid names no such process.
postgres_pid() {
    local data=$1/data pid
    pid=$(read_first_line "$data/postmaster.pid")
    [[ $pid =~ ^[0-9]+$ ]] || return 1
    [[ $(readlink "/proc/$pid/cwd" 2>/dev/null) == "$(readlink -f -- "$data")" ]] || return 1
    echo "$pid"
}

# With names that exist, or the server logs a refusal each time.
postgres_answers() { "$PG_BIN/pg_isready" -q -U webmon -d postgres -h 127.0.0.1 -p "$1" -t 3; }

# start_postgres DIR PORT [CERTS [BIN]]: makes the cluster if there's none, starts it on
# 127.0.0.1:PORT, waits until it answers.  Its superuser is `webmon`.  With the
# certificates of CERTS it takes TLS as well.  The server is that in BIN, or Debian's
# of the cluster's version.
start_postgres() {
    local dir=$1 port=$2 certs=${3-} bin=${4-}
    need_postgres
    make_cluster_dir "$dir"
    init_cluster "$dir" "${bin:-$PG_BIN}" || return 1
    if [[ -z $bin ]]; then
        use_cluster_version "$dir" || return 1
        bin=$PG_BIN
    fi
    clear_killed_cluster "$dir" || return 1
    keep_one_old_log "$dir/postgres.log"
    [[ -z $certs ]] || copy_tls_files "$dir" "$certs" || return 1
    postgres_config "$dir" "$port" "$certs" | write_cluster_file "$dir/data/webmon.conf"
    if ! as_db_user "$bin/pg_ctl" start -w -t 60 -D "$dir/data" -l "$dir/postgres.log" </dev/null >/dev/null 2>&1 ||
        ! wait_until 30 postgres_answers "$port"; then
        show_log "$dir/postgres.log"
        stop_postgres "$dir"
        say "PostgreSQL didn't start in $dir on port $port"
        return 1
    fi
}

make_cluster_dir() {
    [[ ! -d $1 ]] || return 0
    mkdir -m 0755 -- "$1"
    if is_root; then
        id postgres >/dev/null 2>&1 || die "we are root, and there's no user postgres to run the server as"
        chown postgres: -- "$1"
    fi
}

# init_cluster DIR BIN: initdb works in another directory first: interrupted, it
# leaves nothing that could be taken for a cluster.
init_cluster() {
    local dir=$1 bin=$2 log
    [[ ! -e $dir/data/PG_VERSION ]] || return 0
    log=$(mktemp)
    rm -rf -- "$dir/data" "$dir/data.new"
    if ! as_db_user "$bin/initdb" -D "$dir/data.new" -U webmon --auth=trust \
        --encoding=UTF8 --locale=C.UTF-8 </dev/null >"$log" 2>&1; then
        show_log "$log"
        rm -f -- "$log"
        say "initdb failed in $dir"
        return 1
    fi
    rm -f -- "$log"
    as_db_user /bin/sh -c "echo \"include 'webmon.conf'\" >>\"\$1/postgresql.conf\"" sh "$dir/data.new"
    mv -- "$dir/data.new" "$dir/data"
}

# A cluster is bound to its major version; the newest installed may be another.
use_cluster_version() {
    local version bin
    version=$(read_first_line "$1/data/PG_VERSION")
    bin=/usr/lib/postgresql/$version/bin
    if [[ -x $bin/postgres ]]; then
        PG_BIN=$bin
    elif [[ $("$PG_BIN/postgres" --version) != *" $version."* ]]; then
        say "the cluster in $1 is of PostgreSQL $version, which isn't installed; remove the cluster to start with an empty one"
        return 1
    fi
}

# clear_killed_cluster DIR: a server that was killed leaves lock files with its
# pid, and for a while processes that have not noticed.  The next one refuses to
# start while there's a process of that pid, even one that has nothing to do
# with it; so we remove the files ourselves, once nothing is at work in the data.
clear_killed_cluster() {
    local dir=$1 pids
    pids=$(cluster_pids "$dir")
    if [[ -n $pids ]]; then
        say "ending what a killed PostgreSQL left in $dir"
        # shellcheck disable=SC2086  # several pids, one a line
        kill -TERM $pids 2>/dev/null || true
        if ! wait_until 20 no_cluster_pids "$dir"; then
            say "these processes still work in $dir/data: ${pids//$'\n'/ }"
            return 1
        fi
    fi
    rm -f -- "$dir/data/postmaster.pid" "$dir"/.s.PGSQL.*
}

# cluster_pids DIR: of all processes that work in the cluster's data directory,
# as each of a server's does.
cluster_pids() {
    local data cwd
    data=$(readlink -f -- "$1/data")
    for cwd in /proc/[0-9]*/cwd; do
        [[ $(readlink "$cwd" 2>/dev/null) != "$data" ]] || basename "$(dirname "$cwd")"
    done
}

no_cluster_pids() { [[ -z $(cluster_pids "$1") ]]; }

# postgres_config DIR PORT [CERTS]
postgres_config() { cluster_settings "$1" "$2"; [[ -z ${3-} ]] || tls_settings "$1"; }

# fsync stays on: not losing what was acknowledged is what the project is about.
cluster_settings() {
    cat <<END
listen_addresses = '127.0.0.1'
port = $2
unix_socket_directories = '${1//\'/\'\'}'
unix_socket_permissions = 0700
max_connections = 200
max_wal_size = 2GB
wal_level = logical
fsync = on
log_line_prefix = '%m [%p] %d %a '
END
}

# copy_tls_files DIR CERTS: the server reads them as its own user, and no key that
# others could read.
copy_tls_files() {
    local data=$1/data certs=$2
    write_cluster_file "$data/webmon-ca.pem" <"$certs/ca.pem" &&
        write_cluster_file "$data/webmon-server.pem" <"$certs/server.pem" &&
        write_cluster_file "$data/webmon-server.key" <"$certs/server.key" &&
        { tls_users; cat "$data/pg_hba.conf"; } | write_cluster_file "$data/webmon_hba.conf" &&
        { echo 'webmon webmon webmon_cert'; cat "$data/pg_ident.conf"; } | write_cluster_file "$data/webmon_ident.conf"
}

# Two users who must come with TLS, before initdb's lines that trust anyone; the
# client certificate's name is webmon, which webmon_ident.conf allows for webmon_cert.
tls_users() {
    cat <<'END'
hostssl all webmon_tls  samehost scram-sha-256
hostssl all webmon_cert samehost cert map=webmon
host    all webmon_tls,webmon_cert all reject
local   all webmon_tls,webmon_cert     reject
END
}

tls_settings() {
    local data="${1//\'/\'\'}/data"
    cat <<END
ssl = on
ssl_ca_file = 'webmon-ca.pem'
ssl_cert_file = 'webmon-server.pem'
ssl_key_file = 'webmon-server.key'
hba_file = '$data/webmon_hba.conf'
ident_file = '$data/webmon_ident.conf'
END
}

# write_cluster_file FILE: from stdin, of the server's user and closed to others.
write_cluster_file() (
    umask 077
    as_db_user /usr/bin/tee "$1" >/dev/null
)

# The server appends to its log for ever; at each start we keep one predecessor.
keep_one_old_log() { [[ ! -s $1 ]] || mv -f -- "$1" "$1.old"; }

# stop_postgres DIR: disconnects the clients and stops; 0 when it's gone (or was).
stop_postgres() {
    local dir=$1 mode
    postgres_pid "$dir" >/dev/null || return 0
    need_postgres
    for mode in fast immediate; do
        as_db_user "$PG_BIN/pg_ctl" stop -w -t 30 -m "$mode" -D "$dir/data" >/dev/null 2>&1 || true
        postgres_pid "$dir" >/dev/null || return 0
        say "PostgreSQL in $dir didn't stop ($mode mode)"
    done
    return 1
}
