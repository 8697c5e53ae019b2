//! Which program reads the configuration.

/// What a program needs of the configuration. The rest may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `webmon-check`: brokers and at least one site.
    Check,
    /// `webmon-check once`: neither brokers nor sites.
    Once,
    /// The other commands of `webmon-check` that need no Kafka: at least one site.
    Inspect,
    /// `webmon-store`: brokers and a database.
    Store,
    /// `webmon-page`: a database.
    Page,
}
