//! The recipes of docs/alerts.md make what the services document, of every message.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use webmon::alerts::{Outcome, send};
use webmon::config::{Channel, Config, Endpoint, Receiver, Role};

use crate::listener::listening;
use crate::messages::{limits, messages};
use crate::sites::response;

const PAGE: &str = include_str!("../../docs/alerts.md");

/// The receivers of the page's blocks of TOML, by name. Every variable is set.
fn recipes() -> BTreeMap<String, Receiver> {
    let variables: Vec<(String, String)> = PAGE
        .split("${")
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| {
            let value = if name.ends_with("URL") { "https://hooks.example/hunter2" } else { "hunter2" };
            (name.to_owned(), value.to_owned())
        })
        .collect();
    let mut recipes = BTreeMap::new();
    for block in PAGE.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        let needed = "kafka.brokers = [\"h:1\"]\npostgres.url = \"postgres://h/d\"\n";
        let whole = if block.contains("[kafka]") { "" } else { needed };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        std::fs::write(&path, format!("{whole}{block}")).unwrap();
        let config = Config::load_with(&path, variables.clone(), Role::Store);
        let config = config.unwrap_or_else(|error| panic!("{error}\n{block}"));
        recipes.extend(config.receivers.into_iter().map(|receiver| (receiver.name.clone(), receiver)));
    }
    recipes
}

/// What the services say of the fields that the recipes use, and no other field.
fn schemas() -> [(&'static str, Value); 5] {
    let text = |max: usize| json!({ "type": "string", "minLength": 1, "maxLength": max });
    let object = |required: &[&str], properties: Value| json!({ "type": "object", "required": required, "additionalProperties": false, "properties": properties });
    let run = object(
        &["type", "text"],
        json!({ "type": { "const": "TextRun" }, "text": text(20_000), "weight": { "const": "Bolder" } }),
    );
    let block = object(
        &["type", "inlines"],
        json!({ "type": { "const": "RichTextBlock" }, "inlines": { "type": "array", "minItems": 1, "items": run } }),
    );
    let card = object(
        &["type", "version", "body"],
        json!({
            "$schema": { "const": "http://adaptivecards.io/schemas/adaptive-card.json" },
            "type": { "const": "AdaptiveCard" },
            "version": { "enum": ["1.2", "1.3", "1.4", "1.5"] },
            "body": { "type": "array", "minItems": 1, "items": block },
        }),
    );
    let attachment = object(
        &["contentType", "content"],
        json!({ "contentType": { "const": "application/vnd.microsoft.card.adaptive" }, "content": card }),
    );
    [
        // https://docs.ntfy.sh/publish/#publish-as-json. A longer message becomes a file.
        (
            "ntfy",
            object(
                &["topic", "message"],
                json!({
                    "topic": { "type": "string", "pattern": "^[-_A-Za-z0-9]{1,64}$" },
                    "title": text(250),
                    "message": text(4_096),
                    "priority": { "type": "integer", "minimum": 1, "maximum": 5 },
                    "tags": { "type": "array", "items": text(50) },
                }),
            ),
        ),
        // https://core.telegram.org/bots/api#sendmessage
        (
            "telegram",
            object(
                &["chat_id", "text"],
                json!({
                    "chat_id": { "type": ["integer", "string"] },
                    "text": text(4_096),
                    "link_preview_options": object(&[], json!({ "is_disabled": { "type": "boolean" } })),
                }),
            ),
        ),
        // A workflow of Teams with the trigger "when a webhook request is received".
        (
            "teams",
            object(
                &["type", "attachments"],
                json!({
                    "type": { "const": "message" },
                    "attachments": { "type": "array", "minItems": 1, "maxItems": 1, "items": attachment },
                }),
            ),
        ),
        // https://discord.com/developers/docs/resources/webhook#execute-webhook
        (
            "discord",
            object(
                &["content", "allowed_mentions"],
                json!({ "content": text(2_000), "allowed_mentions": { "const": { "parse": [] } }, "flags": { "const": 4 } }),
            ),
        ),
        // https://docs.opsgenie.com/docs/alert-api#create-alert
        (
            "opsgenie",
            object(
                &["message"],
                json!({
                    "message": text(130),
                    "alias": text(512),
                    "description": text(15_000),
                    "priority": { "enum": ["P1", "P2", "P3", "P4", "P5"] },
                    "source": text(100),
                }),
            ),
        ),
    ]
}

#[test]
fn every_recipe_makes_what_its_service_takes() {
    let (server, heard) = listening(response("200 OK", &[], b"ok"));
    let mut recipes = recipes();
    for (name, schema) in schemas() {
        let mut receiver = recipes.remove(name).unwrap_or_else(|| panic!("no recipe for {name}"));
        let Channel::Webhook(webhook) = &mut receiver.channel else { panic!("{receiver:?}") };
        assert_eq!(webhook.url.reveal().scheme(), "https");
        webhook.url = Endpoint::new(&server.url("/")).unwrap();
        let validator = jsonschema::options().build(&schema).unwrap();
        for (kind, message) in messages() {
            let outcome = send(&receiver, &message, &limits());
            assert!(matches!(outcome, Outcome::Delivered(_)), "{name} {kind}: {outcome:?}");
            let asked = heard.take().pop().unwrap();
            assert!(asked.line.starts_with("POST "));
            let body = asked.json();
            let errors: Vec<String> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{name} {kind}: {errors:?}\n{body:#}");
            // Teams takes 28 KB. Of a message, the title at least is told.
            assert!(asked.body.len() < 28_000, "{name} {kind}: {}", asked.body.len());
            assert!(kind != "firing" || asked.body.contains("Shop 17 is down"), "{body:#}");
        }
    }
    // The others are of types of their own.
    for (name, receiver) in recipes {
        let is_recipe = matches!(&receiver.channel, Channel::Webhook(webhook) if webhook.body.is_some());
        assert!(!is_recipe, "{name} is not tested");
    }
}
