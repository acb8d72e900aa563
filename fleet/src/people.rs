//! Tokens, webhooks, and who did what.

use serde_json::{Value, json};

use crate::args::{Role, Token, Webhook};
use crate::client::Client;
use crate::exit::Failure;
use crate::table::Table;
use crate::time::at;
use crate::{all, number, part, show, text};

fn ends(person: &Value) -> String {
    match number(person, "expires_at") {
        0 => "never".into(),
        seconds => at(seconds),
    }
}

pub(crate) fn whoami(client: &Client, json: bool) -> Result<u8, Failure> {
    show(&client.get("/api/v1/me")?, json, |me| {
        format!(
            "{}, {}; the token ends: {}\n",
            text(me, "name"),
            text(me, "role"),
            ends(me)
        )
    })
}

pub(crate) fn token(client: &Client, verb: Token, json: bool) -> Result<u8, Failure> {
    match verb {
        Token::List => show(&client.get("/api/v1/people")?, json, |answer| {
            let mut table = Table::new(&["NAME", "ROLE", "ENDS"]);
            for one in all(answer) {
                let (name, role) = (text(one, "name"), text(one, "role"));
                table.add([name.to_owned(), role.to_owned(), ends(one)]);
            }
            table.text()
        }),
        Token::Give { name, role, days } => {
            let role = match role {
                Role::Enroll => "enroll",
                Role::Viewer => "viewer",
                Role::Publisher => "publisher",
                Role::Operator => "operator",
                Role::Admin => "admin",
            };
            let body = json!({"name": name, "role": role, "days": days});
            let answer = client.tell("POST", "/api/v1/people", &body)?;
            show(&answer, json, |answer| {
                format!(
                    "{name} is {role}. The token, shown once:\n{}\n",
                    text(answer, "token")
                )
            })
        }
        Token::Take { name } => {
            let answer = client.order("DELETE", &format!("/api/v1/people/{}", part(&name)))?;
            show(&answer, json, |_| {
                format!("The token of {name} holds no more.\n")
            })
        }
    }
}

pub(crate) fn webhook(client: &Client, verb: Webhook, json: bool) -> Result<u8, Failure> {
    match verb {
        Webhook::List => show(&client.get("/api/v1/webhooks")?, json, |answer| {
            let mut table = Table::new(&["WEBHOOK", "URL"]);
            for one in all(answer) {
                table.add([text(one, "id").to_owned(), text(one, "url").to_owned()]);
            }
            table.text()
        }),
        Webhook::Add { url } => {
            let answer = client.tell("POST", "/api/v1/webhooks", &json!({"url": url}))?;
            show(&answer, json, |answer| {
                format!(
                    "{} is told as {}. What its signatures are made with, shown once:\n{}\n",
                    url,
                    text(answer, "id"),
                    text(answer, "secret")
                )
            })
        }
        Webhook::Remove { id } => {
            let answer = client.order("DELETE", &format!("/api/v1/webhooks/{}", part(&id)))?;
            show(&answer, json, |_| format!("{id} is told no more.\n"))
        }
    }
}

pub(crate) fn audit(
    client: &Client,
    before: Option<u64>,
    limit: u32,
    json: bool,
) -> Result<u8, Failure> {
    let mut path = format!("/api/v1/audit?limit={limit}");
    if let Some(before) = before {
        path.push_str(&format!("&before={before}"));
    }
    show(&client.get(&path)?, json, |answer| {
        let mut table = Table::new(&["WHEN", "WHO", "WHAT", "TO WHAT"]);
        for line in all(answer) {
            table.add([
                at(number(line, "at")),
                text(line, "who").to_owned(),
                text(line, "what").to_owned(),
                text(line, "detail").to_owned(),
            ]);
        }
        table.text()
    })
}
