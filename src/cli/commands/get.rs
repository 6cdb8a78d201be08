//! `towline get`

use std::collections::HashMap;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::connect;
use crate::cli::{
    args::{GetArgs, Kind},
    client::{Client, ClientError, LinesError, Query},
    delay::Delay,
    exit::{Exit, Failure},
    output::{Format, Out, PluginRow, PodRow, Table, json as to_json, plain, time, yaml},
};

pub(super) async fn run(args: GetArgs) -> anyhow::Result<Exit> {
    let (client, settings) = connect(&args.client)?;
    let view = View {
        kind: args.kind,
        format: args.output,
        names: args.names,
        namespace: (!args.all_namespaces).then(|| settings.namespace().to_owned()),
    };
    let items = view.list(&client).await?;
    if args.watch {
        return watch(&client, &view, items).await;
    }
    if let Some(name) = view
        .names
        .iter()
        .find(|name| !items.iter().any(|item| item["name"] == name.as_str()))
    {
        // What was found is still shown, as kubectl does.
        view.print_list(&items)?;
        return Err(Failure::Failed(format!("{} \"{name}\" not found", view.singular())).into());
    }
    view.print_list(&items)?;
    Ok(Exit::Ok)
}

/// What is wanted and how it is shown.
struct View {
    kind: Kind,
    format: Format,
    names: Vec<String>,
    /// None: of all.
    namespace: Option<String>,
}

impl View {
    fn path(&self) -> &'static str {
        match self.kind {
            Kind::Plugins => "/api/v1/plugins",
            Kind::Pods => "/api/v1/pods",
        }
    }

    fn singular(&self) -> &'static str {
        match self.kind {
            Kind::Plugins => "plugin",
            Kind::Pods => "pod",
        }
    }

    fn wants(&self, item: &Value) -> bool {
        let here = match (&self.namespace, self.kind) {
            (Some(namespace), Kind::Pods) => item["namespace"] == namespace.as_str(),
            _ => true,
        };
        here && (self.names.is_empty() || self.names.iter().any(|name| item["name"] == name.as_str()))
    }

    async fn list(&self, client: &Client) -> Result<Vec<Value>, ClientError> {
        let mut answer = client.get(self.path(), &Query::default()).await?;
        let Value::Array(items) = answer["items"].take() else {
            return Ok(Vec::new());
        };
        Ok(items.into_iter().filter(|item| self.wants(item)).collect())
    }

    fn print_list(&self, items: &[Value]) -> anyhow::Result<()> {
        let text = match self.format {
            Format::Json => to_json(&json!({"kind": "List", "items": items})),
            Format::Yaml => yaml(&json!({"kind": "List", "items": items}))?,
            Format::Name => items.iter().map(|item| self.name(item)).collect(),
            Format::Table | Format::Wide => {
                let table = self.table(items)?;
                if table.is_empty() {
                    self.say_empty();
                    return Ok(());
                }
                table.render()
            }
        };
        Ok(Out.text(&text)?)
    }

    /// One object of a watch.
    fn print_one(&self, table: &Table, item: &Value) -> anyhow::Result<()> {
        let text = match self.format {
            Format::Json => to_json(item),
            Format::Yaml => format!("---\n{}", yaml(item)?),
            Format::Name => self.name(item),
            Format::Table | Format::Wide => table.more(&self.cells(item)?),
        };
        Ok(Out.text(&text)?)
    }

    fn name(&self, item: &Value) -> String {
        format!(
            "{}/{}\n",
            self.singular(),
            item["name"].as_str().unwrap_or_default()
        )
    }

    fn table(&self, items: &[Value]) -> anyhow::Result<Table> {
        let mut table = Table::new(&match self.kind {
            Kind::Plugins => PluginRow::heads(self.format == Format::Wide),
            Kind::Pods => PodRow::heads(self.format == Format::Wide, self.namespace.is_none()),
        });
        for item in items {
            table.row(self.cells(item)?);
        }
        Ok(table)
    }

    fn cells(&self, item: &Value) -> anyhow::Result<Vec<String>> {
        let (wide, now) = (self.format == Format::Wide, time::now());
        Ok(match self.kind {
            Kind::Plugins => {
                let row: PluginRow =
                    serde_json::from_value(item.clone()).context("the hub's answer is no plugin")?;
                row.cells(wide, now)
            }
            Kind::Pods => {
                let row: PodRow =
                    serde_json::from_value(item.clone()).context("the hub's answer is no pod")?;
                row.cells(wide, self.namespace.is_none(), now)
            }
        })
    }

    fn say_empty(&self) {
        match (&self.namespace, self.kind) {
            (_, Kind::Plugins) => eprintln!("No plugins found."),
            (Some(namespace), Kind::Pods) => eprintln!("No pods found in {namespace} namespace."),
            (None, Kind::Pods) => eprintln!("No pods found."),
        }
    }
}

/// Prints what is there, then each change. Over a lost connection it starts again, and prints only what is new.
async fn watch(client: &Client, view: &View, items: Vec<Value>) -> anyhow::Result<Exit> {
    let table = view.table(&items)?;
    let mut shown = HashMap::new();
    match view.format {
        Format::Table | Format::Wide => Out.text(&table.render())?,
        _ => items.iter().try_for_each(|item| view.print_one(&table, item))?,
    }
    for item in items {
        shown.insert(key(&item), item);
    }
    let query = Query::default().with("watch", true).with("kind", view.singular());
    let mut delay = Delay::new();
    loop {
        let broken = match client.lines("/api/v1/events", &query).await {
            Ok(mut lines) => loop {
                match lines.next().await {
                    Ok(Some(mut event)) if event["object"].is_object() => {
                        delay = Delay::new();
                        let item = event["object"].take();
                        let deleted = event["type"] == "DELETED";
                        if view.wants(&item) && is_news(&mut shown, &item, deleted) {
                            view.print_one(&table, &item)?;
                        }
                    }
                    Ok(Some(end)) => {
                        let why = end["error"]["message"].as_str().unwrap_or("the answer ended");
                        break client.lost(plain(why));
                    }
                    Ok(None) => break client.lost("the answer ended"),
                    Err(error) => {
                        if lines.kept_alive() {
                            delay = Delay::new();
                        }
                        break match error {
                            LinesError::Broken(why) => client.lost(why),
                            bad @ LinesError::Bad(_) => client.lost(bad),
                        };
                    }
                }
            },
            Err(error) => error,
        };
        if !broken.is_passing() || !delay.goes_on() {
            return Err(broken.into());
        }
        if delay.is_first() {
            eprintln!("towline: {broken}; trying to go on");
        }
        delay.wait().await;
    }
}

/// Whether this was not shown yet, and remembers it as shown.
fn is_news(shown: &mut HashMap<String, Value>, item: &Value, deleted: bool) -> bool {
    if deleted {
        shown.remove(&key(item)).is_some()
    } else {
        shown.insert(key(item), item.clone()).as_ref() != Some(item)
    }
}

fn key(item: &Value) -> String {
    item["uid"]
        .as_str()
        .or(item["name"].as_str())
        .unwrap_or_default()
        .to_owned()
}
