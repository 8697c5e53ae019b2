//! A bounded number of connections to PostgreSQL, which only read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use postgres::Client;
use tokio::sync::Semaphore;

use crate::config::{Postgres, Web};
use crate::database::{Connector, DatabaseError};
use crate::mutex::lock;

/// How long a request waits for a connection that others use.
const WAIT: Duration = Duration::from_secs(10);

/// Why the database was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unread {
    /// The database refused, or could not be reached.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// All connections are in use.
    #[error("no connection to PostgreSQL became free within {} s", WAIT.as_secs())]
    Busy,
    /// The thread that read panicked.
    #[error("reading panicked")]
    Panicked,
}

/// Connections that only read. Work runs on threads of their own, so that it keeps no other request waiting.
pub(super) struct Pool {
    connector: Connector,
    statement_timeout: Duration,
    free: Arc<Semaphore>,
    /// None when the pool is closed.
    idle: Mutex<Option<Vec<Client>>>,
}

impl Pool {
    /// # Errors
    /// [`DatabaseError::Config`].
    pub(super) fn new(postgres: &Postgres, web: &Web) -> Result<Pool, DatabaseError> {
        let patience = web.statement_timeout + Duration::from_secs(5);
        Ok(Pool {
            connector: Connector::new(postgres, "webmon-page")?.patience(patience),
            statement_timeout: web.statement_timeout,
            free: Arc::new(Semaphore::new(web.connections)),
            idle: Mutex::new(Some(Vec::new())),
        })
    }

    /// Does `work` on a connection. If a connection that has rested turns out to be dead, it does the work again on a new
    /// one.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Pool>,
        work: impl Fn(&mut Client) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, Unread> {
        let permit = tokio::time::timeout(WAIT, Arc::clone(&self.free).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(Unread::Busy) };
        let pool = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            pool.with_connection(&work)
        });
        Ok(read.await.map_err(|_| Unread::Panicked)??)
    }

    fn with_connection<T>(
        &self,
        work: &impl Fn(&mut Client) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let rested = lock(&self.idle).as_mut().and_then(Vec::pop).filter(|client| !client.is_closed());
        if let Some(mut client) = rested {
            match work(&mut client) {
                // The server's own word. The connection is as good as before.
                Err(error) if error.of_server().is_some() && !client.is_closed() => {
                    self.rest(client);
                    return Err(error);
                }
                Err(_) => {}
                Ok(done) => {
                    self.rest(client);
                    return Ok(done);
                }
            }
        }
        let mut client = self.connect()?;
        let done = work(&mut client);
        if !client.is_closed() {
            self.rest(client);
        }
        done
    }

    /// Keeps a connection for the next one who reads.
    fn rest(&self, client: Client) {
        if let Some(idle) = lock(&self.idle).as_mut() {
            idle.push(client);
        }
    }

    /// Ends all connections that rest, and each other one when its work is done. Call it from no asynchronous code: ending
    /// a connection waits for the server.
    pub(super) fn close(&self) {
        let idle = lock(&self.idle).take();
        drop(idle);
    }

    /// A connection that can change nothing, whatever rights its user has.
    fn connect(&self) -> Result<Client, DatabaseError> {
        let mut client = self.connector.connect()?;
        let timeout = self.statement_timeout.as_millis();
        // With many sites compiling the queries would take longer than it saves.
        let settings = format!(
            "SET default_transaction_read_only = on; SET jit = off; SET statement_timeout = {timeout}; \
             SET idle_in_transaction_session_timeout = {timeout}; SET timezone = 'UTC'"
        );
        client.batch_execute(&settings).map_err(DatabaseError::statement("cannot set up a connection"))?;
        Ok(client)
    }
}
