//! A redirect that was followed.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::MAX_HOP_URL;

/// One request whose answer was a redirect that was followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hop {
    /// What was requested, redacted as `url` is; its first 1,024 bytes.
    #[schemars(length(max = MAX_HOP_URL))]
    pub url: String,
    /// The status code of the redirect.
    #[schemars(range(min = 100, max = 999))]
    pub http_status: u16,
    /// The address connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_ip: Option<IpAddr>,
    /// Microseconds to resolve the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i32::MAX))]
    pub dns_us: Option<u32>,
    /// Microseconds to connect by TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i32::MAX))]
    pub connect_us: Option<u32>,
    /// Microseconds of the TLS handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i32::MAX))]
    pub tls_us: Option<u32>,
    /// Microseconds from the request sent to the response's head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = i32::MAX))]
    pub ttfb_us: Option<u32>,
}
