//! A server's configuration.

use std::path::Path;

/// Two users who must come with TLS, before initdb's lines that trust anyone.
pub(super) const TLS_USERS: &str = "\
hostssl all webmon_tls  samehost scram-sha-256
hostssl all webmon_cert samehost cert map=webmon
host    all webmon_tls,webmon_cert all reject
local   all webmon_tls,webmon_cert     reject
";

/// The client certificate's name is webmon, which is allowed for webmon_cert.
pub(super) const TLS_NAMES: &str = "webmon webmon webmon_cert\n";

/// `webmon.conf`. fsync stays on: not losing what was acknowledged is what the project is about.
pub(super) fn settings(home: &Path, port: u16, tls: bool) -> String {
    let home = home.display().to_string().replace('\'', "''");
    let mut text = format!(
        "\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{home}'
unix_socket_permissions = 0700
max_connections = 200
max_wal_size = 2GB
wal_level = logical
fsync = on
log_line_prefix = '%m [%p] %d %a '
"
    );
    if tls {
        text += &format!(
            "\
ssl = on
ssl_ca_file = 'webmon-ca.pem'
ssl_cert_file = 'webmon-server.pem'
ssl_key_file = 'webmon-server.key'
hba_file = '{home}/data/webmon_hba.conf'
ident_file = '{home}/data/webmon_ident.conf'
"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_path_is_doubled() {
        let text = settings(Path::new("/tmp/it's"), 20_000, true);
        assert!(text.contains("unix_socket_directories = '/tmp/it''s'\n"));
        assert!(text.contains("hba_file = '/tmp/it''s/data/webmon_hba.conf'\n"));
        assert!(!settings(Path::new("/tmp"), 20_000, false).contains("ssl"));
    }
}
