//! Badges, as shields.io draws them: what it is on the left, the figure on the right.

use maud::{Markup, html};
use unicode_width::UnicodeWidthStr;

use super::super::badge::Badge;

/// The badge.
pub(in super::super) fn badge(badge: &Badge) -> Markup {
    // The text is 11 px high, and as wide as it is made.
    let width = |text: &str| text.width() * 66 / 10 + 10;
    let (left, right) = (width(&badge.label), width(&badge.value));
    let text = |x: usize, width: usize, text: &str| {
        html! {
            text x=(x) y="15" fill="#010101" fill-opacity=".3" textLength=(width) lengthAdjust="spacingAndGlyphs" { (text) }
            text x=(x) y="14" textLength=(width) lengthAdjust="spacingAndGlyphs" { (text) }
        }
    };
    html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(left + right) height="20" role="img" aria-label={ (badge.label) ": " (badge.value) } {
            title { (badge.label) ": " (badge.value) }
            linearGradient id="s" x2="0" y2="100%" {
                stop offset="0" stop-color="#bbb" stop-opacity=".1" {}
                stop offset="1" stop-opacity=".1" {}
            }
            clipPath id="r" { rect width=(left + right) height="20" rx="3" fill="#fff" {} }
            g clip-path="url(#r)" {
                rect width=(left) height="20" fill="#555" {}
                rect x=(left) width=(right) height="20" fill=(badge.colour) {}
                rect width=(left + right) height="20" fill="url(#s)" {}
            }
            g fill="#fff" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="11" {
                (text(5, left - 10, &badge.label))
                (text(left + 5, right - 10, &badge.value))
            }
        }
    }
}
