//! What a screen on the wall shows.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::front::{Front, Glance};
use super::state::State;

/// The most tiles. A screen has no scroll bar.
pub(super) const TILES: usize = 120;

/// A screen on the wall: the sites that are not well first.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Wall {
    /// When the database was read.
    pub at: Timestamp,
    /// Why it is older than it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outdated: Option<String>,
    /// All in one sentence.
    pub headline: String,
    /// The gravest state of any site.
    pub state: Option<State>,
    /// The sites, the gravest first. At most 120.
    pub tiles: Vec<Glance>,
    /// How many more sites there are.
    pub more: usize,
}

impl Wall {
    /// From the front page, and all its sites in the order of their gravity.
    pub(super) fn new(front: Front, mut tiles: Vec<Glance>) -> Wall {
        let more = tiles.len().saturating_sub(TILES);
        tiles.truncate(TILES);
        Wall {
            at: front.at,
            outdated: front.outdated,
            headline: front.headline,
            state: front.state,
            tiles,
            more,
        }
    }
}
