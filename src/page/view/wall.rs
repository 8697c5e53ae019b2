//! A page for a screen on the wall.

use maud::{Markup, html};

use super::super::wall::Wall;
use super::front::hero;
use super::look::Look;
use super::parts;
use crate::config::Page;

/// Tiles, the gravest first.
pub(in super::super) fn wall(look: &Look, page: &Page, wall: &Wall) -> Markup {
    let main = html! {
        @if let Some(why) = &wall.outdated { p class="card old" role="status" { "Old: " (why) "." } }
        (hero(wall.state, &wall.headline))
        div class="tiles" {
            @for tile in &wall.tiles {
                div class={ "tile " (tile.state) } {
                    b { (tile.name) }
                    (tile.state.label())
                    @if let Some(since) = tile.since { " for " (parts::lasting(since, wall.at)) }
                    @if let Some(reason) = &tile.reason { br; (reason.words) }
                }
            }
            @if wall.more > 0 { div class="tile" { b { "and " (wall.more) " more" } "that are up" } }
        }
    };
    look.bare(page, &page.title, wall.at, &main)
}
