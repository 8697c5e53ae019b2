//! Where a result belongs in the database.

/// The ids of one result; 0, which no dimension has, before they are known.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ids {
    pub site: i32,
    pub location: i32,
    pub checker: i32,
    pub version: i32,
    /// None if the result has no certificate, or it is not stored.
    pub certificate: Option<i32>,
}
