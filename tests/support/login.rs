//! Users of a database server.

use super::{Database, empty_database, unique};

/// A user who may log in, and is a member of `role`; gone in the end.
pub struct Login {
    server: Database,
    pub name: String,
}

impl Login {
    pub fn new(role: &str) -> Option<Login> {
        let server = empty_database()?;
        let name = unique("webmon_test_login");
        server.client().batch_execute(&format!("CREATE ROLE {name} LOGIN IN ROLE {role}")).unwrap();
        Some(Login { server, name })
    }

    /// The database's URL for this user.
    pub fn url(&self, database: &Database) -> String {
        let (scheme, rest) = database.url.split_once("://").unwrap();
        let (_, host) = rest.split_once('@').unwrap();
        format!("{scheme}://{}@{host}", self.name)
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let _ = self.server.client().batch_execute(&format!("DROP ROLE {}", self.name));
    }
}
