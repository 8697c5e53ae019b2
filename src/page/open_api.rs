//! What programs read: every address that answers with JSON, and what is in it. Its schemas are those of the types that
//! are shown, so they cannot say anything else.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::badge::Badge;
use super::front::Front;
use super::history::{IncidentPage, Incidents};
use super::site::SitePage;
use super::state::State;
use super::wall::Wall;

/// The OpenAPI 3.1 description of a page that begins at `path`, such as `/` or `/internal`. That of `/` is
/// `docs/openapi.json`.
pub fn open_api(path: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let settings = settings.with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = settings.into_generator();
    let paths = json!({
        "/index.json": front(&mut schemas),
        "/sites/{id}.json": site(&mut schemas),
        "/incidents.json": incidents(&mut schemas),
        "/incidents/{id}.json": incident(&mut schemas),
        "/wall.json": wall(&mut schemas),
        "/badges/{id}/{kind}.json": badge(&mut schemas),
        "/openapi.json": itself(),
    });
    let mut schemas = schemas.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "webmon status page",
            "version": "1",
            "description": "What the status page of webmon says, for programs. Nothing can be changed. The same comes at \
                the address without `.json` (and without `index.json`) if the request has `Accept: application/json`; \
                badges alone have no such address. Fields may be added, and none is taken away or changed in its meaning. \
                What a page does not show is left out or null. Times are in UTC (RFC 3339), days are UTC days, names end \
                in the unit of the figure: `_us` is microseconds, `_s` seconds, `_percent` hundredths. A percentage of \
                uptime is of the instants that were checked, so each has the coverage beside it: how many of the scheduled \
                instants that were.",
        },
        "servers": [{ "url": path }],
        // Either of both: it depends on the page.
        "security": [{}, { "basic": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "basic": { "type": "http", "scheme": "basic", "description": "On pages with `auth.basic`." },
            },
            "headers": {
                "ETag": {
                    "description": "Send it as `If-None-Match`: as long as nothing has changed, 304 comes without a body.",
                    "schema": { "type": "string" },
                },
                "Cache-Control": {
                    "description": "For how long the answer is fresh: `web.fresh`. `private` on pages with `auth`.",
                    "schema": { "type": "string" },
                },
                "Retry-After": { "description": "In seconds.", "schema": { "type": "integer" } },
                "WWW-Authenticate": { "description": "`Basic`.", "schema": { "type": "string" } },
            },
            "responses": {
                "NotModified": { "description": "Nothing has changed since the answer with this ETag." },
                "Unauthorized": {
                    "description": "The page needs a name and a password.",
                    "headers": { "WWW-Authenticate": { "$ref": "#/components/headers/WWW-Authenticate" } },
                    "content": { "text/plain": { "schema": { "type": "string" } } },
                },
                "Forbidden": {
                    "description": "The proxy before the page names nobody who may see it.",
                    "content": { "text/plain": { "schema": { "type": "string" } } },
                },
                "NotFound": {
                    "description": "There is nothing at this address that this page shows.",
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
                },
                "Unavailable": {
                    "description": "The database does not answer, and nothing is known yet.",
                    "headers": { "Retry-After": { "$ref": "#/components/headers/Retry-After" } },
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
                },
            },
        },
    })
}

fn front(schemas: &mut SchemaGenerator) -> Value {
    let state = json!({ "type": "string", "enum": State::ALL.map(State::word) });
    let parameters = json!([
        query(
            "q",
            "A part of the names of sites, in any case. Longer ones are cut off at 200 characters.",
            text(200)
        ),
        query("group", "The name of a group.", text(200)),
        query("state", "Only sites in this state.", state),
        query(
            "page",
            "The page of the list, 100 sites each. Beyond the last one it is the last one.",
            json!({ "type": "integer", "minimum": 1, "default": 1 }),
        ),
    ]);
    let about = "What all sites are now, and how their last 90 days were. What of the query cannot be read selects all.";
    get("front", about, &parameters, schemas.subschema_for::<Front>().to_value(), false)
}

fn site(schemas: &mut SchemaGenerator) -> Value {
    let parameters = json!([site_id()]);
    get(
        "site",
        "All that is shown of a site.",
        &parameters,
        schemas.subschema_for::<SitePage>().to_value(),
        true,
    )
}

fn incidents(schemas: &mut SchemaGenerator) -> Value {
    let before = json!({ "type": "string", "pattern": "^-?[0-9]+-[0-9]+$" });
    let parameters =
        json!([query("before", "`next` of another answer: the incidents before those.", before)]);
    let about = "Planned maintenance, and the incidents, the newest first.";
    get("incidents", about, &parameters, schemas.subschema_for::<Incidents>().to_value(), true)
}

fn incident(schemas: &mut SchemaGenerator) -> Value {
    let id = json!({ "type": "integer", "format": "int64" });
    let parameters = json!([in_path("id", "The number of an incident: `incident_id`.", id)]);
    let about = "An incident, and what was seen of the site from shortly before it on.";
    get("incident", about, &parameters, schemas.subschema_for::<IncidentPage>().to_value(), true)
}

fn wall(schemas: &mut SchemaGenerator) -> Value {
    let about = "The sites, the gravest first, as a screen on the wall shows them.";
    get("wall", about, &json!([]), schemas.subschema_for::<Wall>().to_value(), false)
}

fn badge(schemas: &mut SchemaGenerator) -> Value {
    let kind = json!({ "type": "string", "enum": ["state", "uptime", "p95"] });
    let parameters = json!([site_id(), in_path("kind", "Which figure.", kind)]);
    let about = "One figure of a site. At the same address with `.svg` it is a picture.";
    get("badge", about, &parameters, schemas.subschema_for::<Badge>().to_value(), true)
}

fn itself() -> Value {
    get("openapi", "This description.", &json!([]), json!({ "type": "object" }), false)
}

/// An address. `may_miss` says whether there may be nothing at it.
fn get(id: &str, summary: &str, parameters: &Value, schema: Value, may_miss: bool) -> Value {
    let mut responses = Map::new();
    responses.insert(
        "200".to_owned(),
        json!({
            "description": "What was asked for.",
            "headers": {
                "ETag": { "$ref": "#/components/headers/ETag" },
                "Cache-Control": { "$ref": "#/components/headers/Cache-Control" },
            },
            "content": { "application/json": { "schema": schema } },
        }),
    );
    let others = [
        ("304", "NotModified"),
        ("401", "Unauthorized"),
        ("403", "Forbidden"),
        ("404", "NotFound"),
        ("503", "Unavailable"),
    ];
    for (status, name) in others.into_iter().filter(|(status, _)| may_miss || *status != "404") {
        responses.insert(status.to_owned(), json!({ "$ref": format!("#/components/responses/{name}") }));
    }
    json!({ "get": { "operationId": id, "summary": summary, "parameters": parameters, "responses": responses } })
}

fn site_id() -> Value {
    in_path("id", "What the site is called in addresses: `id` of the other answers.", text(300))
}

fn in_path(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": schema })
}

fn query(name: &str, description: &str, schema: Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

fn text(max: usize) -> Value {
    json!({ "type": "string", "maxLength": max })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "Why there is no answer.",
        "properties": { "error": { "type": "string", "description": "In words." } },
        "required": ["error"],
    })
}
