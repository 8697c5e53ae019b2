//! Kafka and PostgreSQL for development and tests: started, watched, ended. The scripts in dev/ become the program
//! of this package; the tests of webmon use the library for the servers that they kill ([`Instance`]).
//!
//! Everything is written below `.dev/` of the project, everything listens on 127.0.0.1, every wait has a limit.

pub mod axe;
pub mod certificates;
pub mod command;
pub mod env_file;
pub mod file;
pub mod given;
pub mod in_use;
pub mod instance;
pub mod interrupt;
pub mod kafka;
pub mod lock;
pub mod maven;
pub mod packages;
pub mod port;
pub mod postgres;
pub mod process;
pub mod project;
pub mod say;
pub mod service;
pub mod services;
pub mod status;

pub use instance::Instance;
pub use project::Project;
pub use service::Service;
