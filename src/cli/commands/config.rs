//! `towline config check` and `towline config print`

use crate::cli::{
    args::{ConfigArgs, ConfigCommand, ConfigRole, HubArgs, PluginArgs},
    exit::{Exit, Failure},
    output::{Out, Table},
    settings::{HubSettings, PluginSettings, Row, Sources, environment, read_token},
};

pub(super) fn run(command: ConfigCommand) -> anyhow::Result<Exit> {
    match command {
        ConfigCommand::Check(args) => {
            resolve(&args)?;
            eprintln!("the settings are good");
        }
        ConfigCommand::Print(args) => {
            let mut table = Table::new(&["KEY", "VALUE", "FROM"]);
            for row in resolve(&args)? {
                table.row(vec![row.key.into_owned(), row.value, row.source.to_string()]);
            }
            Out.text(&table.render())?;
        }
    }
    Ok(Exit::Ok)
}

/// The settings of the role that was named, or of both. A plugin without a name is left out then: a hub's file need
/// not have one.
fn resolve(args: &ConfigArgs) -> Result<Vec<Row>, Failure> {
    match &args.role {
        Some(ConfigRole::Hub(args)) => hub(args),
        Some(ConfigRole::Plugin(args)) => plugin(args),
        None => {
            let hub_args = HubArgs {
                config: args.config.clone(),
                interlink_config: args.interlink_config.clone(),
                ..HubArgs::default()
            };
            let mut rows = hub(&hub_args)?;
            let sources = Sources::load(args.config.as_deref(), &environment)?;
            if sources.file.plugin.name.is_some() || environment("TOWLINE_NAME").is_some() {
                rows.extend(plugin(&PluginArgs {
                    config: args.config.clone(),
                    ..PluginArgs::default()
                })?);
            }
            Ok(rows)
        }
    }
}

fn hub(args: &HubArgs) -> Result<Vec<Row>, Failure> {
    let settings = HubSettings::resolve(args, &Sources::load(args.config.as_deref(), &environment)?)?;
    read_token(&settings.token_file)?;
    settings.tls()?;
    settings.jobscript.job_scripts()?;
    for plugin in &settings.plugins {
        plugin.tls()?;
    }
    Ok(settings.rows())
}

fn plugin(args: &PluginArgs) -> Result<Vec<Row>, Failure> {
    let settings = PluginSettings::resolve(args, &Sources::load(args.config.as_deref(), &environment)?)?;
    read_token(&settings.token_file)?;
    settings.rest.check_files()?;
    Ok(settings.rows())
}
