//! Status pages for people and programs. They only read: the connections to PostgreSQL can change nothing, and no address
//! changes anything.
//!
//! Data flows one way. The reader (`reader`) reads what all sites are, no more often than the pages are to be
//! fresh. A page chooses what it shows of that (`chosen`). What it shows is a value (`front`), which becomes HTML (`view`)
//! or JSON, so that both say the same. Answers are kept for as long as they are fresh, so a crowd costs the database no
//! more than one visitor does.

mod ahead;
mod answer;
mod auth;
mod badge;
mod budget;
mod changes;
mod chosen;
mod day;
mod error;
mod feed;
mod front;
mod histogram;
mod history;
mod hours;
mod incidents;
mod open_api;
mod overview;
mod pages;
mod pool;
mod reader;
mod result;
mod route;
mod router;
mod series;
mod server;
mod serving;
mod site;
mod site_read;
mod state;
mod together;
mod view;
mod wall;
mod words;

pub use self::error::PageError;
pub use self::open_api::open_api;
pub use self::pages::Pages;
